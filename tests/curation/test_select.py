"""What a recipe takes of a lake, and everything that the lake has against it."""

from functools import partial
from pathlib import Path

import pytest

from curation.keyed import keyed_hash
from curation.recipe import parse_recipe
from curation.select import _problems, open_recipe, select
from schema.errors import ConfigError
from schema.lake import Lake
from tests.lakes import make_episode, store


def refused(recipe, lake):
    with pytest.raises(ConfigError) as caught:
        select(recipe, lake)
    return str(caught.value)


def of(text, lake):
    """The message for a recipe's text, told by the lake and by itself at once."""
    with pytest.raises(ConfigError) as caught:
        parse_recipe(text, check=partial(_problems, lake=lake))
    return str(caught.value)


def lake_folder(lake):
    return Path(lake.root).parent


def ids(rows):
    return set(rows["episode_id"])


@pytest.fixture
def small(tmp_path):
    """Makes a lake of the given episodes."""

    def make(*episodes, **options):
        lake = Lake.open_or_create(str(tmp_path / "lake"))
        store(lake, tmp_path, list(episodes), **options)
        return lake

    return make


def test_components_are_embodiment_times_task_by_name(lake, recipe):
    found = select(recipe(), lake)
    assert [candidate.name for candidate in found.candidates] == [
        "bimanual_trossen/push block",
        "bimanual_trossen/put block on plate",
        "ur5e/push block",
        "ur5e/put block on plate",
    ]
    assert [candidate.frames for candidate in found.candidates] == [100] * 4
    assert [candidate.rate_hz for candidate in found.candidates] == [50, 50, 20, 20]


def test_episodes_stand_by_component_and_id(lake, recipe):
    rows = select(recipe(), lake).episodes
    keys = list(rows.select("component", "episode_id").iter_rows())
    assert keys == sorted(keys)
    assert len(set(keys)) == 16


def test_where_takes_the_episodes_of_which_it_is_true(lake):
    text = "name: x\nsources: [{source: tiny, where: \"embodiment = 'ur5e' AND task = 'push block'\"}]"
    assert [candidate.name for candidate in select(parse_recipe(text), lake).candidates] == ["ur5e/push block"]


def test_mistakes_of_form_and_mistakes_about_the_lake_are_told_together(lake):
    message = of(
        "name: x\nsources:\n  - source: tinny\n  - source: tiny\n    where: frames > 3\n"
        "  - source: tiny\n    action_space: eef_delta\nheld_out: 2\n",
        lake,
    )
    assert "4 problems" in message
    assert "line 3, sources[0].source: source 'tinny' is not in the lake, expected one of: tiny" in message
    assert "line 5, sources[1].where: found 'frames > 3': no column 'frames'" in message
    assert "did you mean 'num_frames'?" in message
    assert "line 7, sources[2].action_space: embodiment 'bimanual_trossen' has no action space 'eef_delta'" in message
    assert "line 8, held_out: found 2" in message


def test_a_wrong_boost_does_not_hide_that_the_source_is_absent(lake):
    message = of("name: x\nsources: [{source: tinny, boost: -1}]", lake)
    assert "sources[0].boost: found -1" in message
    assert "source 'tinny' is not in the lake" in message


def test_an_absent_source_does_not_hide_that_the_padding_is_too_narrow(lake):
    message = of("name: x\nsources: [{source: tiny}, {source: other}]\nwidth: 8\nprompt: {tag: true}", lake)
    assert "source 'other' is not in the lake" in message
    assert "line 3, width" in message
    assert "need a padded width of 14 in layout 'pi', found 8: set `width: 14`" in message


@pytest.mark.parametrize("where", ["num_frames", "num_frames >", "num_frames > 'a'", "num_frames > 1; drop table x"])
def test_an_expression_that_is_not_true_or_false_is_refused(lake, where):
    recipe = parse_recipe(f'name: x\nsources: [{{source: tiny, where: "{where}"}}]')
    assert "sources[0].where: found" in refused(recipe, lake)


def test_an_empty_selection_says_what_emptied_it(lake, recipe):
    message = refused(recipe("success: true"), lake)
    assert "source 'tiny' gives no episode: it has 16, `where` keeps 16 and `success: true` 0" in message


def test_a_file_is_opened_against_the_lake(lake, tmp_path):
    (tmp_path / "x.yaml").write_text("name: x\nsources: [{source: nowhere}]\nseed: -1\n")
    with pytest.raises(ConfigError, match=r"(?s)2 problems.*x\.yaml.*nowhere.*seed"):
        open_recipe(tmp_path / "x.yaml", lake)


def test_two_robots_in_the_same_slots_need_a_tag(lake, recipe):
    message = refused(recipe(tag=False), lake)
    assert "action slots 0–5" in message
    assert "at 20 Hz for 'ur5e/push block'" in message
    assert "at 50 Hz for 'bimanual_trossen/push block'" in message
    assert "set `prompt: {tag: true}`" in message
    assert len(select(recipe(tag=True), lake).candidates) == 4


def test_a_gripper_and_a_joint_in_one_slot_need_a_tag_or_the_semantic_layout(small):
    lake = small(make_episode(0, embodiment="ur5e"), make_episode(1, embodiment="franka"))
    text = "name: x\nsources: [{source: tiny}]\n"
    message = refused(parse_recipe(text), lake)
    assert "action slot 6 (gripper 1 in fraction absolute at 20 Hz for 'ur5e/put block on plate'" in message
    assert "joint_position rad in joint absolute at 20 Hz for 'franka/put block on plate')" in message
    assert "state slot 6 (" in message
    assert len(select(parse_recipe(text + "layout: semantic"), lake).candidates) == 2


