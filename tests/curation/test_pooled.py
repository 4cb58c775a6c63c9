"""A plan warns, from the moments that the catalogue keeps, of the sources that a lock would refuse to pool."""

from dataclasses import replace

import numpy as np
import pytest

from curation import pooled
from curation.make_lock import make_lock
from curation.plan import plan
from curation.pooled import pools_that_disagree
from curation.recipe import parse_recipe
from curation.select import select
from curation.shard_work import Work
from schema.errors import ConfigError
from schema.lake import Lake
from tests.lakes import make_episode, store


def lake_of(folder, *, sources, change=lambda values: values):
    """A lake of sources of two episodes each; `change` is done to one signal, and its state, of the last source."""
    lake = Lake.open_or_create(str(folder / "lake"))
    for source in sources:
        episodes = [make_episode(number, source=source, num_frames=40) for number in range(2)]
        if source == sources[-1]:
            names = ("action.joint_position", "state.joint_position")
            episodes = [
                replace(one, signals=one.signals | {name: np.float32(change(one.signals[name])) for name in names})
                for one in episodes
            ]
        store(lake, folder, episodes, bundle_id=source)
    return lake


def recipe_of(*sources, more=""):
    return parse_recipe("name: x\nsources:\n" + "\n".join(f"  - source: {source}" for source in sources) + "\n" + more)


def found(lake, recipe):
    return dict(pools_that_disagree(recipe, select(recipe, lake), lake))


def third_joint(change):
    """Changes one dimension only."""

    def made(values):
        changed = values.copy()
        changed[:, 2] = change(changed[:, 2])
        return changed

    return made


def test_sources_that_agree_are_not_told_of(tmp_path):
    assert found(lake_of(tmp_path, sources=("a", "b", "c")), recipe_of("a", "b", "c")) == {}


def test_a_source_alone_agrees_with_itself(tmp_path):
    assert found(lake_of(tmp_path, sources=("a",), change=lambda values: values + 9), recipe_of("a")) == {}


@pytest.mark.parametrize("change", [lambda values: values + 1.6, lambda values: values * 57.3], ids=["zero", "unit"])
def test_another_zero_or_unit_is_found_where_it_is(tmp_path, change):
    lake = lake_of(tmp_path, sources=("a", "b", "c"), change=third_joint(change))
    (told,) = found(lake, recipe_of("a", "b", "c")).values()
    assert len(told) == 2  # the state and the action
    assert all("in 'c'" in one and "in 'a'" in one for one in told)


def test_what_a_plan_warns_of_is_what_a_lock_refuses(tmp_path):
    lake = lake_of(tmp_path, sources=("a", "b"), change=lambda values: values - 3)
    (warning,) = [one for one in plan(recipe_of("a", "b"), lake, steps=1).warnings if "do not agree" in one]
    assert "a lock would be refused: sources do not agree on what the statistics 'ur5e/joint_position/20hz" in warning
    with pytest.raises(ConfigError) as refused:
        make_lock(recipe_of("a", "b"), lake, work=Work(scheduler="synchronous"))
    told = str(refused.value).partition("pool: ")[2]
    assert warning.endswith(told.partition("pool: ")[2] or told)


def test_the_delta_form_is_judged_by_the_states_alone(tmp_path):
    lake = lake_of(tmp_path, sources=("a", "b"), change=lambda values: values - 3)
    (told,) = found(lake, recipe_of("a", "b", more="action_form: delta")).values()
    assert {one.split(".")[0] for one in told} == {"state"}


def test_what_a_person_pools_is_told_and_what_is_apart_is_not(tmp_path):
    lake = lake_of(tmp_path, sources=("a", "b"), change=lambda values: values - 3)
    pooled = plan(recipe_of("a", "b", more="statistics: pooled"), lake, steps=1).warnings
    assert [one for one in pooled if one.startswith("sources do not agree")]
    assert found(lake, recipe_of("a", "b", more="statistics: by_source\ngroup: source")) == {}


def test_a_source_that_changes_on_its_way_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(pooled, "EPISODES", 10)  # of 60
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    for source in ("a", "b"):
        for part in range(3):
            episodes = [make_episode(10 * part + number, source=source, num_frames=4) for number in range(10)]
            if source == "b" and part == 1:
                names = ("action.joint_position", "state.joint_position")
                episodes = [
                    replace(one, signals=one.signals | {name: one.signals[name] * np.float32(57.3) for name in names})
                    for one in episodes
                ]
            store(lake, tmp_path, episodes, bundle_id=f"{source}{part}")
    (told,) = found(lake, recipe_of("a", "b")).values()
    assert len(told) == 12
