"""What a lake holds, counted."""

import json
from dataclasses import asdict

import pytest

from schema.commit import Bundle, commit
from schema.info import info
from tests.lakes import catalogue_row, make_lake, quarantine_row


def test_an_empty_lake_holds_nothing(lake):
    found = info(lake)
    assert (found.lake, found.version, found.components, found.quarantine) == (lake.uri, 0, (), ())


def test_episodes_are_counted_by_source_embodiment_and_task(tmp_path):
    lake = make_lake(tmp_path, num_episodes=2, num_frames=5)
    found = info(lake)
    assert [(part["source"], part["embodiment"], part["task"]) for part in found.components] == [
        ("tiny", robot, task) for robot in ("bimanual_trossen", "ur5e") for task in ("push block", "put block on plate")
    ]
    assert {(part["episodes"], part["frames"]) for part in found.components} == {(2, 10)}
    assert found.components[0]["hours"] == pytest.approx(2 * 4 / 50 / 3600)
    assert found.components[0]["cameras"] == "base left_wrist right_wrist"
    assert found.version == 1


def test_only_the_live_conversion_counts(local_lake):
    commit(local_lake, [Bundle(bundle_id="b1", episodes=(catalogue_row("e1"), catalogue_row("e2")))])
    commit(local_lake, [Bundle(bundle_id="b2", episodes=(catalogue_row("e1", conversion="c2"),))])
    assert [part["episodes"] for part in info(local_lake).components] == [2]


def test_quarantine_is_counted_by_reason(local_lake):
    rows = [quarantine_row(name) for name in ("q1", "q2")] + [quarantine_row("q3", reason="crc_mismatch")]
    commit(local_lake, [Bundle(bundle_id="b1", episodes=(), quarantine=tuple(rows))])
    assert [(part["reason"], part["records"]) for part in info(local_lake).quarantine] == [
        ("bad_jpeg", 2),
        ("crc_mismatch", 1),
    ]


def test_the_answer_can_be_said_in_json(tmp_path):
    found = info(make_lake(tmp_path, num_episodes=1, num_frames=2))
    assert json.loads(json.dumps(asdict(found)))["lake"] == found.lake
