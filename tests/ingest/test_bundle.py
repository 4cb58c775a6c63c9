"""One bundle of records becomes one shard and the rows to commit; nothing is committed here, nothing is left over."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import pytest

from ingest import bundle as bundles
from ingest.bundle import Job, run_bundle, sweep_spools
from ingest.formats import aloha
from ingest.job import Request, prepare
from ingest.plan import make_plan
from schema.commit import commit
from schema.errors import EpisodeError
from schema.lake import Lake
from tests.ingest.driving import aloha_source


@pytest.fixture(autouse=True)
def spools(tmp_path, monkeypatch):
    """Where this test's workers spool."""
    folder = tmp_path / "spools"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def planned(tmp_path):
    """A job and its one bundle of three records, of which the second is cut in half."""
    source = aloha_source(tmp_path / "logs", 3)
    broken = source / "episode_1.hdf5"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    lake = Lake.open_or_create(str(tmp_path / "lake"))
    found = prepare(Request(uri=str(source)))
    plan = make_plan(lake, found.location, found.discovery, source=found.source, conversion=found.conversion)
    job = Job(
        lake_uri=lake.uri,
        location=found.location,
        source=found.source,
        format="aloha",
        embodiment=found.embodiment,
        conversion=found.conversion,
        settings=found.request.settings,
        ingest_run=plan.plan_id,
    )
    (bundle,) = plan.bundles
    return lake, job, bundle


def files_of(lake):
    return sorted(path.removeprefix(lake.path("")) for path in lake.fs.find(lake.path("shards")))


def test_each_record_gives_an_episode_row_or_a_quarantine_row(planned):
    lake, job, bundle = planned

    done = run_bundle(job, bundle)

    (shard,) = {row["shard"] for row in done.episodes}
    assert [row["source_key"] for row in done.episodes] == [bundle.source_keys[0], bundle.source_keys[2]]
    assert [row["source_key"] for row in done.quarantine] == [bundle.source_keys[1]]
    assert files_of(lake) == [f"{shard}.parquet", f"{shard}.receipt.json", f"{shard}.tar"]
    assert lake.scan("episodes").collect().height == 0


def test_the_same_bundle_gives_the_same_rows_and_files_again(planned):
    lake, job, bundle = planned
    first, files = run_bundle(job, bundle), files_of(lake)

    again = run_bundle(job, bundle)

    assert again == first
    assert files_of(lake) == files


def test_a_quarantine_row_says_what_where_and_why(planned):
    _, job, bundle = planned

    (row,) = run_bundle(job, bundle).quarantine

    assert (row["reason"], row["stage"], row["record_index"]) == ("unreadable_hdf5", "read", 1)
    assert row["error_type"] == "EpisodeError"
    assert row["raw_uri"].endswith("/logs/episode_1.hdf5")
    assert "fetch again" in row["message"]
    assert "Traceback" in row["traceback"]


def test_faults_of_the_same_place_in_the_code_share_a_fingerprint(planned, monkeypatch):
    _, job, bundle = planned

    def fault(location, record):
        raise ValueError(f"record {record.index}")

    monkeypatch.setattr(aloha, "read", fault)
    rows = run_bundle(job, bundle).quarantine

    assert {row["reason"] for row in rows} == {"unexpected_valueerror"}
    assert len({row["message"] for row in rows}) == 3
    assert len({row["fingerprint"] for row in rows}) == 1


def test_a_bundle_without_a_good_record_makes_no_files(planned, monkeypatch):
    lake, job, bundle = planned
    monkeypatch.setattr(aloha, "read", lambda *_: 1 / 0)

    done = run_bundle(job, bundle)

    assert done.episodes == ()
    assert len(done.quarantine) == 3
    assert not lake.exists("shards")


def test_a_record_that_asks_for_more_memory_than_there_is_is_in_quarantine(planned, monkeypatch):
    _, job, bundle = planned
    real = aloha.read

    def fault(location, record):
        if record.index == 0:
            raise MemoryError
        return real(location, record)

    monkeypatch.setattr(aloha, "read", fault)
    done = run_bundle(job, bundle)

    assert [row["reason"] for row in done.quarantine] == ["unexpected_memoryerror", "unreadable_hdf5"]
    assert len(done.episodes) == 1


@pytest.mark.parametrize("error", [TypeError, KeyError, AssertionError])
def test_a_bug_names_its_record_and_leaves_no_spool(planned, monkeypatch, spools, error):
    lake, job, bundle = planned

    def fault(location, record):
        raise error("oh")

    monkeypatch.setattr(aloha, "read", fault)
    with pytest.raises(error) as caught:
        run_bundle(job, bundle)

    assert caught.value.__notes__ == ["while at stage 'read' of record 0 (episode_0.hdf5)"]
    assert list(spools.iterdir()) == []
    assert not lake.exists("shards")


def test_a_worker_that_finishes_leaves_no_spool(planned, spools):
    _, job, bundle = planned

    run_bundle(job, bundle)

    assert list(spools.iterdir()) == []


def test_spools_of_dead_processes_are_swept_and_those_of_living_ones_are_not(spools):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine, other = spools / f"{bundles._SPOOL}{os.getpid()}-a", spools / f"{bundles._SPOOL}{dead.pid}-b"
    for folder in (mine, other):
        folder.mkdir()
        (folder / "shard.tar").write_bytes(b"half")

    sweep_spools()

    assert [path.name for path in Path(spools).iterdir()] == [mine.name]


def test_what_a_log_brings_that_is_no_text_is_spelled_out_in_its_quarantine_row(planned, monkeypatch):
    _, job, bundle = planned

    def fault(location, record):
        raise EpisodeError("bad_metadata", "a codec called '\ud800'")

    monkeypatch.setattr(aloha, "read", fault)
    rows = run_bundle(job, bundle).quarantine

    assert {row["message"] for row in rows} == {r"a codec called '\ud800'"}
    assert all(row["traceback"].encode("utf-8") for row in rows)


def test_what_a_log_brings_that_is_no_text_is_spelled_out_in_its_episodes(planned):
    lake, job, bundle = planned
    for path in sorted(Path(job.location.uri.removeprefix("file://")).glob("*.hdf5")):
        if path.stem != "episode_1":
            with h5py.File(path, "a") as file:
                file.attrs.update(dict.fromkeys(("task", "language", "recorded_in", "license"), b"caf\xe9"))

    done = run_bundle(job, bundle)
    commit(lake, [done])

    rows = lake.episodes().collect().rows(named=True)
    assert [row["task"] for row in rows] == [r"caf\udce9"] * 2
    assert all(r"recorded_in: caf\udce9" in row["notes"] for row in rows)
