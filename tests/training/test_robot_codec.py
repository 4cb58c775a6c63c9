"""What a policy does to a chunk is the exact inverse of what training does to it, for every robot."""

import numpy as np
import pytest

from curation.chunks import ACTION_FORMS
from schema.embodiment import builtin_embodiments
from schema.errors import ConfigError
from schema.layout import slots
from training.fixed_samples import SampleReader, spread
from training.normalize import Normalizer
from training.policy import Policy
from training.robot_codec import RobotCodec
from training.shard_cache import Wanted
from training.spec import PolicySpec, RobotSpec, ScaleSpec, robot_name

EPISODE = 12


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


@pytest.mark.parametrize("form", ACTION_FORMS)
def test_the_policy_undoes_what_the_loader_and_the_normalizer_do(make, lake, config, form):
    lock = make(action_form=form)
    reader = SampleReader(lock, lock.held_out, lake=lake)
    samples = spread(lock.held_out, per_run=3)
    batch = reader.read(samples)
    normalizer = Normalizer.of(lock)
    normalized_BHW = normalizer.actions(batch.actions, batch.components)
    spec = PolicySpec.of(lock, config, shards=reader.shards)
    codecs = {robot.name: RobotCodec.of(spec, robot) for robot in spec.robots}

    for row, one in enumerate(samples):
        component = lock.components[one.component]
        codec = codecs[robot_name(component)]
        space = codec.embodiment.action_space()
        shard, row_group = lock.held_out["shard"][one.run].as_py(), lock.held_out["row_group"][one.run].as_py()
        episode = reader.shards.episode(shard, row_group, Wanted(state=space.state, action=space.action, cameras=()))
        recorded = episode.action_TA[one.frame : one.frame + 5]
        state_1S = episode.state_TS[one.frame][None]

        chunk_HA = codec.decode_actions(normalized_BHW[row][None], state_1S)[0]
        state_1W = codec.encode_state(state_1S)

        np.testing.assert_allclose(chunk_HA[: len(recorded)], recorded, atol=2e-6)
        np.testing.assert_allclose(
            codec.encode_actions(recorded[None], state_1S)[0], normalized_BHW[row, : len(recorded)], atol=2e-6
        )
        np.testing.assert_allclose(
            state_1W, normalizer.state(batch.state[row][None], batch.components[row][None]), atol=2e-6
        )


def test_the_normalizer_is_undone_by_its_inverse(lock):
    normalizer = Normalizer.of(lock)
    actions_BHW = np.random.default_rng(0).normal(size=(4, 5, lock.width)).astype(np.float32)
    component_B = np.arange(4)

    found = normalizer.native_actions(normalizer.actions(actions_BHW, component_B), component_B)

    np.testing.assert_allclose(found, actions_BHW, atol=1e-6)


def test_slots_of_a_codec_are_those_of_the_lock(policy: Policy, lock):
    for component in lock.components:
        codec = policy.robots[robot_name(component)]
        state, action = lock.dimensions(component)
        assert codec.state_slots == slots(state, lock.layout, width=lock.width)
        assert codec.action_slots == slots(action, lock.layout, width=lock.width)
