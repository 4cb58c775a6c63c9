"""Statistics equal what a person would compute slowly, and no split of the work changes a bit of them."""

from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import shard_work
from curation.histogram import BINS
from curation.shard_work import Work
from curation.signals import Group, Run, reach
from curation.statistics import STATS, statistics, summarize
from schema.embodiment import load_embodiment
from schema.errors import SchemaError
from schema.lake import Lake
from tests.curation.numbers_lake import write

ROBOT = load_embodiment("mobile_trossen")
SPACE = ROBOT.action_space()
STATE, ACTION = ROBOT.dimensions(SPACE.state), ROBOT.dimensions(SPACE.action)
INLINE = Work(partitions=1, scheduler="synchronous")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("statistics")


def signals_of(random, frames):
    """Joints that wander, grippers that jump, a base that mostly stands still."""
    values = {}
    for name in (*SPACE.state, *SPACE.action):
        width = ROBOT.signal(name).width
        values[name] = random.normal(3, 0.5, (frames, width)).astype(np.float32)
        if "gripper" in name:
            values[name] = random.integers(0, 2, (frames, width)).astype(np.float32)
    values["action.base_velocity"] = np.zeros((frames, 2), np.float32)
    return values


def stack(signals, names):
    return np.concatenate([signals[name] for name in names], axis=1).astype(np.float64)


def naive_values(episodes, *, steps, form):
    """States of all frames, and actions of all valid (start, step) pairs, one after the other."""
    states, actions = [], []
    moved = [n for n, one in enumerate(ACTION) if one.signal.mode == "absolute" and not one.is_gripper]
    for signals in episodes:
        state, action = stack(signals, SPACE.state), stack(signals, SPACE.action)
        states.append(state)
        for start in range(len(action)):
            chunk = action[start : start + steps].copy()
            if form == "delta":
                chunk[:, moved] -= state[start, moved]
            actions.append(chunk)
    return np.concatenate(states), np.concatenate(actions)


def group_of(runs, *, steps, form):
    return Group(key="robot", state=STATE, action=ACTION, steps=steps, form=form, runs=runs)


@cache
def some_episodes(count=7):
    random = np.random.default_rng(0)
    return tuple(signals_of(random, int(random.integers(3, 30))) for _ in range(count))


