"""A plan tells what the lock will hold, from the catalogue alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from curation.make_lock import make_lock
from curation.plan import plan
from curation.recipe import parse_recipe
from curation.recipe_model import Weighting
from curation.select import select
from curation.weigh import WORKING_SET_BYTES, weigh
from schema.lake import Lake
from tests.lakes import make_episode, make_lake, store


def test_a_plan_has_the_numbers_of_the_lock(lake, recipe):
    recipe = recipe("held_out: 0.1")
    planned, lock = plan(recipe, lake), make_lock(recipe, lake)
    for mine, locked in zip(planned.components, lock.components, strict=True):
        assert mine.component == locked.name
        for name in ("episodes", "frames", "hours", "share", "quota"):
            assert getattr(mine, name) == getattr(locked, name)
    assert planned.frames == sum(component.frames for component in lock.components)
    assert planned.held_out_episodes == lock.held_out.num_rows
    assert planned.lanes == lock.lanes == 1


def test_a_plan_needs_no_shard(tmp_path, recipe):
    lake = make_lake(tmp_path, num_episodes=1, num_frames=3)
    shutil.rmtree(Path(lake.root) / "shards")
    assert plan(recipe(), lake).frames == 12


def test_epochs_follow_from_steps_and_batch(lake, recipe):
    planned = plan(recipe(), lake, steps=500, batch=4)
    assert [component.epochs for component in planned.components] == pytest.approx([5] * 4)
    assert plan(recipe(), lake).components[0].epochs is None


def test_rows_are_for_a_table_largest_share_first(tmp_path):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    store(lake, tmp_path, [make_episode(0, task="a", num_frames=4), make_episode(1, task="b", num_frames=12)])
    rows = plan(parse_recipe("name: x\nsources: [{source: tiny}]"), lake, steps=25, batch=4).rows()
    assert [row["component"] for row in rows] == ["ur5e/b", "ur5e/a"]
    assert rows[0] == {
        "component": "ur5e/b",
        "episodes": 1,
        "frames": 12,
        "hours": pytest.approx(12 / 20 / 3600),
        "share": pytest.approx(3**0.43 / (1 + 3**0.43)),
        "quota": round(2**20 * 3**0.43 / (1 + 3**0.43)),
        "epochs": pytest.approx(100 / 12 * 3**0.43 / (1 + 3**0.43)),
    }


def test_what_is_seen_too_often_or_hardly_is_warned_of(tmp_path):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    store(lake, tmp_path, [make_episode(0, task="a", num_frames=1), make_episode(1, task="b", num_frames=300)])
    text = "name: x\nsources: [{source: tiny}]\nweighting: {alpha: 1}"
    warnings = plan(parse_recipe(text), lake, steps=301, batch=11).warnings
    assert any("'ur5e/a' is 0.33% of the mixture" in warning for warning in warnings)
    assert sum("is seen 11.0 times, more than 10" in warning for warning in warnings) == 2


def test_a_slot_that_stays_empty_is_warned_of(lake, recipe):
    planned = plan(recipe("cameras: {base: [base], extra: [ceiling, floor]}"), lake)
    assert planned.warnings == ("camera slot 'extra' is always empty: no selected embodiment has 'ceiling' or 'floor'",)


def test_windows_fill_the_working_set(lake, recipe):
    candidates = select(recipe(), lake).candidates
    weighed = weigh(candidates, Weighting())
    size = sum(
        window * 32 * candidate.tar_bytes / candidate.frames
        for window, candidate in zip(weighed.window_C, candidates, strict=True)
    )
    assert size == pytest.approx(WORKING_SET_BYTES, rel=0.01)


def test_much_data_is_cut_into_lanes_that_share_the_working_set(lake, recipe):
    candidates = select(recipe(), lake).candidates
    many = [replace(one, frames=one.frames * 10**6, tar_bytes=one.tar_bytes * 10**6) for one in candidates]
    few, lots = weigh(candidates, Weighting()), weigh(many, Weighting())
    assert (few.lanes, lots.lanes) == (1, 64)
    assert lots.window_C.sum() * 64 == pytest.approx(few.window_C.sum(), rel=0.05)
