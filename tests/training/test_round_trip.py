"""For every robot, action space and layout: what is recorded goes the way of training, and a policy gives it back."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch

from curation.chunks import ACTION_FORMS, chunk_rule
from curation.lock import Lock
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from model.config import tiny_cpu
from model.pi0 import Pi0
from schema.embodiment import builtin_embodiments
from schema.errors import ConfigError
from schema.lake import Lake
from schema.layout import LAYOUTS, slots
from tests.lakes import make_episode, store
from training.batch import Batch
from training.checkpoint import Head
from training.config import TINY_CPU
from training.filler import Sample
from training.fixed_samples import SampleReader, spread
from training.inputs import observe
from training.normalize import Normalizer
from training.policy import Policy
from training.robot_codec import RobotCodec
from training.robot_observation import Reading, RobotObservation
from training.shard_cache import Wanted
from training.spec import PolicySpec, robot_name

SPACES = sorted((table.name, space.name) for table in builtin_embodiments().values() for space in table.action_spaces)
WIDTH, STEPS = 48, 5
NOT_SEMANTIC = {
    ("gr1", "arms_hands"),  # fingers
    ("gr1", "joint_position"),
    ("panda_sim", "eef_delta"),  # a quaternion
    ("so101", "joint_position"),  # a jaw in fractions of its range
    ("unitree_g1", "joint_position"),
}
NOT_DELTA = {("franka_droid", "eef_position")}  # an absolute rotation
CASES = [
    pytest.param(*space, layout, form, id="-".join((*space, layout, form)))
    for space in SPACES
    for layout in LAYOUTS
    for form in ACTION_FORMS
    if not (layout == "semantic" and space in NOT_SEMANTIC) and not (form == "delta" and space in NOT_DELTA)
]


def refuses(make: Callable[[], object]) -> bool:
    try:
        make()
    except ConfigError:
        return True
    return False


def test_layouts_and_forms_take_every_robot_but_those_that_are_named():
    not_semantic, not_delta = set(), set()
    for name, space_name in SPACES:
        table = builtin_embodiments()[name]
        space = table.action_space(space_name)
        state, action = table.dimensions(space.state), table.dimensions(space.action)
        if any(refuses(lambda part=part: slots(part, "semantic", width=WIDTH)) for part in (state, action)):
            not_semantic.add((name, space_name))
        if refuses(lambda pair=(action, state): chunk_rule(*pair, "delta")):
            not_delta.add((name, space_name))

    assert (not_semantic, not_delta) == (NOT_SEMANTIC, NOT_DELTA)


@pytest.fixture(scope="module")
def every_robot(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with an episode of every robot for each of its action spaces, each a source of its own."""
    folder = tmp_path_factory.mktemp("every_robot")
    lake = Lake.open_or_create(str(folder / "lake"))
    for name, space in SPACES:
        source = f"{name}_{space}"
        store(lake, folder, [make_episode(embodiment=name, source=source, num_frames=9)], bundle_id=source)
    return lake


@dataclass(frozen=True)
class Whole:
    """All that a layout and a form make of the lake."""

    lock: Lock
    reader: SampleReader
    normalizer: Normalizer
    policy: Policy

    def sample_of(self, name: str, space: str) -> Sample:
        """A chunk start in the midst of the robot's episode, with steps past its end."""
        (index,) = (
            place
            for place, one in enumerate(self.lock.components)
            if (one.embodiment, one.action_space) == (name, space)
        )
        return next(one for one in spread(self.lock.runs, per_run=3) if one.component == index and one.frame == 6)


@pytest.fixture(scope="module")
def whole(every_robot: Lake) -> Callable[[str, str], Whole]:
    """Makes the lock of all robots that a layout and a form take, and a policy of it."""

    @cache
    def make(layout: str, form: str) -> Whole:
        taken = [case.values[:2] for case in CASES if case.values[2:] == (layout, form)]
        sources = ", ".join(f"{{source: {name}_{space}, action_space: {space}}}" for name, space in taken)
        recipe = (
            f"name: every\nsources: [{sources}]\nchunk: {{steps: {STEPS}}}\nimage_size: 32\nlayout: {layout}\n"
            f"action_form: {form}\nwidth: {WIDTH}\nprompt: {{tag: true}}\n"
        )
        lock = make_lock(parse_recipe(recipe), every_robot)
        reader = SampleReader(lock, lock.runs, lake=every_robot)
        spec = PolicySpec.of(lock, TINY_CPU, shards=reader.shards)
        head = Head(position=0, step=0, lock=lock.digest, config={}, policy=spec)
        policy = Policy(Pi0(tiny_cpu()), head, device=torch.device("cpu"))
        return Whole(lock, reader, Normalizer.of(lock), policy)

    return make


def told(codec: RobotCodec, state_S: np.ndarray, batch: Batch) -> RobotObservation:
    """What the robot would tell of the one sample of a batch: its own names and units."""
    parts = np.split(state_S, np.cumsum([codec.embodiment.signal(name).width for name in codec.state_signals])[:-1])
    return RobotObservation(
        embodiment=codec.spec.name,
        instruction=batch.prompts[0].removeprefix(codec.spec.prompt_prefix),
        state={
            name: Reading(values=part, unit=codec.embodiment.signal(name).units)
            for name, part in zip(codec.state_signals, parts, strict=True)
        },
        pictures={
            slot.cameras[0]: batch.images[0, place]
            for place, slot in enumerate(codec.spec.slots)
            if batch.image_mask[0, place]
        },
    )


@pytest.mark.parametrize(("name", "space", "layout", "form"), CASES)
def test_a_policy_sees_what_training_saw_and_gives_back_what_was_recorded(whole, name, space, layout, form):
    made = whole(layout, form)
    policy, normalizer, sample = made.policy, made.normalizer, made.sample_of(name, space)
    batch = made.reader.read([sample])
    codec = policy.robots[robot_name(made.lock.components[sample.component])]
    shard, row_group = (made.lock.runs[column][sample.run].as_py() for column in ("shard", "row_group"))
    wanted = Wanted(state=codec.state_signals, action=codec.action_signals, cameras=())
    episode = made.reader.shards.episode(shard, row_group, wanted)
    recorded_HA, state_1S = episode.action_TA[sample.frame :], episode.state_TS[sample.frame][None]

    observation = told(codec, state_1S[0], batch)
    seen = policy.observe([observation], [observation.stacked(codec.state_signals)])
    trained = observe(batch, normalizer=normalizer, tokenizer=policy.tokenizer, device=policy.device)
    normalized_BHW = normalizer.actions(batch.actions, batch.components)
    chunk_HA = codec.decode_actions(normalized_BHW, state_1S)[0]

    for part in ("images", "image_mask", "tokens", "token_mask"):
        torch.testing.assert_close(getattr(seen, part), getattr(trained, part), rtol=0, atol=0)
    torch.testing.assert_close(seen.state, trained.state, rtol=0, atol=1e-5)
    assert batch.step_mask.sum() == len(recorded_HA) < STEPS
    np.testing.assert_allclose(chunk_HA[: len(recorded_HA)], recorded_HA, atol=1e-5)
    np.testing.assert_allclose(
        codec.encode_actions(recorded_HA[None], state_1S)[0], normalized_BHW[0, : len(recorded_HA)], atol=1e-5
    )
    np.testing.assert_array_equal(codec.action_slots.mask, batch.action_mask[0])


def test_every_robot_is_in_the_cases():
    assert {case.values[0] for case in CASES} == set(builtin_embodiments())