@settings(deadline=None, max_examples=10)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    steps=st.integers(1, 25),
    form=st.sampled_from(["stored", "delta"]),
    seed=st.integers(0, 1000),
)
def test_statistics_equal_the_naive_ones(tmp_path_factory, lengths, steps, form, seed):
    random = np.random.default_rng(seed)
    episodes = [signals_of(random, frames) for frames in lengths]
    lake, runs = write(tmp_path_factory.mktemp("naive"), episodes)

    found = summarize(lake, [group_of(runs, steps=steps, form=form)], INLINE)[0]

    first = len(STATE)
    for values, part in zip(
        naive_values(episodes, steps=steps, form=form), (slice(0, first), slice(first, None)), strict=True
    ):
        assert (found.count_D[part] == len(values)).all()
        np.testing.assert_allclose(found.mean_D[part], values.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(found.std_D[part], values.std(axis=0), atol=1e-12)
        np.testing.assert_array_equal(found.min_D[part], values.min(axis=0))
        np.testing.assert_array_equal(found.max_D[part], values.max(axis=0))
        exact = np.quantile(values, [0.01, 0.99], axis=0, method="inverted_cdf")
        bin_width = (values.max(axis=0) - values.min(axis=0)) / BINS
        assert (np.abs(found.quantile_QD[:, part] - exact) <= bin_width + 1e-12).all()


@pytest.mark.parametrize("form", ["stored", "delta"])
@pytest.mark.parametrize(
    ("partitions", "scheduler"), [(1, "threads"), (2, "synchronous"), (7, "synchronous"), (7, "threads")]
)
def test_no_split_of_the_work_changes_a_bit(folder, form, scheduler, partitions):
    lake, runs = write(folder, some_episodes())
    groups = [group_of(runs, steps=10, form=form)]

    once = statistics(lake, groups, layout="pi", width=32, work=INLINE)
    split = statistics(lake, groups, layout="pi", width=32, work=Work(partitions=partitions, scheduler=scheduler))

    assert split.equals(once)


def test_several_groups_are_measured_apart(folder):
    lake, runs = write(folder, some_episodes())
    groups = [
        Group(key=key, state=STATE, action=ACTION, steps=5, form="stored", runs=part)
        for key, part in (("b", runs[:3]), ("a", runs[3:]))
    ]
    together = statistics(lake, groups, layout="pi", width=32)
    apart = [statistics(lake, [group], layout="pi", width=32) for group in groups]
    assert together.equals(pa.concat_tables(apart[::-1]))


def test_rows_name_dimensions_slots_units_and_rules(folder):
    lake, runs = write(folder, some_episodes())
    table = statistics(lake, [group_of(runs, steps=5, form="stored")], layout="pi", width=32)
    assert table.schema == STATS
    rows = {row["dimension"]: row for row in table.to_pylist()}
    assert [row["role"] for row in table.to_pylist()] == ["state"] * 14 + ["action"] * 16
    yaw = rows["action.base_velocity.yaw"]
    assert (yaw["slot"], yaw["unit"], yaw["rule"], yaw["mean"], yaw["std"]) == (15, "rad/s", "constant", 0, 1)
    gripper = rows["action.left_gripper.gripper"]
    assert (gripper["slot"], gripper["rule"], gripper["mean"], gripper["std"]) == (6, "gripper", 0, 1)
    assert (gripper["min"], gripper["max"], gripper["q99"]) == (0, 1, pytest.approx(1, abs=1e-6))
    assert rows["state.left_joint_position.waist"]["rule"] == "measured"


def test_a_dimension_that_moves_once_in_a_thousand_frames_does_not_explode(tmp_path):
    signals = signals_of(np.random.default_rng(0), 1000)
    signals["action.base_velocity"][500] = 1
    lake, runs = write(tmp_path, [signals])
    table = statistics(lake, [group_of(runs, steps=1, form="stored")], layout="pi", width=32)
    forward = next(row for row in table.to_pylist() if row["dimension"] == "action.base_velocity.forward")
    assert (forward["rule"], forward["std"], forward["max"]) == ("constant", 1, 1)
    assert forward["mean"] == pytest.approx(0.001)


def test_a_bin_that_holds_much_is_looked_at_closer(tmp_path):
    """One far value makes all others fall into one bin of 2**16."""
    signals = signals_of(np.random.default_rng(0), 1000)
    values = np.linspace(0, 1, 1000, dtype=np.float64)
    values[-1] = 1e6
    signals = {name: value.astype(np.float64) for name, value in signals.items()}
    signals["state.left_joint_position"][:, 0] = values
    lake, runs = write(tmp_path, [signals])
    found = summarize(lake, [group_of(runs, steps=1, form="stored")], INLINE)[0]
    exact = np.quantile(values, [0.01, 0.99], method="inverted_cdf")
    np.testing.assert_allclose(found.quantile_QD[:, 0], exact, atol=1e6 / 2**32 + 1e-9)


def test_only_the_frames_of_a_run_count_and_chunks_end_with_it(tmp_path):
    signals = signals_of(np.random.default_rng(0), 30)
    lake, (run,) = write(tmp_path, [signals])
    part = Run(episode_id=run.episode_id, shard=run.shard, row_group=run.row_group, start=10, stop=20)
    found = summarize(lake, [group_of((part,), steps=4, form="delta")], INLINE)[0]
    cut = {name: values[10:20] for name, values in signals.items()}
    states, actions = naive_values([cut], steps=4, form="delta")
    np.testing.assert_allclose(found.mean_D, np.concatenate([states.mean(axis=0), actions.mean(axis=0)]), atol=1e-12)
    assert found.count_D.tolist() == [10] * 14 + [34] * 16


@settings(deadline=None, max_examples=10)
@given(partitions=st.integers(1, 9), seed=st.integers(0, 1000), form=st.sampled_from(["stored", "delta"]))
def test_no_order_of_the_parts_changes_a_bit(tmp_path_factory, partitions, seed, form):
    lake, runs = write(tmp_path_factory.mktemp("order"), some_episodes(5))
    groups = [group_of(runs, steps=10, form=form)]
    in_order, random = shard_work._parts, np.random.default_rng(seed)
    once = statistics(lake, groups, layout="pi", width=32, work=INLINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_work, "_parts", lambda *asked: random.permutation(in_order(*asked)).tolist())
        shuffled = Work(partitions=partitions, scheduler="synchronous")
        assert statistics(lake, groups, layout="pi", width=32, work=shuffled).equals(once)


def test_groups_measured_a_few_at_a_time_are_measured_alike(folder, monkeypatch):
    lake, runs = write(folder, some_episodes())
    groups = [
        Group(key=key, state=STATE, action=ACTION, steps=5, form="stored", runs=part)
        for key, part in (("b", runs[:2]), ("a", runs[2:4]), ("c", runs[4:]))
    ]
    together = statistics(lake, groups, layout="pi", width=32, work=INLINE)
    monkeypatch.setattr("curation.statistics._AT_ONCE", 1)
    assert statistics(lake, groups, layout="pi", width=32, work=INLINE).equals(together)


@given(st.integers(1, 40), st.integers(1, 50))
def test_reach_counts_the_chunk_starts_before_a_frame(frames, steps):
    counted = [sum(start <= frame < start + steps for start in range(frames)) for frame in range(frames)]
    assert reach(frames, steps).tolist() == counted


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e39])
def test_numbers_that_are_not_finite_in_training_name_episode_and_signal(tmp_path, wrong):
    signals = signals_of(np.random.default_rng(0), 5)
    signals["action.base_velocity"] = np.full((5, 2), wrong)
    lake, runs = write(tmp_path, [signals])
    with pytest.raises(SchemaError, match=r"episode 000 holds numbers in 'action.base_velocity' that are not finite"):
        statistics(lake, [group_of(runs, steps=2, form="stored")], layout="pi", width=32)


def test_a_row_group_of_another_episode_is_refused(tmp_path):
    lake, (run,) = write(tmp_path, [signals_of(np.random.default_rng(0), 5)])
    wrong = Run(episode_id="other", shard=run.shard, row_group=0, start=0, stop=5)
    with pytest.raises(SchemaError, match="is not episode other"):
        statistics(lake, [group_of((wrong,), steps=2, form="stored")], layout="pi", width=32)


def test_a_shard_that_is_gone_is_named(tmp_path):
    run = Run(episode_id="a", shard="shards/tiny/gone", row_group=0, start=0, stop=5)
    with pytest.raises(SchemaError, match=r"shards/tiny/gone\.parquet is missing"):
        statistics(Lake(str(tmp_path)), [group_of((run,), steps=2, form="stored")], layout="pi", width=32)
