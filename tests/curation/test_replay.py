"""Replay answers, from the lock alone, what a position samples and when an episode is sampled."""

from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from curation.instruction import chosen
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from curation.replay import checkpoints, samples_at, sightings
from schema.errors import ConfigError
from schema.tables import TABLES
from tests.lakes import make_lake
from training.loader import Loader

RECIPE = "name: x\nsources: [{source: tiny}]\nprompt: {tag: true}\nheld_out: 0.3\nseed: 5"


@pytest.fixture(scope="module")
def lock(lake):
    return make_lock(parse_recipe(RECIPE), lake)


@pytest.mark.parametrize(
    ("rules", "frames"),
    [
        ("", list(range(25))),
        ("frames: {every: 3, min_steps: 4, skip_start_s: 0.1}\nchunk: {steps: 10}", None),
        ("held_out_by: task", list(range(25))),
    ],
)
def test_an_episodes_positions_are_those_that_a_walk_meets(lake, rules, frames):
    text = RECIPE.replace("held_out: 0.3", "held_out: 0.5")
    lock = make_lock(parse_recipe(f"{text}\n{rules}"), lake)
    walked = list(samples_at(lock, 0, count=700))
    for episode in {one.episode_id for one in walked}:
        expected = [(one.position, one.frame) for one in walked if one.episode_id == episode]
        found = sightings(lock, episode, stop=700)
        assert list(zip(found.position_P.tolist(), found.frame_P.tolist(), strict=True)) == expected
        assert found.components == tuple({one.component for one in walked if one.episode_id == episode})
        (run,) = [row for row in lock.runs.to_pylist() if row["episode_id"] == episode]
        starts = list(range(run["start"], run["stop"], lock.every))
        assert found.frames == len(starts)
        assert sorted(set(found.frame_P.tolist())) == starts == (frames or starts)


def test_a_replay_is_the_same_wherever_it_begins(lock):
    walked = [asdict(one) for one in samples_at(lock, 0, count=50)]
    assert [asdict(one) for one in samples_at(lock, 20, count=30)] == walked[20:]


def test_a_sample_is_told_in_lines_for_people(lock):
    one = next(samples_at(lock, 12_345))
    assert one.told().startswith(
        f"12,345  {one.component}, epoch {one.epoch}\n    {one.episode_id}-{one.frame:06d} in "
    )


def test_a_prompt_begins_with_the_tag(lock):
    one = next(samples_at(lock, 3))
    assert one.prompt.startswith(f"{one.component.split('/')[0]}, joint_position at ")
    assert one.shard.startswith("shards/tiny/")


def test_what_had_been_seen_of_an_episode_is_counted_at_any_position(lock):
    found = sightings(lock, next(samples_at(lock, 0)).episode_id, stop=4000)
    nothing, half, everything = found.at([("a", 0), ("b", 2000), ("c", 4000)])
    assert (nothing.times, nothing.distinct_frames, nothing.until) == (0, 0, "a")
    assert half.times == (found.position_P < 2000).sum()
    assert (everything.times, everything.distinct_frames) == (len(found), 25)
    rows = list(found.rows(batch=16))
    assert [row["step"] for row in rows] == [row["position"] // 16 for row in rows]
    assert list(found.rows(batch=16, start=rows[3]["position"], count=2)) == rows[3:5]


def test_a_held_out_episode_is_never_sampled(lock):
    found = sightings(lock, lock.held_out["episode_id"][0].as_py(), stop=10**6)
    assert found.components == ()
    assert len(found.position_P) == 0


def test_an_unknown_episode_is_told_as_such(lock):
    with pytest.raises(ConfigError, match=r"'e404' is neither trained on nor held out.*recipe replay"):
        sightings(lock, "e404", stop=10)


def test_the_checkpoints_of_a_lock_are_found_in_its_lake(tmp_path):
    lake = make_lake(tmp_path, num_episodes=1, num_frames=3)
    lock = make_lock(parse_recipe(RECIPE.replace("0.3", "0")), lake)
    assert checkpoints(lock, lake_uri=str(tmp_path / "elsewhere")) == checkpoints(lock) == []
    row = {"training_run_id": "r", "config": "tiny", "created_at": datetime.now(UTC), "format_version": 1}
    rows = [
        row | {"lock": lock.digest, "checkpoint_uri": "b", "position": 20},
        row | {"lock": lock.digest, "checkpoint_uri": "a", "position": 10},
        row | {"lock": lock.digest, "checkpoint_uri": "a", "position": 10},
        row | {"lock": "another", "checkpoint_uri": "c", "position": 30},
    ]
    table = pa.Table.from_pylist(rows, schema=TABLES["training_runs"])
    write_deltalake(lake.create_table("training_runs"), table, mode="append")
    assert checkpoints(lock, lake_uri=lake.uri) == [("a", 10), ("b", 20)]


def test_each_of_several_instructions_is_chosen_and_always_alike():
    texts = ("a", "b", "c")
    drawn = [chosen(texts, seed=1, position=position) for position in range(300)]
    assert {text: drawn.count(text) // 60 for text in texts} == {"a": 1, "b": 1, "c": 1}
    assert drawn == [chosen(texts, seed=1, position=position) for position in np.arange(300)]
    assert chosen(("only",), seed=1, position=7) == "only"
    kept = [chosen(texts, seed=1, position=position, dropout=0.25) for position in range(400)]
    assert 70 < kept.count("") < 130
    assert all(text in {"", whole} for text, whole in zip(kept, drawn, strict=False))


CHANCE = (
    "cameras: {base: [base, left_wrist], other: [right_wrist]}\ncamera_choice: {base: any}\ncamera_dropout: {base: 0.3}"
)


def test_the_camera_that_chance_shows_in_each_slot_is_told_as_the_loader_shows_it(lake):
    lock = make_lock(parse_recipe(f"{RECIPE}\n{CHANCE}\nimage_size: 32"), lake)
    told = list(samples_at(lock, 0, count=64, lake=lake))
    with Loader(lock, batch_size=64) as loader:
        mask = next(loader).image_mask.tolist()
    assert [[camera is not None for camera in one.cameras.values()] for one in told] == mask
    assert {one.cameras["base"] for one in told} == {"base", "left_wrist", None}
    assert {one.cameras["other"] for one in told if one.component.startswith("ur5e")} == {None}
    assert (
        told[0]
        .told()
        .endswith(f"base: {told[0].cameras['base'] or 'nothing'}, other: {told[0].cameras['other'] or 'nothing'}")
    )
    assert next(samples_at(lock, 0)).cameras is None


def test_no_camera_is_told_where_nothing_is_left_to_chance(lake, lock):
    assert next(samples_at(lock, 0, lake=lake)).cameras is None
