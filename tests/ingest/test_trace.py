"""From a sample back to its raw log: what is printed, the log's frame beside the stored one, logs that are gone."""

import shutil

import numpy as np
import pytest
from PIL import Image

from ingest import job as jobs
from ingest.formats import aloha
from ingest.job import Request, ingest
from ingest.trace import trace
from schema.errors import ConfigError
from schema.lake import Lake
from tests.ingest.driving import aloha_source
from tests.ingest.ros_writers import ur5e, ur5e_log, write_mcap
from tests.ingest.writers import picture, rlds_episode, write_lerobot, write_rlds

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def lake(tmp_path):
    """A lake of two ALOHA episodes of four frames."""
    return ingested(aloha_source(tmp_path / "logs", 2, steps=4), tmp_path)


def ingested(logs, tmp_path):
    ingest(Request(uri=str(logs)), lake_uri=str(tmp_path / "lake"))
    return Lake.open(str(tmp_path / "lake"))


def episodes(lake):
    return lake.episodes().collect().sort("record_index")["episode_id"].to_list()


def test_a_sample_leads_back_to_file_record_adapter_run_and_shard(lake):
    row = lake.episodes().collect().sort("record_index").row(1, named=True)

    said = "\n".join(trace(lake, f"{row['episode_id']}-000002.base.jpg").lines())

    assert f"episode {row['episode_id']}, frame 2 of 4" in said
    assert "/logs/episode_1.hdf5, record 1" in said
    assert f"aloha version {aloha.VERSION}, conversion {row['conversion']}" in said
    assert row["ingest_run"] in said
    assert row["shard"] in said
    assert "largest error 0, 0 of 12 pictures untouched" in said
    assert "3 of 3 pictures are the stored ones byte for byte" in said
    assert "all values are the stored ones" in said


def test_a_record_inside_a_file_is_told_by_its_bytes(tmp_path):
    write_rlds(tmp_path / "logs", [rlds_episode(number) for number in range(3)])
    lake = ingested(tmp_path / "logs", tmp_path)
    row = lake.episodes().collect().sort("record_index").row(2, named=True)

    said = "\n".join(trace(lake, row["episode_id"]).lines())

    assert f"record 2, bytes {row['byte_start']} to {row['byte_stop']}" in said
    assert "1 of 1 pictures are the stored ones byte for byte" in said


def test_the_frame_of_a_video_is_found_again(tmp_path):
    lake = ingested(write_lerobot(tmp_path / "logs"), tmp_path)

    found = trace(lake, f"{episodes(lake)[1]}-000003")

    said = "\n".join(found.lines())
    assert "raw log      at episode 1, episode_index 1, length 6" in said
    assert "/logs/videos/chunk-000/observation.images.base/episode_000001.mp4" in said
    expected = picture(1 + 3)
    assert np.abs(found.raw["base"].astype(int) - expected).mean() < 8


def test_the_times_of_what_a_frame_is_made_of_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "find_embodiment", lambda *_: ur5e())
    write_mcap(tmp_path / "logs/a.mcap", ur5e_log())
    lake = ingested(tmp_path / "logs", tmp_path)

    found = trace(lake, f"{episodes(lake)[0]}-000001")

    assert found.times == (
        "0.0500 s, made of what was taken at: base 0.0390 s, action.gripper 0.0010 s, "
        "state.gripper -0.0580 s, state.joint_position 0.0370 s"
    )


def test_the_logs_frame_stands_beside_the_stored_one(lake, tmp_path):
    found = trace(lake, f"{episodes(lake)[0]}-000001")
    found.save(tmp_path / "frame.png")

    assert np.array_equal(found.raw["base"], picture(1))
    with Image.open(tmp_path / "frame.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.size == (2 * (160 + 8), 3 * (32 + 14 + 8))
        raw, stored = (np.asarray(sheet)[14 : 14 + 32, left : left + 48].astype(int) for left in (0, 168))
    assert np.array_equal(raw, picture(1))
    assert np.abs(raw - stored).mean() < 8


def test_a_log_that_is_gone_is_noted_and_the_stored_frame_is_shown(lake, tmp_path):
    shutil.rmtree(tmp_path / "logs")

    found = trace(lake, episodes(lake)[0])
    found.save(tmp_path / "frame.png")

    assert found.raw == {}
    assert sorted(found.stored) == ["base", "left_wrist", "right_wrist"]
    assert found.notes[0].startswith("the raw log cannot be read again: found nothing at")
    with Image.open(tmp_path / "frame.png") as sheet:
        assert np.asarray(sheet)[14 : 14 + 32, :160].min() == 255


def test_a_log_that_was_changed_is_noted(lake, tmp_path):
    shutil.copy(tmp_path / "logs/episode_1.hdf5", tmp_path / "logs/episode_0.hdf5")

    notes = trace(lake, episodes(lake)[0]).notes

    assert notes[0].startswith("the log was changed: the record's digest is ")
    assert any("0 of 3 pictures are the stored ones" in note for note in notes)


def test_an_older_adapters_row_says_so(lake, monkeypatch):
    monkeypatch.setattr(aloha, "VERSION", 1_000)

    assert trace(lake, episodes(lake)[0]).notes[0] == "the adapter is version 1000 by now"


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ("push block", "'push block' is no sample: expected an episode id"),
        ("0" * 32, "no episode 000"),
        ("{episode}-000009", "has frames 0 to 3, asked for 9"),
    ],
)
def test_a_sample_that_is_not_there_is_one_message(lake, sample, said):
    with pytest.raises(ConfigError, match=said):
        trace(lake, sample.format(episode=episodes(lake)[0]))


def test_a_trace_reads_and_writes_nothing_of_the_lake(lake, monkeypatch):
    monkeypatch.setattr(jobs, "commit", None)
    before = sorted(lake.fs.find(lake.root))

    trace(lake, episodes(lake)[0])

    assert sorted(lake.fs.find(lake.root)) == before
