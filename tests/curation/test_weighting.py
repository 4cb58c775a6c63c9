"""Shares by size, boost and quality, held between a floor and a cap; groups and tasks are what a recipe says."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.cautions import split_warnings
from curation.make_lock import make_lock
from curation.mixture import bounded
from curation.plan import plan
from curation.recipe import parse_recipe
from curation.select import _problems, open_recipe, select
from schema.errors import ConfigError
from schema.lake import Lake
from schema.tables import TABLES
from tests.lakes import make_episode, make_lake, store


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A lake of two robots × two tasks whose Trossen episodes score 0.25 and the others 1."""
    lake = make_lake(tmp_path_factory.mktemp("scored"), num_episodes=2, num_frames=8)
    rows = lake.episodes().select("episode_id", "embodiment").sort("episode_id").collect().to_dicts()
    write(
        lake,
        "scores",
        [
            {"episode_id": row["episode_id"], "metric": "smoothness", "metric_version": version, "value": value}
            for row in rows
            for version, value in ((1, 0.9), (2, 0.25 if row["embodiment"] == "bimanual_trossen" else 1.0))
        ],
    )
    return lake


def write(lake, table, rows):
    rows = [row | {"format_version": 1} for row in rows]
    write_deltalake(lake.create_table(table), pa.Table.from_pylist(rows, schema=TABLES[table]), mode="append")


def refused(text, lake):
    with pytest.raises(ConfigError) as caught:
        select(parse_recipe(text), lake)
    return str(caught.value)


ALL = "name: x\nsources: [{source: tiny}]\nprompt: {tag: true}\n"


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=40), st.floats(0, 1, exclude_max=True), st.floats(1.0001, 50)
)
def test_bounded_shares_keep_to_their_bounds_and_in_between_to_their_proportions(shares, low, high):
    count = len(shares)
    floor, cap = low / count, min(1.0, high / count)
    share_C = np.array(shares) / sum(shares)

    bounded_C = bounded(share_C, floor=floor, cap=cap)

    assert bounded_C.sum() == pytest.approx(1, abs=1e-12)
    assert (bounded_C >= floor - 1e-12).all()
    assert (bounded_C <= cap + 1e-9).all()
    inside_C = (bounded_C > floor + 1e-9) & (bounded_C < cap - 1e-9)
    level_C = bounded_C[inside_C] / share_C[inside_C]
    assert level_C == pytest.approx(np.full(len(level_C), level_C[:1].sum()), rel=1e-6)


def test_a_cap_gives_what_it_takes_to_the_others_in_proportion():
    assert bounded([0.8, 0.15, 0.05], floor=0, cap=0.6) == pytest.approx([0.6, 0.3, 0.1])
    assert bounded([0.8, 0.15, 0.05], floor=0.1, cap=1) == pytest.approx(
        [0.72 / 0.95 * 0.9 / 0.72 * 0.8, 0.15 / 0.95 * 0.9, 0.1]
    )
    assert bounded([0.5, 0, 0.5], floor=0.1, cap=1).tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ("cap: 0.2", "line 4, weighting.cap: cap 0.2 for 4 components leaves draws to nobody: expected at least 0.25"),
        ("floor: 0.3", "line 4, weighting.floor: floor 0.3 for 4 components is more than all there is: expected at"),
        ("floor: 0.25, cap: 0.24", "line 4, weighting.floor: floor 0.25 is above cap 0.24"),
    ],
)
def test_bounds_that_no_shares_can_keep_are_refused_with_their_line(scored, bounds, expected):
    assert expected in refused(f"{ALL}weighting: {{{bounds}}}\n", scored)


def test_quotas_follow_the_cap(scored):
    text = ALL.replace("{source: tiny}", "{source: tiny, where: \"task = 'push block'\"}") + (
        "quality: {score: smoothness}\nweighting: {cap: 0.6}\n"
    )
    assert [one.share for one in plan(parse_recipe(text), scored).components] == pytest.approx([0.4, 0.6])


