"""The recipes that come with robomix are sound, say what was published, and fail where a source is absent."""

import re

import numpy as np
import pytest

from curation.mixture import weights
from curation.plan import plan
from curation.recipe import builtin_recipes, load_recipe, parse_recipe
from curation.select import open_recipe, select
from schema.errors import ConfigError
from schema.lake import Lake
from tests.lakes import make_episode, store


@pytest.mark.parametrize("name", builtin_recipes())
def test_a_built_in_recipe_is_loaded_by_its_name_and_has_it(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", [name for name in builtin_recipes() if name != "pi0_pretrain"])
def test_a_built_in_recipe_fails_where_its_sources_are_absent(name, lake):
    with pytest.raises(ConfigError, match=r"is not in the lake, expected one of: tiny") as caught:
        select(open_recipe(name, lake), lake)
    absent = len(load_recipe(name).sources)
    assert str(caught.value).count("is not in the lake") == absent


def test_an_unknown_name_is_told_with_the_names_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"name of a built-in recipe \(bridge, droid, .*pi0_pretrain\)"):
        load_recipe("pi0_pretraining")


def test_a_file_comes_before_a_built_in_recipe_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bridge").write_text("name: mine\nsources: [{source: tiny}]\n")
    assert load_recipe("bridge").name == "mine"


def test_the_magic_soup_gives_the_published_shares():
    """Transitions as Re-Mix counts them; without the door opening of Octo, whose count it does not give."""
    transitions = {
        "fractal": 3513684, "kuka": 2133779, "bridge": 1946218, "taco": 210730, "jaco": 69151,
        "berkeley_cable": 36758, "roboturk": 166627, "viola": 68778, "berkeley_autolab": 86887, "toto": 293237,
        "language": 6275438, "stanford_hydra": 339237, "austin_buds": 32757, "nyu_franka": 34083,
        "furniture": 3739948, "ucsd": 3614, "austin_sailor": 334011, "austin_sirius": 265812, "bc_z": 5432343,
        "dlr": 8487, "iamlab": 138937, "utaustin": 343702, "berkeley_fanuc": 58781, "cmu": 23556,
    }  # fmt: skip
    recipe = load_recipe("oxe_magic_soup")
    boosts = [choice.boost for choice in recipe.sources for name in transitions if choice.source.startswith(name)]
    assert len(boosts) == len(recipe.sources) - 1 == len(transitions)
    share = dict(
        zip(transitions, weights(list(transitions.values()), boosts, recipe.weighting.alpha).tolist(), strict=True)
    )
    published = {"bridge": 17.33, "fractal": 16.92, "kuka": 15.85, "bc_z": 9.67, "stanford_hydra": 6.04, "ucsd": 0.06}
    assert {name: round(100 * share[name], 2) for name in published} == published


def test_the_pre_training_mixture_tells_its_open_data_beside_the_papers(tmp_path):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    store(lake, tmp_path, [make_episode(number, num_frames=4) for number in range(3)])
    other = make_episode(9, num_frames=12, embodiment="widowx", source="bridge_dataset")
    store(lake, tmp_path, [other], bundle_id="bridge")
    recipe = open_recipe("pi0_pretrain", lake)
    assert recipe.weighting.alpha == 0.43
    expected = "open data (OXE, Bridge v2, DROID): 50.0% of the mixture, beside a reference of 9.1%"
    assert expected in plan(recipe, lake).warnings


def test_a_component_of_several_sources_counts_to_a_reference_by_its_frames(tmp_path):
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    store(lake, tmp_path, [make_episode(0, num_frames=4)])
    store(lake, tmp_path, [make_episode(1, num_frames=12, source="other")], bundle_id="other")
    text = (
        'name: x\nsources: [{source: "*"}]\nreferences: [{name: theirs, sources: ["oth*"], share: 0.5}]\n'
        "frames: {min_steps: 2}\n"
    )
    (told,) = [one for one in plan(parse_recipe(text), lake).warnings if "theirs" in one]
    assert re.match(rf"theirs: {np.round(100 * 11 / 14, 1)}% of the mixture, beside a reference of 50.0%", told)
