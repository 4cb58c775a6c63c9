"""What becomes of every record of a source: each has one outcome, nothing is written twice, a fault says where."""

import errno
import os
import re
import shutil
import signal
import time
from pathlib import Path

import polars as pl
import pytest

from ingest import job as jobs
from ingest import plan as planning
from ingest import tasks
from ingest.formats import aloha
from ingest.job import Request, ingest
from schema.errors import ConfigError, EpisodeError, RobomixError
from schema.lake import Lake
from tests.ingest.driving import REPO, aloha_source, assert_sound, contents, loose_files
from tests.ingest.faults import reading, replacing
from tests.ingest.inline_ray import inline_ray
from tests.ingest.writers import write_aloha, write_lerobot

pytest_plugins = ["tests.ingest.ray_cluster"]
pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "lake")


@pytest.fixture
def bundles_of_one(monkeypatch):
    """Every record is a bundle of its own."""
    monkeypatch.setattr(planning, "_MIN_BUNDLE_BYTES", 1)
    monkeypatch.setattr(planning, "_BUNDLES_OF_A_SMALL_SOURCE", 10_000)


def take(logs, uri, **words):
    return ingest(Request(uri=str(logs), **words), lake_uri=uri)


def outcomes(report):
    """The outcomes that any record had."""
    assert report.discovered == sum(report.outcomes.values())
    return {outcome: count for outcome, count in report.outcomes.items() if count}


def shard_files(uri):
    lake = Lake.open(uri)
    return sorted(path for path in lake.fs.find(lake.path("shards")))


def no_worker(monkeypatch):
    """From here on, a bundle that is run at all is a failure."""

    def refuse(job, bundle):
        raise AssertionError("a log was read")

    monkeypatch.setattr(jobs, "run_bundle", refuse)


def broken_copy(source, name="episode_1.hdf5"):
    """Cut one file in half."""
    path = source / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return source


# ── accounts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_record_of_a_new_source_is_committed(tmp_path, uri):
    told = []

    report = ingest(
        Request(uri=str(aloha_source(tmp_path / "logs", 3, steps=4))),
        lake_uri=uri,
        progress=lambda done, total: told.append((done, total)),
    )

    assert outcomes(report) == {"committed": 3}
    assert (report.frames, report.source, report.embodiment) == (12, "logs", "bimanual_trossen")
    assert (told[0], told[-1]) == ((0, 3), (3, 3))
    assert_sound(Lake.open(uri))


def test_a_second_run_reads_no_log_and_commits_nothing(tmp_path, uri, monkeypatch):
    source = aloha_source(tmp_path / "logs", 3)
    take(source, uri)
    version, files = Lake.open(uri).version("episodes"), shard_files(uri)
    no_worker(monkeypatch)

    report = take(source, uri)

    assert outcomes(report) == {"duplicate": 3}
    assert report.frames == 0
    assert (Lake.open(uri).version("episodes"), shard_files(uri)) == (version, files)


def test_a_source_that_grew_is_read_for_its_new_records_only(tmp_path, uri, monkeypatch):
    source = aloha_source(tmp_path / "logs", 2)
    take(source, uri)
    aloha_source(source, 1, first=2)

    def fault(read, record):
        assert record.index == 2
        return read()

    monkeypatch.setattr(jobs, "run_bundle", reading(fault))

    assert outcomes(take(source, uri)) == {"committed": 1, "duplicate": 2}


@pytest.mark.parametrize("name", [None, "other_name"])
def test_the_same_logs_at_another_place_or_by_another_name_are_stored_once(tmp_path, uri, name):
    source = aloha_source(tmp_path / "logs", 3)
    take(source, uri)
    before = shard_files(uri)
    place = source if name else shutil.copytree(source, tmp_path / "elsewhere")

    report = take(place, uri, source=name)

    assert outcomes(report) == {"duplicate": 3}
    assert shard_files(uri) == before
    assert_sound(Lake.open(uri))


def test_logs_that_a_source_holds_twice_are_stored_once(tmp_path, uri):
    source = aloha_source(tmp_path / "logs", 2)
    shutil.copy(source / "episode_0.hdf5", source / "episode_7.hdf5")

    first, second = take(source, uri), take(source, uri)

    assert outcomes(first) == {"committed": 2, "duplicate": 1}
    assert outcomes(second) == {"duplicate": 3}
    assert_sound(Lake.open(uri))


