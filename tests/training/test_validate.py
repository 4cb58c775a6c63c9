"""Validation measures what it says: against a model whose errors are known, and beside baselines computed by hand."""

from dataclasses import asdict

import numpy as np
import pytest

from schema.errors import ConfigError
from training.baselines import hold_still, mean_chunks
from training.fixed_samples import SampleReader, spread
from training.loader import Loader
from training.normalize import Normalizer
from training.predict import predict
from training.validate import ALL_TASKS, STARTS_PER_RUN, validate


@pytest.fixture(scope="module")
def found(policy, lock):
    return validate(policy, lock)


@pytest.fixture(scope="module")
def batch(lock, lake):
    """All that validation measures on, in its order."""
    return SampleReader(lock, lock.held_out, lake=lake).read(spread(lock.held_out, per_run=STARTS_PER_RUN))


def test_there_is_a_row_for_each_embodiment_task_and_unit(found, lock):
    held_out = {lock.components[index].name for index in lock.held_out["component"].to_pylist()}
    tasks = {f"{row.embodiment}/{row.task}" for row in found.errors if row.task != ALL_TASKS}

    assert tasks == {f"{row.embodiment}/{row.task}" for row in found.losses} == held_out
    assert {row.unit for row in found.errors} == {"rad", "1"}
    assert {(row.embodiment, row.unit) for row in found.errors if row.task == ALL_TASKS} == {
        (embodiment, unit) for embodiment in {row.embodiment for row in found.losses} for unit in ("rad", "1")
    }


def test_measuring_again_gives_the_same_numbers(found, policy, lock):
    assert asdict(validate(policy, lock)) == asdict(found)


def test_every_held_out_frame_counts_when_there_are_few(found, lock):
    frames = sum(lock.held_out["stop"].to_pylist())

    assert sum(row.samples for row in found.losses) == frames


def test_holding_still_is_no_change_of_joints_and_the_gripper_as_it_is(lock, batch):
    chunks_BHW = hold_still(lock, batch)

    for row, index in enumerate(batch.components.tolist()):
        state, action = lock.dimensions(lock.components[index])
        state_slots, action_slots = lock.slots(lock.components[index])
        state_S = dict(
            zip([one.name.partition(".")[2] for one in state], state_slots.unpad(batch.state[row]), strict=True)
        )
        chunk_HA = action_slots.unpad(chunks_BHW[row])
        for place, one in enumerate(action):
            expected = state_S[one.name.partition(".")[2]] if one.is_gripper else 0.0
            np.testing.assert_array_equal(chunk_HA[:, place], np.full(5, expected, np.float32))


def test_holding_still_in_the_stored_form_is_the_state_repeated(make, lake):
    lock = make(action_form="stored")
    batch = SampleReader(lock, lock.held_out, lake=lake).read(spread(lock.held_out, per_run=2))
    chunks_BHW = hold_still(lock, batch)

    np.testing.assert_array_equal(chunks_BHW, np.repeat(batch.state[:, None], 5, axis=1) * batch.action_mask[:, None])


def test_errors_of_baselines_are_root_mean_squares_over_valid_steps(found, lock, lake, batch):
    mean_CHW = mean_chunks(lock, lake)
    rows = [row for row, index in enumerate(batch.components) if lock.components[index].embodiment == "ur5e"]
    valid = batch.step_mask[rows]
    joints = slice(0, 6)  # of a UR5e in layout `pi`
    held = (hold_still(lock, batch)[rows] - batch.actions[rows])[valid][:, joints]
    mean = (mean_CHW[batch.components[rows]] - batch.actions[rows])[valid][:, joints]
    (row,) = (row for row in found.errors if (row.embodiment, row.task, row.unit) == ("ur5e", ALL_TASKS, "rad"))

    assert row.samples == len(rows)
    assert row.hold_still == pytest.approx(np.sqrt((held**2).mean()), rel=1e-5)
    assert row.mean_chunk == pytest.approx(np.sqrt((mean**2).mean()), rel=1e-5)


def test_the_mean_chunk_is_the_mean_over_training_frames(lock, lake):
    mean_CHW = mean_chunks(lock, lake, per_run=10_000)
    frames = [component.frames for component in lock.components]
    drawn: dict[str, tuple[int, np.ndarray, np.ndarray]] = {}
    with Loader(lock, batch_size=64, threads=0) as loader:
        while len(drawn) < sum(frames):
            batch = next(loader)
            for row, sample in enumerate(batch.sample_ids):
                drawn[sample] = (
                    int(batch.components[row]), batch.actions[row].copy(), batch.step_mask[row].copy(),
                )  # fmt: skip
    for index in range(len(frames)):
        mine = [(actions, mask) for component, actions, mask in drawn.values() if component == index]
        for step in range(5):
            expected = np.mean([actions[step] for actions, mask in mine if mask[step]], axis=0)
            np.testing.assert_allclose(mean_CHW[index, step], expected, atol=1e-5)


def test_a_perfect_policy_has_no_error_and_shuffled_pictures_do_not_matter_to_it(policy, lock, batch, monkeypatch):
    normalizer = Normalizer.of(lock)
    truth = {
        sample_state.tobytes(): chunk
        for sample_state, chunk in zip(
            normalizer.state(batch.state, batch.components),
            normalizer.actions(batch.actions, batch.components),
            strict=True,
        )
    }

    def sample(observation, noise_BHW, mask_BW):
        return np.stack([truth[state.tobytes()] for state in observation.state.numpy()])

    monkeypatch.setattr(policy, "sample", sample)
    for row in validate(policy, lock).errors:
        assert row.policy == pytest.approx(0, abs=1e-6)
        assert row.shuffled == row.policy


def test_another_lock_is_refused(policy, make):
    with pytest.raises(ConfigError, match="was trained on lock"):
        validate(policy, make(seed=1))


def test_a_lock_that_holds_nothing_out_is_refused(policy, make, monkeypatch):
    lock = make(held_out=0)
    monkeypatch.setattr(type(lock), "digest", policy.head.lock)

    with pytest.raises(ConfigError, match="holds no episode out"):
        validate(policy, lock)


def test_predictions_of_the_held_out_episodes_are_in_the_lake_in_the_robots_units(policy, lock, lake):
    done = predict(policy, lock, checkpoint_uri="/runs/a/checkpoint-000000000024", every=5)
    rows = lake.scan("predictions").collect()
    (run,) = lake.scan("training_runs").collect().to_dicts()

    assert done.episodes == len(lock.held_out)
    assert done.chunks == 3 * len(lock.held_out)
    assert set(rows["episode_id"]) == set(lock.held_out["episode_id"].to_pylist())
    assert set(rows["frame"]) == {0, 5, 10}
    assert all(len(values) == 5 for values in rows["values"])
    assert {"action.gripper.gripper", "action.joint_position.elbow"} < set(rows["dimension"])
    assert (run["lock"], run["config"], run["position"]) == (lock.digest, "test", 24)
    assert run["checkpoint_uri"] == rows["checkpoint_uri"][0] == "/runs/a/checkpoint-000000000024"


def test_predictions_of_named_episodes_may_be_of_training_ones(policy, lock, lake):
    episode = lock.runs["episode_id"][0].as_py()
    done = predict(policy, lock, checkpoint_uri="/runs/b/x", episodes=[episode], every=6)

    assert (done.episodes, done.chunks) == (1, 2)


def test_an_unknown_episode_is_told(policy, lock):
    with pytest.raises(ConfigError, match="the lock has no episode nobody"):
        predict(policy, lock, checkpoint_uri="x", episodes=["nobody"])
