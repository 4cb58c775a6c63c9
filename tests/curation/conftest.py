"""A tiny lake that the tests of recipes and locks share; they only read it."""

import pytest

from curation.recipe import parse_recipe
from tests.lakes import make_lake


@pytest.fixture(scope="session")
def lake(tmp_path_factory):
    return make_lake(tmp_path_factory.mktemp("tiny"), num_episodes=4, num_frames=25)


@pytest.fixture
def recipe():
    """Makes a recipe of the tiny lake's only source, with more lines of YAML where they are given."""

    def make(more="", *, tag=True):
        return parse_recipe(f"name: demo\nsources: [{{source: tiny}}]\nprompt: {{tag: {str(tag).lower()}}}\n{more}\n")

    return make
