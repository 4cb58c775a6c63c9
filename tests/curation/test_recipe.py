"""A recipe is parsed once, and every problem is told in one message with its line."""

import re
from pathlib import Path

import pytest

from curation.recipe import Problem, load_recipe, parse_recipe
from schema.errors import ConfigError

LEAST = "name: demo\nsources:\n  - source: tiny\n"


def told(text, **options):
    with pytest.raises(ConfigError) as caught:
        parse_recipe(text, **options)
    return str(caught.value)


def test_a_name_and_a_source_are_enough_and_the_rest_is_as_in_the_paper():
    recipe = parse_recipe(LEAST)
    assert recipe.weighting.alpha == 0.43
    assert (recipe.layout, recipe.width, recipe.chunk.steps) == ("pi", 32, 50)
    assert (recipe.action_form, recipe.success, recipe.held_out) == ("stored", "any", 0)
    assert list(recipe.cameras) == ["base", "left_wrist", "right_wrist"]


def test_three_mistakes_are_told_at_once_with_their_lines():
    message = told(LEAST + "    boost: -1\nwidht: 18\nheld_out: 1.5\n", where="demo.yaml")
    assert "3 problems (demo.yaml)" in message
    assert "line 4, sources[0].boost: found -1, expected greater than 0" in message
    assert "line 5, widht: unknown key 'widht'" in message
    assert "did you mean 'width'?" in message
    assert "line 6, held_out: found 1.5" in message


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("layout: round", "layout: found 'round', expected 'pi' or 'semantic'; leave it out for pi"),
        ("chunk: {steps: 0}", "chunk.steps: found 0, expected greater than or equal to 1"),
        ("limit: {}", "limit: found {}, a limit needs `episodes`, `hours` or both"),
        ("action_form: absolute", "action_form: found 'absolute'"),
        ("cameras: {base: []}", "cameras.base: found []"),
        ("success: maybe", "success: found 'maybe'"),
        ("weighting: {alpha: .nan}", "weighting.alpha: found nan"),
        ("seed: -1", "seed: found -1"),
        ("width: 8\nwidth: 16", "line 4, width: the key 'width' comes again on line 5"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_what_was_expected(more, expected):
    assert expected in told(LEAST + more)


def test_a_recipe_without_sources_says_so():
    assert "sources: the key 'sources' is missing" in told("name: demo")
    assert "sources: found []" in told("name: demo\nsources: []")


@pytest.mark.parametrize("text", ["", "- a", "name: [", "just words"])
def test_what_is_no_mapping_is_refused(text):
    assert "(somewhere)" in told(text, where="somewhere")


@pytest.mark.parametrize(("word", "value"), [("true", "true"), ("false", "false"), ("any", "any"), ("'true'", "true")])
def test_success_may_be_written_as_yaml_writes_it(word, value):
    assert parse_recipe(LEAST + f"success: {word}").success == value


def test_a_check_is_asked_of_sound_sources_by_their_place_where_other_parts_are_wrong():
    asked = []

    def check(sources, recipe):
        asked.append((sources, recipe))
        return [Problem(place=("sources", 1, "source"), text="not there")]

    message = told("name: x\nsources:\n  - sauce: a\n  - source: b\nseed: -1", check=check)

    assert [(place, source.source) for place, source in asked[0][0].items()] == [(1, "b")]
    assert asked[0][1] is None
    assert "4 problems" in message
    assert "line 4, sources[1].source: not there" in message


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no recipe there.*absent\.yaml"):
        load_recipe(tmp_path / "absent.yaml")


def test_a_file_is_read(tmp_path):
    (tmp_path / "demo.yaml").write_text(LEAST)
    assert load_recipe(tmp_path / "demo.yaml").name == "demo"


def test_the_recipes_of_the_documentation_are_such():
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert [[choice.boost for choice in parse_recipe(block).sources] for block in blocks] == [[1, 1, 2, 1], [1, 2], [1]]


def test_bytes_that_are_no_text_are_no_recipe(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="bytes that are not UTF-8 text"):
        load_recipe(tmp_path / "x.yaml")


def test_a_table_of_another_name_is_told_with_those_that_there_are():
    with pytest.raises(ConfigError) as caught:
        parse_recipe("name: x\nsources: [{source: a}]\nversions: {episode: 1}\n")
    assert "line 3, versions.episode: found 'episode', expected 'episodes', 'annotations', 'scores'" in str(
        caught.value
    )