def test_a_robot_without_a_semantic_slot_is_refused_with_the_reason(small):
    lake = small(make_episode(0, embodiment="unitree_g1"))
    message = refused(parse_recipe("name: x\nsources: [{source: tiny}]\nlayout: semantic"), lake)
    assert "layout 'semantic' has no slot for left finger_position" in message


def test_slots_that_show_no_camera_of_a_robot_are_refused(lake, recipe):
    message = refused(recipe("cameras: {front: [front_camera]}"), lake)
    assert "no slot shows a camera of 'ur5e/push block': name one of base, left_wrist" in message


def test_held_out_episodes_are_never_trained_on(lake, recipe):
    found = select(recipe("held_out: 0.2"), lake)
    assert ids(found.held_out)
    assert ids(found.held_out).isdisjoint(ids(found.episodes))
    assert len(found.held_out) + len(found.episodes) == 16


def test_held_out_episodes_are_the_same_for_every_seed_and_nested(lake, recipe):
    few, more, other = (
        ids(select(recipe(line), lake).held_out)
        for line in ("held_out: 0.1", "held_out: 0.3", "held_out: 0.3\nseed: 7")
    )
    assert few <= more == other


def test_a_component_that_is_held_out_whole_is_an_error_that_names_it(lake, recipe):
    assert "component 'bimanual_trossen/push block' has no episode left" in refused(recipe("held_out: 0.999"), lake)


def test_a_smaller_limit_is_a_subset_of_a_larger_one(lake, recipe):
    one, two, three = (select(recipe(f"limit: {{episodes: {count}}}"), lake) for count in (1, 2, 3))
    assert ids(one.episodes) < ids(two.episodes) < ids(three.episodes)
    assert [candidate.episodes for candidate in two.candidates] == [2] * 4


def test_another_seed_limits_to_other_episodes(lake, recipe):
    chosen = {
        frozenset(ids(select(recipe(f"limit: {{episodes: 2}}\nseed: {seed}"), lake).episodes)) for seed in (0, 1, 2)
    }
    assert len(chosen) > 1


def test_a_keyed_hash_is_spread_evenly():
    values = [keyed_hash(f"{number}", "held_out") for number in range(4000)]
    assert sum(values) / len(values) == pytest.approx(0.5, abs=0.02)


def test_a_source_taken_twice_is_refused(lake):
    text = "name: x\nsources: [{source: tiny}, {source: tiny, where: \"embodiment = 'ur5e'\"}]\nprompt: {tag: true}"
    assert "sources[0] and sources[1] both take 8 episodes" in refused(parse_recipe(text), lake)


def test_one_component_cannot_have_two_boosts(lake):
    text = (
        "name: x\nsources:\n  - {source: tiny, where: \"embodiment = 'ur5e' AND record_index < 2\", boost: 2}\n"
        "  - {source: tiny, where: \"embodiment = 'ur5e' AND record_index >= 2\"}\n"
    )
    assert "component 'ur5e/push block' takes frames with boost 1 and 2" in refused(parse_recipe(text), lake)


def test_a_source_recorded_at_another_rate_makes_a_component_of_its_own(small):
    slow = make_episode(1, source="slow")
    object.__setattr__(slow, "timestamp_T", slow.timestamp_T * 4)
    lake = small(make_episode(0))
    store(lake, lake_folder(lake), [slow], bundle_id="slow")
    text = "name: x\nsources: [{source: tiny}, {source: slow}]\nprompt: {tag: true}"
    names = [candidate.name for candidate in select(parse_recipe(text), lake).candidates]
    assert names == ["ur5e@20hz/put block on plate", "ur5e@5hz/put block on plate"]


def test_tables_of_one_robot_that_disagree_are_refused(small):
    episode = make_episode(1)
    signals = tuple(
        signal.model_copy(update={"frame": "world"}) if signal.name == "action.joint_position" else signal
        for signal in episode.embodiment.signals
    )
    object.__setattr__(episode, "embodiment", episode.embodiment.model_copy(update={"signals": signals}))
    lake = small(make_episode(0))
    store(lake, lake_folder(lake), [episode], bundle_id="other")
    message = refused(parse_recipe("name: x\nsources: [{source: tiny}]"), lake)
    assert "episodes of 'ur5e' were converted by tables that disagree on action space 'joint_position'" in message


def test_tables_of_one_robot_that_agree_are_one_component(small):
    episode = make_episode(1)
    object.__setattr__(episode, "embodiment", episode.embodiment.model_copy(update={"title": "The same arm"}))
    lake = small(make_episode(0))
    store(lake, lake_folder(lake), [episode], bundle_id="other")
    assert [
        candidate.episodes for candidate in select(parse_recipe("name: x\nsources: [{source: tiny}]"), lake).candidates
    ] == [2]


def test_an_episode_that_lacks_a_signal_of_the_action_space_is_counted(small):
    episode = make_episode(1)
    object.__setattr__(
        episode, "signals", {name: values for name, values in episode.signals.items() if name != "action.gripper"}
    )
    lake = small(make_episode(0), episode)
    message = refused(parse_recipe("name: x\nsources: [{source: tiny}]"), lake)
    assert "1 of 2 episodes of 'ur5e' lack signals of action space 'joint_position'" in message
    kept = parse_recipe(
        "name: x\nsources: [{source: tiny, where: \"array_contains(action_spaces, 'joint_position')\"}]"
    )
    assert select(kept, lake).candidates[0].episodes == 1
