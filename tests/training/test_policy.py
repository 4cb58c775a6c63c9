"""A policy acts from its checkpoint alone, and refuses what it was not trained on, all in one message."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from schema.errors import ConfigError
from training.fixed_samples import SampleReader, spread
from training.policy import Policy
from training.randomness import SAMPLING, normal
from training.robot_codec import RobotCodec
from training.robot_observation import Reading, RobotObservation, observation_problems
from training.spec import robot_name

JOINTS, GRIPPER = "state.joint_position", "state.gripper"


def ur5e(**changes: object) -> RobotObservation:
    """A sound observation of a UR5e, but for what is changed."""
    random = np.random.default_rng(0)
    sound = RobotObservation(
        embodiment="ur5e",
        instruction="put the red block on the green plate",
        state={JOINTS: Reading(values=[0.1] * 6, unit="rad"), GRIPPER: Reading(values=[0.0], unit="1")},
        pictures={name: random.integers(0, 255, (48, 64, 3)).astype(np.uint8) for name in ("base", "left_wrist")},
    )
    return replace(sound, **changes)


def test_a_chunk_has_the_robots_signals_widths_units_and_rate(policy):
    chunks = policy.act(ur5e(), seed=0)

    assert list(chunks) == ["action.joint_position", "action.gripper"]
    joints, gripper = chunks.values()
    assert (joints.values.shape, joints.values.dtype) == ((5, 6), np.float32)
    assert joints.dims == ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
    assert (joints.units, joints.mode, joints.rate_hz) == (("rad",) * 6, "absolute", 20)
    assert (gripper.values.shape, gripper.units) == ((5, 1), ("1",))


def test_the_same_seed_gives_the_same_chunk_and_another_one_another(policy):
    one, again, other = (policy.act(ur5e(), seed=seed)["action.joint_position"].values for seed in (3, 3, 4))

    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3


def test_a_batch_of_robots_gives_what_each_gives_alone(policy):
    table = policy.robots["bimanual_trossen"]
    aloha = RobotObservation(
        embodiment="bimanual_trossen",
        instruction="hand the blue block over",
        state={
            name: Reading(
                values=np.full(table.embodiment.signal(name).width, 0.3), unit=str(table.embodiment.signal(name).unit)
            )
            for name in table.state_signals
        },
        pictures={name: np.full((64, 64, 3), 90, np.uint8) for name in ("base", "left_wrist", "right_wrist")},
    )
    together = policy.act_batch([ur5e(), aloha], seeds=[1, 2])
    alone = [policy.act(ur5e(), seed=1), policy.act(aloha, seed=2)]

    for ours, theirs in zip(together, alone, strict=True):
        assert ours.keys() == theirs.keys()
        for name, chunk in ours.items():
            np.testing.assert_allclose(chunk.values, theirs[name].values, atol=1e-5)


def test_acting_on_a_held_out_frame_is_what_validation_samples(policy, lock, lake):
    reader = SampleReader(lock, lock.held_out, lake=lake)
    (sample, *_) = (
        one for one in spread(lock.held_out, per_run=1) if lock.components[one.component].embodiment == "ur5e"
    )
    batch = reader.read([sample])
    codec = policy.robots[robot_name(lock.components[sample.component])]
    state_1S = codec.state_slots.unpad(batch.state)
    observation = ur5e(
        instruction=batch.prompts[0].removeprefix(codec.spec.prompt_prefix),
        state={JOINTS: Reading(values=state_1S[0, :6], unit="rad"), GRIPPER: Reading(values=state_1S[0, 6:], unit="1")},
        pictures={"base": batch.images[0, 0], "left_wrist": batch.images[0, 1]},
    )
    seen = policy.observe([observation], [state_1S[0]])
    noise = normal(5, np.zeros(1, np.int64), purpose=SAMPLING, shape=policy.chunk_shape)
    expected = codec.decode_actions(policy.sample(seen, noise, batch.action_mask), state_1S)[0]

    found = policy.act(observation, seed=5)

    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in found.values()], axis=1), expected)


def test_a_checkpoint_acts_without_lock_and_lake(newest, tmp_path):
    alone = tmp_path / "alone"
    shutil.copytree(newest, alone)

    ours, theirs = (Policy.load(path).act(ur5e(), seed=0)["action.gripper"].values for path in (alone, newest))

    np.testing.assert_array_equal(ours, theirs)


def state_with(**changes: Reading) -> dict[str, Reading]:
    return {**ur5e().state, **{name.replace("__", "."): reading for name, reading in changes.items()}}


def joints_of(values: list[float], *, unit: str = "rad") -> dict[str, Reading]:
    return state_with(state__joint_position=Reading(values=values, unit=unit))


NAN = [0.0, float("nan"), 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"embodiment": "franka"}, "embodiment 'franka' was not trained on, expected one of bimanual_trossen, ur5e"),
        ({"instruction": " "}, "the instruction is empty"),
        ({"instruction": "put it there " * 20}, "tokens, expected at most"),
        ({"state": {GRIPPER: Reading(values=[0.0], unit="1")}}, f"state signal '{JOINTS}' is missing"),
        ({"state": state_with(state__torque=Reading(values=[1.0], unit="N m"))}, "'state.torque' is unknown"),
        ({"state": joints_of([0.1] * 6, unit="deg")}, "has unit 'deg', expected 'rad'"),
        ({"state": joints_of(NAN)}, "expected finite numbers"),
        ({"state": joints_of([0.1] * 7)}, "has shape [7], expected [6]"),
        ({"state": state_with(state__gripper=Reading(values="open", unit="1"))}, "is 'open', expected 1 numbers"),
        ({"pictures": {"base": np.zeros((4, 4, 3), np.uint8)}}, "camera 'left_wrist' is missing"),
        ({"pictures": ur5e().pictures | {"top": np.zeros((4, 4, 3), np.uint8)}}, "camera 'top' was not trained on"),
        ({"pictures": ur5e().pictures | {"base": np.zeros((4, 4, 3))}}, "is float64 [4, 4, 3], expected uint8"),
        ({"pictures": ur5e().pictures | {"base": np.zeros((3, 4, 4), np.uint8)}}, "is uint8 [3, 4, 4], expected uint8"),
    ],
)  # fmt: skip
def test_what_was_not_trained_on_is_refused_by_name(policy, changes, expected):
    with pytest.raises(ConfigError) as caught:
        policy.act(ur5e(**changes), seed=0)

    assert expected in str(caught.value)


def test_a_robot_whose_cameras_may_all_be_absent_needs_one_all_the_same(policy):
    spec = policy.robots["ur5e"].spec
    free = replace(spec, slots=tuple(replace(slot, is_required=False) for slot in spec.slots))
    robots = {"ur5e": RobotCodec.of(policy.spec, free)}

    lines = list(observation_problems(ur5e(pictures={}), robots, tokenizer=policy.tokenizer))

    assert lines == ["there is no picture, expected one of camera base, left_wrist at least"]
    assert not list(observation_problems(ur5e(), robots, tokenizer=policy.tokenizer))


def test_every_problem_of_every_observation_is_told_at_once(policy):
    wrong = ur5e(state={JOINTS: Reading(values=NAN, unit="deg")}, pictures={}, instruction="")

    with pytest.raises(ConfigError) as caught:
        policy.act_batch([ur5e(), wrong, ur5e(embodiment="franka")], seeds=[0, 1, 2])

    lines = str(caught.value).splitlines()
    assert sum("observation 1:" in line for line in lines) == 6
    assert sum("observation 2:" in line for line in lines) == 1
    assert not any("observation 0:" in line for line in lines)


def test_a_damaged_checkpoint_gives_no_policy(newest, tmp_path):
    harmed = tmp_path / newest.name
    shutil.copytree(newest, harmed)
    weights = harmed / "ema.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])

    with pytest.raises(ConfigError, match=r"ema\.safetensors has"):
        Policy.load(Path(harmed))
