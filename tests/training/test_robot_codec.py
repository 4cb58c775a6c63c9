"""What a policy does to a chunk is the exact inverse of what training does to it, for every robot."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from curation.chunks import ACTION_FORMS
from schema.embodiment import builtin_embodiments
from schema.errors import ConfigError
from schema.layout import slots
from training.normalize import Normalizer
from training.policy import Policy
from training.robot_codec import RobotCodec
from training.spec import PolicySpec, RobotSpec, ScaleSpec, robot_name


def codec_of(name: str, form: str) -> RobotCodec:
    """A codec of a built-in embodiment, with statistics that follow from its name."""
    table = builtin_embodiments()[name]
    space = table.action_space()
    random = np.random.default_rng(len(name))
    widths = [len(table.dimensions(signals)) for signals in (space.state, space.action)]
    scales = [
        ScaleSpec(mean=tuple(random.normal(size=width)), std=tuple(random.uniform(0.1, 2, width))) for width in widths
    ]
    robot = RobotSpec(
        name=name,
        embodiment=table.model_dump(mode="json"),
        action_space=space.name,
        rate_hz=table.rate_hz,
        prompt_prefix="",
        slots=(),
        state=scales[0],
        action=scales[1],
    )
    spec = PolicySpec(
        recipe="test",
        layout="pi",
        width=max(64, *widths),
        chunk_steps=5,
        action_form=form,
        image_size=64,
        sampling_steps=2,
        model={},
        robots=(robot,),
    )
    return RobotCodec.of(spec, robot)


@pytest.mark.parametrize("form", ACTION_FORMS)
@pytest.mark.parametrize("name", sorted(builtin_embodiments()))
def test_decoding_gives_back_what_was_encoded(name, form):
    try:
        codec = codec_of(name, form)
    except ConfigError as error:
        assert "delta form of a rotation" in str(error)  # noqa: PT017 - a robot that this form refuses
        return
    random = np.random.default_rng(0)
    action_BHA = random.normal(size=(4, 5, len(codec.action_dimensions))).astype(np.float32)
    state_BS = random.normal(size=(4, len(codec.state_dimensions))).astype(np.float32)

    found = codec.decode_actions(codec.encode_actions(action_BHA, state_BS), state_BS)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, action_BHA, atol=2e-6)


def test_the_normalizer_is_undone_by_its_inverse(lock):
    normalizer = Normalizer.of(lock)
    actions_BHW = np.random.default_rng(0).normal(size=(4, 5, lock.width)).astype(np.float32)
    component_B = np.arange(4)

    found = normalizer.native_actions(normalizer.actions(actions_BHW, component_B), component_B)

    np.testing.assert_allclose(found, actions_BHW, atol=1e-6)


def test_a_robot_without_statistics_is_told(lock):
    key = lock.components[0].stats_key
    rows = [row for row in lock.stats.to_pylist() if (row["key"], row["role"]) != (key, "action")]
    without = replace(lock, stats=pa.Table.from_pylist(rows, schema=lock.stats.schema))

    with pytest.raises(ConfigError, match=r"has no statistics .* for component .*: make the lock again"):
        Normalizer.of(without)


def test_slots_of_a_codec_are_those_of_the_lock(policy: Policy, lock):
    for component in lock.components:
        codec = policy.robots[robot_name(component)]
        state, action = lock.dimensions(component)
        assert codec.state_slots == slots(state, lock.layout, width=lock.width)
        assert codec.action_slots == slots(action, lock.layout, width=lock.width)