def test_a_score_multiplies_the_weight_in_its_newest_version(scored):
    recipe = parse_recipe(ALL + "quality: {score: smoothness}\n")
    components = plan(recipe, scored).components
    assert {one.boost for one in components} == {0.25, 1.0}
    shares = {one.component: one.share for one in components}
    assert shares["ur5e/push block"] == pytest.approx(4 * shares["bimanual_trossen/push block"])
    assert make_lock(recipe, scored).versions == {
        "episodes": scored.version("episodes"),
        "annotations": scored.version("annotations"),
        "scores": scored.version("scores"),
    }


def test_a_score_that_is_not_there_is_refused_with_those_that_are(scored):
    message = refused(ALL + "quality: {score: smothness}\n", scored)
    assert "line 4, quality.score: found no scores 'smothness', expected one of: smoothness; did you mean" in message


def test_an_episode_without_the_score_is_refused_and_counted(tmp_path):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    episodes = [make_episode(number, num_frames=3) for number in range(2)]
    store(lake, tmp_path, episodes)
    common = {"metric": "sharpness", "metric_version": 1}
    write(lake, "scores", [common | {"episode_id": episodes[0].episode_id, "value": 1.0}])
    text = "name: x\nsources: [{source: tiny}]\nquality: {score: sharpness}\n"
    assert f"1 of 2 episodes have no score 'sharpness' that is 0 or more, such as {episodes[1].episode_id}" in refused(
        text, lake
    )
    kept = text.replace("tiny}", 'tiny, where: "sharpness >= 0"}')
    assert select(parse_recipe(kept), lake).candidates[0].episodes == 1
    write(lake, "scores", [common | {"episode_id": episodes[0].episode_id, "value": 0.0, "metric_version": 2}])
    told = "line 3, quality.score: the mean of score 'sharpness' is 0 over the frames of every component"
    with pytest.raises(ConfigError, match=told):
        plan(parse_recipe(kept), lake)


def test_components_that_would_never_be_drawn_are_told_with_the_line(scored):
    lines = (
        "name: x",
        "prompt: {tag: true}",
        "sources:",
        """- {source: tiny, boost: 1.0e-9, where: "task = 'push block'"}""",
        """- {source: tiny, where: "task != 'push block'"}""",
    )
    message = refused("\n".join(lines), scored)
    assert "line 3, sources: components that would get 0 of every 1,048,576 draws: 'bimanual_trossen/push" in message


def test_where_sees_scores_and_verdicts(scored, tmp_path):
    text = ALL.replace("tiny}", 'tiny, where: "smoothness > 0.5 AND num_frames > 3"}')
    found = select(parse_recipe(text), scored)
    assert {candidate.embodiment.name for candidate in found.candidates} == {"ur5e"}
    assert "scores" in found.versions
    none = ALL.replace("tiny}", 'tiny, where: "verdict_keep"}')
    assert "`where` keeps 0" in refused(none, scored)


def test_an_unknown_column_may_be_a_score_that_was_misspelt(scored):
    message = refused(ALL.replace("tiny}", 'tiny, where: "smothness > 1"}'), scored)
    assert (
        "no column 'smothness' in the episodes table, and no score of that name; did you mean 'smoothness'?" in message
    )


def test_components_may_be_of_embodiments_or_sources_alone(lake, recipe):
    by_robot, by_source = (select(recipe(f"group: {group}"), lake).candidates for group in ("embodiment", "source"))
    assert [candidate.name for candidate in by_robot] == ["bimanual_trossen/all tasks", "ur5e/all tasks"]
    assert [candidate.name for candidate in by_source] == ["bimanual_trossen/tiny", "ur5e/tiny"]
    assert [candidate.frames for candidate in by_robot] == [200, 200]


def test_task_patterns_name_tasks_and_the_first_that_fits_counts(lake, recipe):
    found = select(recipe("tasks: {'PUT *': put, '*block*': other}"), lake)
    assert [candidate.task for candidate in found.candidates] == ["other", "put", "other", "put"]


def test_a_task_pattern_that_fits_nothing_is_refused(lake):
    message = refused(ALL + "tasks:\n  'fold *': fold\n", lake)
    assert "line 5, tasks.fold *: no selected task fits 'fold *', found 'push block', 'put block on plate'" in message


