"""A dataset of Open X-Embodiment by the command's own path: recognised by its name, doubted aloud, accounted for."""

from pathlib import Path

import pytest

from ingest.job import Request, ingest
from ingest.oxe.table import entries
from ingest.report import dry_run_report
from schema.lake import Lake
from schema.verify import verify
from tests.ingest.oxe_writer import cameras_of, fields_of, write_dataset

pytestmark = pytest.mark.usefixtures("alone")


def dataset(folder: Path, name: str, **options) -> str:
    entry = entries()[name]
    return str(write_dataset(folder, name, fields=fields_of(entry), cameras=cameras_of(entry), **options))


def test_a_dataset_is_ingested_by_its_name_alone(tmp_path):
    report = ingest(Request(uri=dataset(tmp_path, "jaco_play")), lake_uri=str(tmp_path / "lake"))

    lake = Lake.open(str(tmp_path / "lake"))
    (row,) = lake.episodes().collect().iter_rows(named=True)
    assert (report.source, report.embodiment, report.outcomes["committed"]) == ("jaco_play", "jaco_2", 1)
    assert (row["embodiment"], row["rate_hz"], row["licence"]) == ("jaco_2", pytest.approx(10), "CC-BY-4.0")
    assert row["cameras"] == ["base", "left_wrist"]
    assert lake.embodiment(row["embodiment_table"]).default_action_space == "eef_translation_quaternion"
    assert verify(lake).problems == ()


def test_an_episode_that_failed_is_in_quarantine_with_its_reason(tmp_path):
    uri = dataset(tmp_path, "kuka", context={"success": False})

    report = ingest(Request(uri=uri), lake_uri=str(tmp_path / "lake"))

    assert (report.discovered, report.outcomes["quarantined"]) == (1, 1)
    assert report.quarantine == {"not_successful": 1}


def test_a_dry_run_tells_rules_and_doubts(tmp_path):
    uri = dataset(tmp_path, "berkeley_fanuc_manipulation")

    lines = list(dry_run_report(Request(uri=uri), lake_uri=None))

    assert "embodiment fanuc_mate: FANUC LR Mate 200iD, 10 Hz" in lines
    assert "rule: red and blue are exchanged in the pictures of base, left_wrist" in lines
    assert [line for line in lines if line.startswith("doubt: ")] == [
        f"doubt: {doubt}" for doubt in entries()["berkeley_fanuc_manipulation"].doubt
    ]
