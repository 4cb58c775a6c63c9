"""What is drawn, without drawing it."""

import base64

import numpy as np
import polars as pl
import pytest

from dashboards.charts.facts import facts
from dashboards.charts.panels import panels, thin
from dashboards.charts.player import player
from dashboards.charts.shares import MAX_BARS, shares, time_unit
from dashboards.queries.episode import instructions, recorded, row
from dashboards.queries.overview import overview
from dashboards.queries.predictions import chunk, predictions
from schema.frames import numbers
from tests.dashboards.conftest import CHECKPOINT, first


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


@pytest.fixture
def episode(lake):
    return row(lake, first(lake))


def test_bars_show_the_largest_components_and_no_more_than_fit():
    many = pl.DataFrame(
        {
            "source": "s",
            "embodiment": "e",
            "task": [str(number) for number in range(30)],
            "hours": [float(number) for number in range(30)],
            "episodes": 1,
            "frames": 10,
        }
    )
    spec = shares(many, "hours").to_dict()
    (drawn,) = spec["datasets"].values()
    assert [one["task"] for one in drawn] == [str(number) for number in range(29, 29 - MAX_BARS, -1)]


def test_short_lakes_are_told_in_minutes(lake):
    assert time_unit(overview(lake).components) == ("minutes", 60.0)


def test_panels_hold_state_and_action_of_one_quantity_and_unit(lake, episode):
    found = panels(recorded(lake, episode))
    assert [(panel.title, panel.unit, len(panel.lines)) for panel in found] == [
        ("Joint position", "rad", 12),
        ("Gripper", "0 open, 1 closed", 2),
    ]
    assert found[0].lines[-1].name == "action.joint_position.wrist_3"


def test_every_dimension_of_a_robot_is_in_exactly_one_panel(lake):
    other = row(lake, lake.episodes().filter(pl.col("embodiment") == "bimanual_trossen").collect()["episode_id"][0])
    found = recorded(lake, other)
    table = found.embodiment
    names = [line.name for panel in panels(found) for line in panel.lines]
    assert sorted(names) == sorted(one.name for one in table.dimensions(tuple(s.name for s in table.signals)))


def test_thinning_keeps_what_is_short_and_the_extremes_of_what_is_long():
    values = np.random.default_rng(0).normal(size=(10_001, 3)).astype(np.float32)
    frames, drawn = thin(values, 100)
    assert len(frames) <= 100
    assert (np.diff(frames) > 0).all()
    np.testing.assert_array_equal(drawn.min(axis=0), values.min(axis=0))
    np.testing.assert_array_equal(drawn.max(axis=0), values.max(axis=0))
    assert thin(values[:100], 100)[1].base is values


def test_the_player_gets_every_recorded_number(lake, episode):
    found = recorded(lake, episode)
    data = player(episode, found, url="/x", instructions=instructions(lake, first(lake)), frame=999)
    line = next(one for one in data["panels"][0]["lines"] if one["name"] == "state.joint_position.elbow")
    np.testing.assert_array_equal(floats(line["values"]), numbers(found.frames["state.joint_position"])[:, 2])
    assert [camera["name"] for camera in data["cameras"]] == ["base", "left_wrist"]
    assert data["frame"] == 39
    assert data["chunk"] is None


def test_the_player_gets_the_chunk_that_is_chosen(lake, episode):
    found = recorded(lake, episode)
    chosen = chunk(predictions(lake, first(lake)), found, checkpoint=CHECKPOINT, start=10)
    data = player(episode, found, url="/x", instructions=instructions(lake, first(lake)), chunk=chosen)["chunk"]
    assert (data["start"], data["stop"], data["first"], data["last"]) == (10, 18, 8, 20)
    np.testing.assert_array_equal(floats(data["panels"][1]["predicted"]), np.full(8, 0.5, np.float32))
    assert len(floats(data["panels"][1]["recorded"])) == 12


def test_facts_are_escaped():
    html = facts(pl.DataFrame({"fact": ["<b>"], "value": ["a & b"]}))
    assert "&lt;b&gt;" in html
    assert "a &amp; b" in html