@pytest.mark.usefixtures("bundles_of_one")
def test_logs_that_two_bundles_hold_at_once_get_one_row(tmp_path, uri):
    source = aloha_source(tmp_path / "logs", 1)
    for number in range(1, 4):
        shutil.copy(source / "episode_0.hdf5", source / f"episode_{number}.hdf5")

    report = take(source, uri)

    assert outcomes(report) == {"committed": 1, "duplicate": 3}
    assert Lake.open(uri).scan("episodes").collect().height == 1
    assert_sound(Lake.open(uri))


def test_a_newer_adapter_supersedes_by_new_rows(tmp_path, uri, monkeypatch):
    source = aloha_source(tmp_path / "logs", 2)
    take(source, uri)
    old = Lake.open(uri).episodes().collect()
    monkeypatch.setattr(aloha, "VERSION", 1_000)

    report = take(source, uri)

    lake = Lake.open(uri)
    live = lake.episodes().collect()
    assert outcomes(report) == {"superseded": 2}
    assert report.frames == old["num_frames"].sum()
    assert set(live["episode_id"]) == set(old["episode_id"])
    assert set(live["supersedes"]) == set(old["conversion"])
    assert lake.scan("episodes").collect().height == 4
    assert outcomes(take(source, uri)) == {"duplicate": 2}


def test_another_embodiment_table_supersedes(tmp_path, uri):
    source = aloha_source(tmp_path / "logs", 2)
    take(source, uri)
    table = tmp_path / "mine.toml"
    text = (REPO / "schema/embodiments/bimanual_trossen.toml").read_text()
    table.write_text(text.replace("limits = [[0.0, 1.0]]", "limits = [[0.0, 1.1]]"))

    report = take(source, uri, embodiment=str(table))

    assert outcomes(report) == {"superseded": 2}
    live = Lake.open(uri).episodes().collect()
    kept = Lake.open(uri).embodiment(live["embodiment_table"][0])
    assert kept.signal("state.left_gripper").limits == ((0.0, 1.1),)


def test_a_record_that_cannot_be_taken_is_in_quarantine_and_the_others_are_committed(tmp_path, uri, monkeypatch):
    source = broken_copy(aloha_source(tmp_path / "logs", 3))

    first = take(source, uri)
    no_worker(monkeypatch)
    second = take(source, uri)

    assert outcomes(first) == {"committed": 2, "quarantined": 1}
    assert outcomes(second) == {"duplicate": 2, "quarantined": 1}
    assert first.quarantine == second.quarantine == {"unreadable_hdf5": 1}
    row = Lake.open(uri).quarantine().collect().row(0, named=True)
    assert (row["record_index"], row["stage"], row["source"]) == (1, "read", "logs")
    assert row["raw_uri"].endswith("/logs/episode_1.hdf5")


def test_a_limit_is_accounted_for_and_the_rest_is_taken_later(tmp_path, uri):
    source = aloha_source(tmp_path / "logs", 4)

    first, second = take(source, uri, limit=1), take(source, uri)

    assert outcomes(first) == {"committed": 1}
    assert outcomes(second) == {"committed": 3, "duplicate": 1}


def test_a_mended_source_is_taken_at_the_next_run(tmp_path, uri):
    source = write_lerobot(tmp_path / "logs")
    video = next(source.rglob("observation.images.base/episode_000001.mp4"))
    video.rename(tmp_path / "kept.mp4")
    broken = take(source, uri)
    (tmp_path / "kept.mp4").rename(video)

    mended = take(source, uri)

    assert outcomes(broken) == {"committed": 1, "quarantined": 1}
    assert broken.quarantine == {"missing_video": 1}
    assert outcomes(mended) == {"committed": 1, "duplicate": 1}
    assert mended.quarantine == {}


def test_a_mended_record_leaves_quarantine(tmp_path, uri):
    source = write_lerobot(tmp_path / "logs")
    video = next(source.rglob("observation.images.base/episode_000001.mp4"))
    video.rename(tmp_path / "kept.mp4")
    take(source, uri)
    (tmp_path / "kept.mp4").rename(video)

    take(source, uri)

    assert Lake.open(uri).quarantine().collect().height == 0


def test_a_fault_of_the_machine_is_tried_again_by_the_same_command(tmp_path, uri, monkeypatch):
    source = aloha_source(tmp_path / "logs", 3)

    def fault(read, record):
        if record.index == 1:
            raise PermissionError(errno.EACCES, "Permission denied", record.files[0])
        return read()

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run_bundle", reading(fault))
        failed, again = take(source, uri), take(source, uri)
    mended = take(source, uri)

    assert outcomes(failed) == {"committed": 2, "quarantined": 1}
    assert failed.quarantine == {"unexpected_permissionerror": 1}
    assert outcomes(again) == {"duplicate": 2, "quarantined": 1}
    assert outcomes(mended) == {"committed": 1, "duplicate": 2}
    assert Lake.open(uri).quarantine().collect().height == 0


