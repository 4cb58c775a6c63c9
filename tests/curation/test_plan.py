"""A plan tells what the lock will hold, from the catalogue alone."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from curation.chunks import chunk_rows
from curation.make_lock import make_lock
from curation.plan import plan
from curation.recipe import parse_recipe
from curation.recipe_model import Weighting
from curation.replay import samples_at
from curation.select import select
from curation.weigh import WORKING_SET_BYTES, weigh
from schema.lake import Lake
from tests.lakes import make_episode, make_lake, store

ALL = "name: x\nsources: [{source: tiny}]"


def lake_of(folder, *episodes):
    """A lake of `make_episode`'s episodes, one for each dict of options."""
    lake = Lake.open_or_create(str(folder / "lake"))
    made = [make_episode(number, **options) for number, options in enumerate(episodes)]
    for source in {one.source for one in made}:
        store(lake, folder, [one for one in made if one.source == source], bundle_id=source)
    return lake


def test_a_plan_has_the_numbers_of_the_lock(lake, recipe):
    recipe = recipe("held_out: 0.1")
    planned, lock = plan(recipe, lake), make_lock(recipe, lake)
    for mine, locked in zip(planned.components, lock.components, strict=True):
        assert mine.component == locked.name
        for name in ("embodiment", "task", "episodes", "frames", "hours", "share", "quota"):
            assert getattr(mine, name) == getattr(locked, name)
    assert planned.frames == sum(component.frames for component in lock.components)
    assert planned.held_out_episodes == lock.held_out.num_rows
    assert planned.left_out.frames == 0
    assert planned.lanes == lock.lanes == 1


def test_a_plan_needs_no_shard(tmp_path, recipe):
    lake = make_lake(tmp_path, num_episodes=1, num_frames=3)
    shutil.rmtree(Path(lake.root) / "shards")
    assert plan(recipe(), lake).frames == 12


def test_a_plan_is_json(lake, recipe):
    planned = plan(recipe(), lake)
    assert json.loads(json.dumps(asdict(planned)))["components"][0]["component"] == planned.components[0].component


def test_epochs_and_repetition_follow_from_steps_and_batch(lake, recipe):
    planned = plan(recipe(), lake, steps=500, batch=4)
    assert [component.epochs for component in planned.components] == pytest.approx([5] * 4)
    assert (planned.samples, planned.distinct_frames, planned.repetition) == (2000, 400, pytest.approx(5))
    few = plan(recipe(), lake, steps=25, batch=4)
    assert (few.distinct_frames, few.repetition) == (100, 1)


def test_shares_are_told_by_embodiment_task_and_source(tmp_path):
    lake = lake_of(
        tmp_path,
        {"task": "a", "num_frames": 4},
        {"task": "b", "num_frames": 8, "source": "other"},
        {"task": "b", "num_frames": 24},
    )
    text = "name: x\nsources: [{source: tiny}, {source: other}]\nweighting: {alpha: 1}"
    planned = plan(parse_recipe(text), lake, steps=9, batch=4)
    assert [(one.name, one.episodes, one.frames, one.share) for one in planned.by_task] == [
        ("b", 2, 32, pytest.approx(32 / 36)),
        ("a", 1, 4, pytest.approx(4 / 36)),
    ]
    assert [(one.name, one.episodes, one.frames, one.share) for one in planned.by_source] == [
        ("tiny", 2, 28, pytest.approx(28 / 36)),
        ("other", 1, 8, pytest.approx(8 / 36)),
    ]
    (robot,) = planned.by_embodiment
    assert (robot.name, robot.share, robot.epochs) == ("ur5e", pytest.approx(1), pytest.approx(1))
    assert robot.hours == pytest.approx(36 / 20 / 3600)


@pytest.mark.parametrize("steps", [1, 2, 7, 8, 50])
def test_valid_steps_are_those_that_the_chunks_have(tmp_path, steps):
    lake = lake_of(tmp_path, {"num_frames": 7}, {"num_frames": 1}, {"num_frames": 20})
    planned = plan(parse_recipe(f"{ALL}\nchunk: {{steps: {steps}}}"), lake)
    masks = [chunk_rows(np.arange(frames), steps, frames)[1] for frames in (7, 1, 20)]
    assert planned.components[0].valid_steps == pytest.approx(np.concatenate(masks).mean())
    assert planned.presentation.valid_steps == pytest.approx(np.concatenate(masks).mean())


