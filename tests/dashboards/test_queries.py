"""What the pages say of a lake, without any page."""

import numpy as np
import polars as pl
import pytest

from dashboards.queries.episode import in_words, instructions, missing, provenance, recorded, row
from dashboards.queries.filters import Filters
from dashboards.queries.listing import keys, neighbours, rows
from dashboards.queries.overview import narrowed, overview, totals
from dashboards.queries.predictions import chunk, predictions
from schema.errors import SchemaError
from schema.frames import numbers
from tests.dashboards.conftest import CHECKPOINT, first


def test_totals_count_every_episode_once(lake):
    sums = totals(overview(lake).components)
    assert (sums.episodes, sums.frames, sums.embodiments, sums.tasks) == (13, 12 * 40 + 20, 2, 2)
    assert (sums.success, sums.failure, sums.judged, sums.simulated) == (0, 1, 1, 12)


def test_absent_cameras_are_counted_by_reason(lake):
    assert overview(lake).absent.select("camera", "reason", "episodes").rows() == [
        ("left_wrist", "the log has no such stream", 1)
    ]


def test_quarantine_is_counted_by_source_and_reason_with_an_example(lake):
    found = overview(lake).quarantine
    assert found.select("source", "reason", "records", "message").rows() == [
        ("other", "bad_jpeg", 1, "record-7 is broken")
    ]


def test_an_empty_lake_has_an_empty_overview(empty_lake):
    found = overview(empty_lake)
    assert totals(found.components).episodes == 0
    assert found.absent.is_empty()
    assert found.quarantine.is_empty()


def test_narrowing_an_overview_agrees_with_counting_the_listed_episodes(lake):
    filters = Filters(embodiment=("ur5e",), task=("push block",))
    assert totals(narrowed(overview(lake), filters).components).episodes == len(keys(lake, filters)) == 3


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (Filters(), 13),
        (Filters(source=("other",)), 1),
        (Filters(outcome=("failure",)), 1),
        (Filters(outcome=("unknown", "success")), 12),
        (Filters(origin=("real",)), 1),
        (Filters(absent=("left_wrist",)), 1),
        (Filters(absent=("base",)), 0),
        (Filters(source=("nowhere",)), 0),
    ],
)
def test_a_filter_leaves_the_episodes_it_names(lake, filters, count):
    assert len(keys(lake, filters)) == count


def test_parameters_leave_out_what_is_not_chosen(lake):
    assert Filters(task=("a", "b")).parameters(episode="x") == {"tasks": ["a", "b"], "episode": "x"}


def test_rows_come_in_the_order_of_their_keys(lake):
    wanted = keys(lake, Filters()).reverse()
    assert rows(lake, wanted)["episode_id"].to_list() == wanted.to_list()


def test_neighbours_end_at_the_ends_of_the_list():
    wanted = pl.Series(["a", "b", "c"])
    assert neighbours(wanted, "a") == (0, None, "b")
    assert neighbours(wanted, "c") == (2, "b", None)
    assert neighbours(wanted, "z") == (None, None, None)


def test_an_unknown_episode_is_an_error_of_ours(lake):
    with pytest.raises(SchemaError, match="no episode 'nope'"):
        row(lake, "nope")


def test_provenance_leads_to_record_and_shard(lake):
    facts = dict(provenance(row(lake, first(lake))).iter_rows())
    assert facts["Raw log"] == "memory://"
    assert facts["Adapter"] == "tiny, version 1"
    assert facts["Shard"].startswith("shards/tiny/")
    assert "Operator" not in facts


def test_what_is_not_here_is_named(lake):
    other = keys(lake, Filters(source=("other",)))[0]
    assert missing(row(lake, other)).rows() == [
        ("Camera left_wrist", "absent: the log has no such stream"),
        ("Stream depth", "not stored: 20 frames"),
    ]


def test_instructions_say_from_when_to_when(lake):
    assert in_words(instructions(lake, first(lake))).rows() == [("Frames 0 to the end", "put block on plate number 0")]


def test_the_frames_of_an_episode_are_those_that_were_stored(lake):
    found = recorded(lake, row(lake, first(lake)))
    assert found.frames.num_rows == 40
    assert found.embodiment.name == "ur5e"
    assert not [name for name in found.frames.schema.names if name.startswith("padded_")]


def test_a_chunk_stands_over_its_recorded_steps(lake):
    found = recorded(lake, row(lake, first(lake)))
    dims = chunk(predictions(lake, first(lake)), found, checkpoint=CHECKPOINT, start=10)
    assert [one.label for one in dims] == ["shoulder_pan", "elbow", "gripper"]
    assert [one.unit for one in dims] == ["rad", "rad", "1"]
    elbow = numbers(found.frames["action.joint_position"])[:, 2].astype(np.float64)
    np.testing.assert_array_equal(dims[1].recorded_T, elbow)
    assert dims[1].error == pytest.approx(np.abs(elbow[10:18] - 0.5).mean())