def test_a_source_may_be_a_pattern_and_one_that_fits_no_source_is_refused(lake):
    assert len(select(parse_recipe(ALL.replace("tiny", '"t*"')), lake).candidates) == 4
    assert "source 'o*' is not in the lake, expected one of: tiny" in refused(ALL.replace("tiny", '"o*"'), lake)


def test_a_source_split_into_many_tasks_is_warned_of_with_the_factor(tmp_path):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    store(lake, tmp_path, [make_episode(0, task=f"task {number}", num_frames=2) for number in range(9)])
    text = "name: x\nsources: [{source: tiny}]\n"
    (warning,) = split_warnings(parse_recipe(text), select(parse_recipe(text), lake))
    assert f"split into 9 components that together weigh {9**0.57:.1f} times what they would as one (k^0.57" in warning
    assert warning in plan(parse_recipe(text), lake).warnings
    for more in ("group: embodiment", "tasks: {'task *': all}", "weighting: {alpha: 1}"):
        grouped = parse_recipe(text + more)
        assert not list(split_warnings(grouped, select(grouped, lake)))


def test_a_recipe_may_name_versions_of_tables_and_one_that_is_gone_is_refused(tmp_path):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    store(lake, tmp_path, [make_episode(0, num_frames=2)])
    before = lake.version("episodes")
    store(lake, tmp_path, [make_episode(1, num_frames=2)], bundle_id="more")
    text = "name: x\nsources: [{source: tiny}]\nversions: {episodes: %d}\n"
    assert select(parse_recipe(text % before), lake).candidates[0].episodes == 1
    message = refused(text % 99, lake)
    assert "line 3, versions.episodes:" in message
    assert "has no version 99 of 'episodes'" in message
    (tmp_path / "x.yaml").write_text(text % 99 + "seed: -1\n")
    with pytest.raises(ConfigError, match=r"(?s)1 problem.*seed"):
        open_recipe(tmp_path / "x.yaml", lake)


def test_fields_that_came_later_leave_nothing_in_the_json_of_a_recipe_without_them(recipe):
    assert set(recipe().model_dump(mode="json")) == {
        "name", "sources", "weighting", "layout", "width", "chunk", "action_form", "cameras", "image_size", "success",
        "prompt", "held_out", "limit", "seed",
    }  # fmt: skip
    assert recipe().model_dump(mode="json")["weighting"] == {"alpha": 0.43}
    assert recipe("weighting: {cap: 0.5}").model_dump(mode="json")["weighting"] == {"alpha": 0.43, "cap": 0.5}


def test_five_mistakes_of_five_kinds_are_told_at_once_each_with_its_line(scored):
    message = refused_file(
        "name: x\n"
        "sources:\n"
        "  - {source: tiny, where: \"embodiment = 'ur5e' AND smothness > 0\"}\n"
        "  - {source: tinny}\n"
        "  - {source: tiny, where: \"embodiment <> 'ur5e'\", action_space: eef_delta}\n"
        "chunk: {seconds: 1}\n"
        "held_out_by: room\n",
        scored,
    )
    assert "5 problems" in message
    assert [f"line {line}, " in message for line in (3, 4, 5, 6, 7)] == [True] * 5


def test_everything_that_only_the_lake_can_show_is_told_at_once(scored):
    message = refused_file(
        "name: x\n"
        "sources: [{source: tiny}]\n"
        "prompt: {tag: true}\n"
        "quality: {score: grace}\n"
        "tasks: {fold: fold}\n"
        "camera_dropout: {top: 0.1}\n"
        "weighting: {cap: 0.1}\n"
        "width: 8\n",
        scored,
    )
    assert "5 problems" in message
    assert [f"line {line}, " in message for line in (4, 5, 6, 7, 8)] == [True] * 5


def refused_file(text, lake):
    with pytest.raises(ConfigError) as caught:
        parse_recipe(text, check=partial(_problems, lake=lake))
    return str(caught.value)