def test_padding_and_unused_places_follow_from_the_layout(lake, recipe):
    shown = plan(recipe("width: 18"), lake).presentation
    by_name = {one.embodiment: one for one in shown.embodiments}
    assert by_name["ur5e"].state_padding == pytest.approx(11 / 18)
    assert by_name["bimanual_trossen"].action_padding == pytest.approx(4 / 18)
    assert shown.unused_state_slots == shown.unused_action_slots == (14, 15, 16, 17)
    assert "action.joint_position" not in by_name["ur5e"].unused_signals


def test_camera_coverage_is_the_share_of_samples_with_a_picture(lake, recipe):
    shown = plan(recipe("cameras: {base: [base], right: [right_wrist]}"), lake).presentation
    assert shown.camera_coverage == {"base": pytest.approx(1), "right": pytest.approx(0.5)}
    assert shown.pictures_per_sample == pytest.approx(1.5)
    assert {one.embodiment: one.camera_coverage["right"] for one in shown.embodiments} == {
        "ur5e": 0,
        "bimanual_trossen": 1,
    }


def test_distinct_episodes_are_counted_in_the_order_itself(tmp_path):
    lake = lake_of(tmp_path, *({"num_frames": 33} for _ in range(30)))
    recipe = parse_recipe(ALL)
    lock, spread = make_lock(recipe, lake), plan(recipe, lake, batch=16).spread
    told = [one.episode_id for one in samples_at(lock, 0, count=16 * 40)]
    batches = [len(set(told[first : first + 16])) for first in range(0, len(told), 16)]
    assert spread.batch_episodes == pytest.approx(np.mean(batches), rel=0.05)
    assert spread.shuffled_batch_episodes == pytest.approx(30 * (1 - (1 - 1 / 30) ** 16), rel=0.03)
    assert spread.episodes == spread.shuffled_episodes == pytest.approx(30)


def test_a_lake_that_fits_in_the_working_set_is_fetched_once(lake, recipe):
    planned = plan(recipe(), lake, steps=1000, batch=16)
    assert planned.cost.working_set_bytes == planned.tar_bytes
    assert planned.cost.fetch_bytes == pytest.approx(planned.tar_bytes, rel=0.01)
    segments, cuts = 4 * 100 / 32, 4 * (1 + 3 / 4)  # every segment once, and again where an episode ends within
    assert segments < planned.cost.fetch_requests < segments + cuts + 4
    few = plan(recipe(), lake, steps=1, batch=1)
    assert few.cost.fetch_bytes < planned.cost.fetch_bytes / 4


def test_decoding_costs_what_a_samples_pictures_cost(lake, recipe):
    cost = plan(recipe("cameras: {base: [base]}"), lake, steps=1000, batch=36).cost
    assert cost.decode_ms_per_sample == cost.decode_ms_per_picture
    assert cost.decode_core_hours == pytest.approx(cost.decode_ms_per_picture / 100)


def test_what_is_seen_too_often_or_hardly_is_warned_of(tmp_path):
    lake = lake_of(tmp_path, {"num_frames": 1}, {"num_frames": 300, "embodiment": "bimanual_trossen"})
    text = f"{ALL}\nweighting: {{alpha: 1}}\nprompt: {{tag: true}}\nchunk: {{steps: 1}}"
    warnings = plan(parse_recipe(text), lake, steps=301, batch=11).warnings
    assert any("'ur5e' is 0.33% of the mixture" in warning for warning in warnings)
    assert sum("is seen 11.0 times, more than 10" in warning for warning in warnings) == 2


def test_a_slot_that_stays_empty_is_warned_of(lake, recipe):
    planned = plan(recipe("chunk: {steps: 5}\ncameras: {base: [base], extra: [ceiling, floor]}"), lake, steps=1)
    assert planned.warnings == ("camera slot 'extra' is always empty: no selected embodiment has 'ceiling' or 'floor'",)


def test_chunks_longer_than_the_episodes_are_warned_of(lake, recipe):
    (warning, other) = plan(recipe("chunk: {steps: 50}"), lake, steps=1).warnings
    assert warning.startswith("26% of the steps in chunks of 'bimanual_trossen' were recorded")
    assert "'ur5e'" in other


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
