"""Frame rules and verdicts say where chunks start; limits are nested; what is held out is never trained on."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.frames import frame_runs
from curation.held_out import leaks
from curation.keyed import keyed_hash, take_first
from curation.lock import RUNS, Lock
from curation.make_lock import make_lock
from curation.mixture import BLOCK, quotas
from curation.order import Order, Runs, window_segments
from curation.plan import plan
from curation.recipe import parse_recipe
from curation.recipe_model import Limit
from curation.select import select
from schema.errors import ConfigError
from schema.lake import Lake
from schema.tables import TABLES
from tests.lakes import make_episode, store

ALL = "name: x\nsources: [{source: tiny}]\n"


def refused(text, lake):
    with pytest.raises(ConfigError) as caught:
        select(parse_recipe(text), lake)
    return str(caught.value)


def judge(lake, episode, *ranges):
    """Verdicts on an episode, one second after the other."""
    rows = [
        {
            "verdict_id": f"{episode.episode_id}/{number}",
            "episode_id": episode.episode_id,
            "start": start,
            "stop": stop,
            "keep": keep,
            "reason": "test",
            "author": "test",
            "created_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
            "format_version": 1,
        }
        for number, (start, stop, keep) in enumerate(ranges)
    ]
    write_deltalake(lake.create_table("verdicts"), pa.Table.from_pylist(rows, schema=TABLES["verdicts"]), mode="append")


@pytest.fixture
def small(tmp_path):
    """Makes a lake of the given episodes."""

    def make(*episodes):
        lake = Lake.open_or_create(str(tmp_path / "lake"))
        store(lake, tmp_path, list(episodes))
        return lake

    return make


VERDICTS = st.lists(
    st.tuples(st.none() | st.integers(0, 40), st.none() | st.integers(0, 40), st.booleans()), max_size=4
)


@settings(deadline=None, max_examples=40)
@given(
    frames=st.integers(1, 40),
    every=st.integers(1, 5),
    min_steps=st.integers(1, 12),
    skips=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    chunk_hz=st.sampled_from([None, 4, 8, 16, 50]),
    verdicts=VERDICTS,
)
def test_runs_are_the_frames_that_every_rule_keeps(frames, every, min_steps, skips, chunk_hz, verdicts):
    rate_hz, q = 10.0, 1 if chunk_hz is None else 10 / chunk_hz
    rules = f"{{every: {every}, min_steps: {min_steps}, skip_start_s: {skips[0] / 10}, skip_end_s: {skips[1] / 10}}}"
    chunk = "{steps: 50}" if chunk_hz is None else f"{{steps: 50, rate_hz: {chunk_hz}}}"
    recipe = parse_recipe(f"{ALL}frames: {rules}\nchunk: {chunk}\n")
    rows = pl.DataFrame(
        {"row": [0], "component": [0], "episode_id": ["e"], "num_frames": [frames], "rate_hz": [rate_hz]}
    )
    judged = pl.DataFrame(
        [("e", *verdict) for verdict in verdicts],
        schema={"episode_id": pl.String, "start": pl.Int32, "stop": pl.Int32, "keep": pl.Boolean},
        orient="row",
    )

    found = frame_runs(rows, recipe, verdicts=judged).to_dicts()

    keep = [True] * frames
    for start, stop, kept in verdicts:
        for frame in range(start or 0, frames if stop is None else min(stop, frames)):
            keep[frame] = kept
    keep = [kept and skips[0] <= frame < frames - skips[1] for frame, kept in enumerate(keep)]
    expected = []
    for frame in range(frames):
        end = frame
        while end < frames and keep[end]:
            end += 1
        if frame + (min_steps - 1) * q + max(1, q) <= end + 1e-9:
            expected.append((frame, end))
    starts = [(frame, run["chunk_stop"]) for run in found for frame in range(run["start"], run["stop"])]
    assert starts == expected
    assert [run["frames"] for run in found] == [len(range(run["start"], run["stop"], every)) for run in found]


def test_chunks_start_at_every_so_many_th_frame_and_read_on_to_what_is_kept(small):
    lake = small(make_episode(0, num_frames=20), make_episode(1, num_frames=3))
    recipe = parse_recipe(ALL + "frames: {every: 3, min_steps: 4, skip_start_s: 0.1, skip_end_s: 0.05}\n")
    lock = make_lock(recipe, lake)
    assert lock.runs.select(["start", "stop", "chunk_stop", "episode_frames"]).to_pylist() == [
        {"start": 2, "stop": 16, "chunk_stop": 19, "episode_frames": 20}
    ]
    (component,) = lock.components
    assert (component.episodes, component.frames) == (1, 5)
    samples = lock.order().samples(np.arange(100))
    run_P, offset_P = lock.run_index().locate(samples.component, samples.frame)
    assert set(run_P.tolist()) == {0}
    assert sorted(set((offset_P + 2).tolist())) == [2, 5, 8, 11, 14]
    states = next(row for row in lock.stats.to_pylist() if row["role"] == "state")
    actions = next(row for row in lock.stats.to_pylist() if row["role"] == "action")
    assert (states["count"], actions["count"]) == (5, sum(19 - start for start in (2, 5, 8, 11, 14)))
    assert plan(recipe, lake).components[0].frames == 5


def test_what_rules_leave_out_is_counted(small):
    lake = small(make_episode(0, num_frames=20), make_episode(1, num_frames=3))
    left_out = select(parse_recipe(ALL + "frames: {every: 3, min_steps: 4}\n"), lake).left_out
    assert (left_out.episodes, left_out.frames) == (1, 23 - 6)
    warnings = plan(parse_recipe(ALL + "frames: {every: 3, min_steps: 4}\n"), lake, steps=1, batch=1).warnings
    assert "frame rules and verdicts leave out 17 of 23 frames, and 1 episode whole" in warnings[0]


def test_rules_that_leave_nothing_of_a_component_are_refused_with_what_to_loosen(small):
    message = refused(ALL + "frames: {min_steps: 13}\n", small(make_episode(0, num_frames=12)))
    assert "line 3, frames: component 'ur5e/put block on plate' has no episode left to train on: loosen `frames`" in (
        message
    )


def test_more_recorded_steps_than_a_chunk_has_cannot_be_asked_for(small):
    message = refused(ALL + "frames: {min_steps: 9}\nchunk: {steps: 8}\n", small(make_episode(0, num_frames=12)))
    assert "line 3, frames.min_steps: found 9, expected at most the 8 steps of a chunk" in message


def test_verdicts_hold_unless_they_are_ignored_and_the_newest_counts(small):
    kept, dropped, cut = (make_episode(number, num_frames=12) for number in range(3))
    lake = small(kept, dropped, cut)
    before = make_lock(parse_recipe(ALL), lake)
    assert "verdicts" not in before.versions
    judge(lake, kept, (None, None, False), (None, None, True))
    judge(lake, dropped, (None, None, False))
    judge(lake, cut, (0, 8, False), (2, 4, True))

    lock = make_lock(parse_recipe(ALL), lake)

    assert lock.versions["verdicts"] == lake.version("verdicts")
    runs = {
        (run["episode_id"], run["start"], run["stop"])
        for run in lock.runs.select(["episode_id", "start", "stop"]).to_pylist()
    }
    assert runs == {(kept.episode_id, 0, 12), (cut.episode_id, 2, 4), (cut.episode_id, 8, 12)}
    assert lock.components[0].frames == 18
    ignoring = make_lock(parse_recipe(ALL + "verdicts: ignore\n"), lake)
    assert ignoring.runs.equals(before.runs)


def test_a_lock_with_frame_rules_is_saved_and_loaded_with_its_digest(small, tmp_path):
    lake = small(make_episode(0, num_frames=12))
    lock = make_lock(parse_recipe(ALL + "frames: {every: 2, min_steps: 3}\nchunk: {seconds: 0.5, rate_hz: 10}\n"), lake)
    lock.save(tmp_path / "lock")
    found = Lock.load(tmp_path / "lock")
    assert (found.every, found.chunk_rate_hz, found.chunk_steps) == (2, 10, 5)
    assert found.runs.column_names == [*RUNS.names, "chunk_stop"] == found.held_out.column_names
    assert found.digest == lock.digest


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 400)), min_size=1, max_size=30), st.integers(0, 9))
def test_a_smaller_limit_of_hours_or_episodes_is_a_subset_of_a_larger_one(episodes, seed):
    rows = pl.DataFrame(
        {
            "component": [component for component, _ in episodes],
            "episode_id": [f"e{number}" for number in range(len(episodes))],
            "num_frames": [frames for _, frames in episodes],
            "rate_hz": [1.0] * len(episodes),
        }
    )
    for limits in ([Limit(hours=h / 36) for h in (1, 2, 5, 1000)], [Limit(episodes=n) for n in (1, 2, 5, 1000)]):
        taken = [set(take_first(rows, limit, seed=seed)["episode_id"]) for limit in limits]
        assert taken[0] <= taken[1] <= taken[2] <= taken[3] == set(rows["episode_id"])
        hours = take_first(rows, limits[1], seed=seed).group_by("component").agg(pl.col("num_frames").sum() / 3600)
        assert limits[1].hours is None or (hours["num_frames"] <= limits[1].hours).all()


def test_a_limit_shorter_than_an_episode_leaves_nothing_and_says_so(small):
    message = refused(ALL + "limit: {hours: 0.0001}\n", small(make_episode(0, num_frames=12)))
    assert (
        "line 3, limit: component 'ur5e/put block on plate' has no episode left to train on: raise `limit`" in message
    )


def of_scene(number, scene, **options):
    episode = make_episode(number, num_frames=4, **options)
    object.__setattr__(episode, "scene", scene)
    return episode


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_held_out_scene_is_held_out_whole_the_same_for_every_seed(small, share):
    lake = small(*(of_scene(number, f"kitchen {number % 4}") for number in range(12)))
    text = f"{ALL}held_out: {share}\nheld_out_by: scene\n"
    found, other = (select(parse_recipe(f"{text}seed: {seed}\n"), lake) for seed in (0, 5))
    trained, out = (set(frame["scene"]) for frame in (found.episodes, found.held_out))
    assert out
    assert trained.isdisjoint(out)
    assert len(found.held_out) == 3 * len(out)
    assert set(other.held_out["scene"]) == out


def test_episodes_that_do_not_tell_their_scene_cannot_be_held_out_by_it(small):
    lake = small(of_scene(0, "kitchen"), of_scene(1, None))
    message = refused(f"{ALL}held_out: 0.5\nheld_out_by: scene\n", lake)
    assert "line 4, held_out_by: 1 of 2 episodes do not tell their scene" in message
    assert 'where: "scene IS NOT NULL"' in message


def test_a_share_that_holds_out_no_scene_is_refused(small):
    message = refused(f"{ALL}held_out: 0.001\nheld_out_by: scene\n", small(of_scene(0, "a"), of_scene(1, "b")))
    assert "line 3, held_out: a share of 0.001 holds out none of the 2 scenes" in message


def test_a_task_may_be_held_out_whole_and_is_a_component_that_is_never_drawn(small):
    tasks = ["stack", "sort", "push", "pull", "turn"]
    lake = small(*(make_episode(number, num_frames=4, task=task) for number, task in enumerate(tasks)))
    recipe = parse_recipe(f"{ALL}held_out: 0.5\nheld_out_by: task\n")
    lock = make_lock(recipe, lake)
    out = [one for one in lock.components if one.quota == 0]
    assert 0 < len(out) < 5
    assert lock.components[-len(out) :] == tuple(out)
    held = lock.held_out.to_pylist()
    assert sorted(lock.components[run["component"]].task for run in held) == sorted(one.task for one in out)
    assert all(lock.components[run["component"]].quota for run in lock.runs.to_pylist())
    assert {one.stats_key for one in out} <= set(lock.stats["key"].to_pylist())
    drawn = set(lock.order().samples(np.arange(4096)).component.tolist())
    assert drawn == set(range(5 - len(out)))
    assert len(plan(recipe, lake, steps=1, batch=1).components) == 5 - len(out)


def test_a_robot_all_of_whose_tasks_are_held_out_is_refused(small):
    tasks = ("put block on plate", "push block")
    lake = small(
        make_episode(0, num_frames=4, task=tasks[0]),
        make_episode(1, num_frames=4, task=tasks[1], embodiment="bimanual_trossen"),
    )
    share = min(keyed_hash(task, "held_out task") for task in tasks) + 1e-6
    message = refused(f"{ALL}prompt: {{tag: true}}\nheld_out: {share}\nheld_out_by: task\n", lake)
    assert "line 4, held_out: every task of" in message
    assert "is held out, so that nothing tells how to normalize it" in message


def test_what_is_on_both_sides_is_told_as_a_leak():
    recipe = parse_recipe(f"{ALL}held_out: 0.5\nheld_out_by: scene\n")
    common = {"embodiment": "ur5e", "action_space": "joint_position", "rate_hz": 20.0}
    rows = pl.DataFrame([common | {"episode_id": "a", "scene": "kitchen"}])
    held_out = pl.DataFrame([common | {"episode_id": "b", "scene": "kitchen"}])
    (problem,) = leaks(rows, held_out, recipe, held_out_only=())
    assert problem.text == "kitchen is held out and trained on: expected each scene once"
    assert not list(leaks(rows, held_out.with_columns(scene=pl.lit("hall")), recipe, held_out_only=()))


@settings(deadline=None, max_examples=12)
@given(st.data(), st.integers(1, 6), st.integers(0, 2**32), st.sampled_from([1, 4, 64]))
def test_every_chunk_start_comes_once_an_epoch_in_any_mixture_of_any_runs(data, every, seed, lanes):
    """Random runs of random components (shards that mix them all among them), as frame rules cut them."""
    lengths = data.draw(st.lists(st.lists(st.integers(1, 400), min_size=1, max_size=12), min_size=1, max_size=6))
    component_R = np.repeat(np.arange(len(lengths)), [len(one) for one in lengths])
    length_R = np.concatenate([np.array(one) for one in lengths])
    runs = Runs(num_frames_R=-(-length_R // every), component_R=component_R, every=every)
    frames_C = np.bincount(component_R, -(-length_R // every)).astype(np.int64)
    quota_C = quotas(frames_C**0.43, [""] * len(frames_C))
    order = Order(num_frames_C=frames_C, quota_C=quota_C, window_C=window_segments(quota_C, 16), seed=seed, lanes=lanes)

    samples = order.samples(np.arange(min(BLOCK, 40_000)))
    run_P, offset_P = runs.locate(samples.component, samples.frame)

    assert (component_R[run_P] == samples.component).all()
    assert (offset_P % every == 0).all()
    assert (offset_P < length_R[run_P]).all()
    visit = np.stack([samples.epoch, samples.lane, run_P, offset_P])
    assert np.unique(visit, axis=1).shape[1] == visit.shape[1]
    for component in range(len(lengths)):
        mine = samples.component == component
        if (samples.epoch[mine] > 0).all() or not (samples.epoch[mine] > 0).any():
            continue
        plan_K = np.flatnonzero(order.schedule.component_K == component)
        whole = [lane for lane in range(len(plan_K)) if (samples.epoch[mine & (samples.lane == lane)] > 0).any()]
        first = mine & (samples.epoch == 0) & np.isin(samples.lane, whole)
        assert first.sum() == order.schedule.num_frames_K[plan_K[whole]].sum()
