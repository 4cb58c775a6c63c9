"""A difference tells what changed between two mixtures, and nothing where nothing did."""

import json
from dataclasses import asdict

import pytest

from curation.difference import Outline, difference
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from schema.errors import ConfigError
from schema.lake import Lake
from tests.lakes import make_episode, store

TEXT = "name: x\nsources:\n  - {source: tiny}\n"


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A lake with one task, and its outline before a second task and another episode came."""
    folder = tmp_path_factory.mktemp("grown")
    lake = Lake.open_or_create(str(folder / "lake"))
    store(lake, folder, [make_episode(number, task="a", num_frames=20) for number in range(2)])
    before = Outline.of_lock(make_lock(parse_recipe(TEXT), lake))
    more = [make_episode(8, task="a", num_frames=20), make_episode(9, task="b", num_frames=40)]
    store(lake, folder, more, bundle_id="more")
    return lake, before


def test_a_mixture_does_not_differ_from_itself(lake, recipe):
    lock = Outline.of_lock(make_lock(recipe("held_out: 0.1"), lake))
    planned = Outline.of_recipe(recipe("held_out: 0.1"), lake)
    assert difference(lock, lock).is_none
    assert list(difference(lock, lock).sentences()) == ["nothing changed"]
    assert difference(lock, planned).is_none
    assert not difference(lock, planned).is_measured


EVERYTHING = """
weighting: {alpha: 0.5, cap: 0.6, floor: 0.1}
tasks: {"push *": push}
chunk: {seconds: 0.5, rate_hz: 10}
frames: {every: 2, min_steps: 2, skip_start_s: 0.1}
cameras: {base: [exterior], hand: [wrist]}
camera_choice: {base: any}
camera_dropout: {hand: 0.25}
held_out: 0.5
held_out_by: task
statistics: pooled
limit: {hours: 1}
references: [{name: open data, sources: ["tiny"], share: 0.091}]
"""


def test_a_lock_does_not_differ_from_its_recipe_whatever_that_says(lake, recipe):
    made = recipe(EVERYTHING)
    lock = Outline.of_lock(make_lock(made, lake))
    assert difference(lock, Outline.of_recipe(made, lake)).is_none


def test_every_field_that_changed_is_told(lake, recipe):
    before, after = Outline.of_recipe(recipe(), lake), Outline.of_recipe(recipe(EVERYTHING), lake)
    found = difference(before, after)
    words = list(found.sentences())
    assert "recipe weighting.cap: nothing → 0.6" in words
    assert "recipe chunk.rate_hz: nothing → 10.0" in words
    assert "recipe frames.every: nothing → 2" in words
    assert "recipe held_out_by: nothing → 'task'" in words
    assert "recipe camera_dropout.hand: nothing → 0.25" in words
    assert "recipe references[open data].share: nothing → 0.091" in words
    assert f"held out: 0 → {after.held_out} episodes" in words
    assert found.episodes["removed"] >= after.held_out > 0


def test_more_data_is_told_by_component_hours_and_statistics(grown):
    lake, before = grown
    found = difference(before, Outline.of_lock(make_lock(parse_recipe(TEXT), lake)))
    changed, added = found.components
    assert (changed["component"], changed["change"]) == ("ur5e/a", "changed")
    assert (changed["episodes_before"], changed["episodes_after"]) == (2, 3)
    assert (added["component"], added["change"], added["frames_before"]) == ("ur5e/b", "added", None)
    row = found.rows()[0]
    assert (row["component"], row["episodes"], row["frames"]) == ("ur5e/a", "2 → 3", "40 → 60")
    assert found.rows()[1]["episodes"] == "– → 1"
    assert found.episodes == {"added": 2, "removed": 0, "cut otherwise": 0}
    assert found.hours == (pytest.approx(40 / 72000), pytest.approx(100 / 72000))
    assert [one.what for one in found.versions] == ["episodes", "annotations"]
    assert found.settings == ()
    moved = [row for row in found.statistics if "mean" in row["change"]]
    assert len(moved) == 12  # two grippers are normalized by rule
    assert "std" in moved[0]["change"]
    words = "\n".join(found.sentences())
    assert "episodes: 2 added, 0 removed" in words
    assert "statistics of ur5e/joint_position/20hz/stored/50" in words
    json.dumps(asdict(found))


def test_back_again_the_same_is_removed(grown):
    lake, before = grown
    found = difference(Outline.of_recipe(parse_recipe(TEXT), lake), before)
    assert [row["change"] for row in found.components] == ["changed", "removed"]
    assert found.episodes["removed"] == 2
    assert list(found.sentences())[-1].startswith("statistics are not compared")


def test_fields_of_a_recipe_are_told_by_their_path(lake):
    text = "name: x\nprompt: {tag: true}\nsources:\n  - {source: tiny, where: \"embodiment = 'ur5e'\", boost: BOOST}\n"
    other = "  - {source: tiny, where: \"embodiment != 'ur5e'\"}\n"
    before = Outline.of_recipe(parse_recipe(text.replace("BOOST", "1") + other), lake)
    after = Outline.of_recipe(parse_recipe(text.replace("BOOST", "3") + "chunk: {steps: 10}\n"), lake)
    words = list(difference(before, after).sentences())
    assert "recipe sources[tiny].boost: 1.0 → 3.0" in words
    assert "recipe chunk.steps: 50 → 10" in words
    assert "recipe sources[tiny #2].where: \"embodiment != 'ur5e'\" → nothing" in words
    assert any(line.startswith("table of bimanual_trossen: ") and line.endswith("→ nothing") for line in words)


def test_locks_and_recipes_are_found_by_their_place(lake, tmp_path, recipe):
    file = tmp_path / "demo.yaml"
    file.write_text("name: demo\nsources: [{source: tiny}]\nprompt: {tag: true}\n")
    make_lock(recipe(), lake).save(tmp_path / "lock")
    found = difference(Outline.at(str(tmp_path / "lock")), Outline.at(str(file), lake_uri=lake.uri))
    assert found.is_none
    with pytest.raises(ConfigError, match="name it with --lake"):
        Outline.at(str(file))