def test_a_retry_reads_the_records_of_its_reason_only_and_its_account_closes(tmp_path, uri, monkeypatch):
    source = broken_copy(aloha_source(tmp_path / "logs", 4))

    def fault(read, record):
        if record.index == 2:
            raise EpisodeError("decode_error", "a decoder of another version")
        return read()

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run_bundle", reading(fault))
        first = take(source, uri, limit=3)

    def only_the_third(read, record):
        assert record.index == 2
        return read()

    monkeypatch.setattr(jobs, "run_bundle", reading(only_the_third))
    retried = take(source, uri, retry="decode_error")

    assert outcomes(first) == {"committed": 1, "quarantined": 2}
    assert outcomes(retried) == {"committed": 1}
    assert retried.notes[-1] == "--retry decode_error: 3 other records of the source were left alone"
    assert set(Lake.open(uri).quarantine().collect()["reason"]) == {"unreadable_hdf5"}


def test_a_retry_takes_a_record_whose_file_was_mended_since(tmp_path, uri):
    source = broken_copy(aloha_source(tmp_path / "logs", 3))
    take(source, uri)
    broken = Lake.open(uri).quarantine().collect().row(0, named=True)
    write_aloha(Path(broken["raw_uri"].removeprefix("file://")), number=77, steps=2)

    retried = take(source, uri, retry="unreadable_hdf5")

    assert outcomes(retried) == {"committed": 1}
    assert Lake.open(uri).quarantine().collect().height == 0
    with pytest.raises(
        ConfigError, match=r"no record of this source is in quarantine for 'unreadable_hdf5'.*it holds nothing"
    ):
        take(source, uri, retry="unreadable_hdf5")


def test_a_retry_that_fails_again_is_quarantined_again_and_may_be_tried_again(tmp_path, uri):
    source = broken_copy(aloha_source(tmp_path / "logs", 3))
    take(source, uri)

    first, second = take(source, uri, retry="unreadable_hdf5"), take(source, uri, retry="unreadable_hdf5")

    assert outcomes(first) == outcomes(second) == {"quarantined": 1}
    assert first.ingest_run != second.ingest_run
    assert Lake.open(uri).quarantine().collect().height == 1


def test_a_retry_of_a_reason_that_nothing_has_lists_the_reasons(tmp_path, uri):
    source = broken_copy(aloha_source(tmp_path / "logs", 3))
    take(source, uri)

    with pytest.raises(ConfigError, match=r"quarantine for 'decode_eror'.*it holds 1 × unreadable_hdf5"):
        take(source, uri, retry="decode_eror")


@pytest.mark.usefixtures("bundles_of_one")
def test_lakes_of_any_bundles_workers_and_order_hold_the_same_episodes_and_bytes(tmp_path, monkeypatch):
    source = broken_copy(aloha_source(tmp_path / "logs", 6))
    many = take(source, str(tmp_path / "many"))
    monkeypatch.undo()

    monkeypatch.setattr(tasks, "ray", inline_ray())
    monkeypatch.setattr(jobs, "start_ray", lambda *_: None)
    monkeypatch.setattr(tasks, "num_cpus", lambda: 1)
    few = take(source, str(tmp_path / "few"))

    shards = [
        Lake.open(str(tmp_path / name)).scan("episodes").collect()["shard"].n_unique() for name in ("many", "few")
    ]
    assert shards == [5, 1]
    assert many.outcomes == few.outcomes
    assert contents(Lake.open(str(tmp_path / "many"))) == contents(Lake.open(str(tmp_path / "few")))


# ── faults ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bug_stops_the_job_names_its_record_and_commits_nothing(tmp_path, uri, monkeypatch):
    source = aloha_source(tmp_path / "logs", 3)

    def fault(read, record):
        return read() if record.index != 1 else len(record.index)

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run_bundle", reading(fault))
        with pytest.raises(TypeError, match="has no len") as caught:
            take(source, uri)

    notes = "\n".join(caught.value.__notes__)
    assert "while at stage 'read' of record 1 (episode_1.hdf5)" in notes
    assert "in fault" in notes  # the worker's own traceback
    assert Lake.open(uri).scan("episodes").collect().height == 0
    assert outcomes(take(source, uri)) == {"committed": 3}


@pytest.mark.parametrize("end", [lambda: os._exit(1), lambda: os.kill(os.getpid(), signal.SIGKILL)])
def test_a_bundle_whose_worker_dies_is_tried_again(tmp_path, uri, monkeypatch, end):
    source = aloha_source(tmp_path / "logs", 3)
    once = tmp_path / "died"

    def fault(read, record):
        if record.index == 1 and not once.exists():
            once.touch()
            end()
        return read()

    monkeypatch.setattr(jobs, "run_bundle", reading(fault))

    assert outcomes(take(source, uri)) == {"committed": 3}
    assert once.exists()
    assert_sound(Lake.open(uri))


@pytest.mark.slow
def test_the_record_that_no_worker_survives_is_in_quarantine_and_the_others_are_committed(tmp_path, uri, monkeypatch):
    source = aloha_source(tmp_path / "logs", 4)

    def fault(read, record):
        if record.index == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        return read()

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run_bundle", reading(fault))
        report = take(source, uri)
    calm = take(source, str(tmp_path / "calm"))

    lake = Lake.open(uri)
    row = lake.quarantine().collect().row(0, named=True)
    assert outcomes(report) == {"committed": 3, "quarantined": 1}
    assert (report.quarantine, row["record_index"]) == ({"crashed": 1}, 2)
    assert re.search(r"no worker survived record 2 \(\w+Error\), tried 3 times.*--retry crashed", row["message"])
    expected = contents(Lake.open(str(tmp_path / "calm")))
    assert outcomes(calm) == {"committed": 4}
    assert contents(lake).items() < expected.items()
    assert outcomes(take(source, uri)) == {"duplicate": 3, "quarantined": 1}
    assert outcomes(take(source, uri, retry="crashed")) == {"committed": 1}
    assert contents(lake) == expected


@pytest.mark.usefixtures("bundles_of_one")
def test_workers_that_survive_nothing_stop_the_job(tmp_path, uri, monkeypatch):
    source = aloha_source(tmp_path / "logs", 3)
    monkeypatch.setattr(tasks, "MOST_IN_A_ROW", 2)
    monkeypatch.setattr(tasks, "TRIES_OF_ONE", 1)

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run_bundle", reading(lambda read, record: os._exit(1)))
        with pytest.raises(RobomixError, match=r"no worker survived any of 2 records in a row .*episode_\d\.hdf5") as e:
            take(source, uri)

    assert not getattr(e.value, "__notes__", [])
    assert outcomes(take(source, uri)) == {"committed": 3}


def test_a_full_disk_stops_the_job_and_puts_nothing_in_quarantine(tmp_path, uri, monkeypatch):
    source = aloha_source(tmp_path / "logs", 2)

    def no_room(_):
        def add(self, episode):
            raise OSError(errno.ENOSPC, "No space left on device")

        return add

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run_bundle", replacing("ShardWriter", "add", no_room))
        with pytest.raises(RobomixError, match=r"cannot write a shard .*No space left.*free some or set TMPDIR"):
            take(source, uri)

    assert Lake.open(uri).quarantine().collect().height == 0
    assert outcomes(take(source, uri)) == {"committed": 2}


def test_a_shard_that_a_killed_run_left_is_young_again_when_its_rows_are_committed(tmp_path, uri, monkeypatch):
    source = aloha_source(tmp_path / "logs", 2)

    def killed(lake, bundles):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            take(source, uri)
    left = shard_files(uri)
    for path in left:
        os.utime(path, (1, 1))

    take(source, uri)

    assert len(left) == 3
    assert shard_files(uri) == left
    assert all(time.time() - Path(path).stat().st_mtime < 3600 for path in left)
    assert loose_files(Lake.open(uri)) == []


def test_a_cluster_that_is_not_there_is_one_clear_message(monkeypatch):
    def nobody(**_):
        raise ConnectionError("Failed to connect to Ray cluster at 127.0.0.1:1")

    monkeypatch.setattr(tasks.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(tasks.ray, "init", nobody)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")

    with pytest.raises(
        ConfigError, match=r"cannot join the Ray cluster of RAY_ADDRESS='127\.0\.0\.1:1': Failed to connect"
    ):
        jobs.start_ray()


def test_a_cluster_of_this_machines_own_that_does_not_come_up_is_one_clear_message(monkeypatch):
    def slow(**_):
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(tasks.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(tasks.ray, "init", slow)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    with pytest.raises(RobomixError, match=r"Ray did not start on this machine: The current node timed out"):
        jobs.start_ray()


def test_annotations_of_a_source_are_held_once_each(tmp_path, uri):
    source = aloha_source(tmp_path / "logs", 3)
    take(source, uri, limit=2)
    take(source, uri)

    texts = Lake.open(uri).annotations().collect()

    assert texts.height == texts["episode_id"].n_unique() == 3
    assert texts.select(pl.col("text").unique()).to_series().to_list() == ["push block"]
