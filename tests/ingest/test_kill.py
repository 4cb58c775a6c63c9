"""An ingest killed at any moment leaves a lake that opens, and the same command again ends as if nothing had been."""

import os
import random
import signal
import threading
import time
from datetime import timedelta

import pytest

from ingest import job as jobs
from ingest import plan as planning
from ingest.job import Request, ingest
from schema import commit as commits
from schema.gc import find_garbage, remove
from schema.lake import Lake
from tests.ingest.driving import aloha_source, assert_sound, closes, contents, ended, run, start
from tests.ingest.faults import reading, replacing

pytest_plugins = ["tests.ingest.ray_cluster"]

KILLS = 20
EPISODES = 48


def broken(source):
    """The source with one record that cannot be taken."""
    path = source / "episode_3.hdf5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return source


def sweep(lake):
    """What `robomix lake gc --older-than-hours 0` does."""
    remove(lake, find_garbage(lake, older_than=timedelta(0)))


def num_files(folder):
    return sum(len(files) for _, _, files in os.walk(folder))


def wait_for_work(lake, driver):
    """Wait until a driver has written something, or has ended."""
    before = num_files(lake)
    while num_files(lake) <= before and driver.poll() is None:
        time.sleep(0.005)


def kill_once(number, words, lake, *, cluster, delay_s):
    """Start a driver and kill it so long after it was started, or after it began its work.

    The work is Ray's workers' or the driver's own, which is killed in the midst of a file.
    """
    kind = ("start", "alone", "ray", "alone", "start")[number % 5]
    driver = start([*words, str(lake)], cluster, driver="alone" if kind == "alone" else "ray")
    if kind == "start":
        time.sleep(2 * delay_s)
    else:
        wait_for_work(lake, driver)
        time.sleep(delay_s)
    driver.kill()
    ended(driver)


@pytest.mark.slow
def test_twenty_kills_in_a_row_leave_the_lake_of_an_undisturbed_run(cluster, tmp_path):
    source = broken(aloha_source(tmp_path / "logs", EPISODES))
    words = ["ingest", str(source), "--json", "--lake"]
    began = time.monotonic()
    undisturbed = run([*words, str(tmp_path / "calm")], cluster, driver="alone")
    longest_s = (time.monotonic() - began) / 5
    folder, moments = tmp_path / "killed", random.Random(7)

    done = []
    for number in range(KILLS):
        kill_once(number, words, folder, cluster=cluster, delay_s=moments.uniform(0, longest_s))
        done.append(Lake(str(folder)).scan("episodes").collect().height)
    last = run([*words, str(folder)], cluster, driver="ray")

    calm, killed = Lake.open(str(tmp_path / "calm")), Lake.open(str(folder))
    sweep(killed)
    assert (undisturbed.code, last.code) == (3, 3), undisturbed.err + last.err
    assert closes(last.account)
    assert last.account["quarantined"] == 1
    assert contents(killed) == contents(calm)
    assert killed.scan("episodes").collect().height == EPISODES - 1
    assert killed.quarantine().collect().height == calm.quarantine().collect().height == 1
    assert killed.annotations().collect().height == EPISODES - 1
    assert_sound(killed)
    assert len(set(done)) >= 4, f"the kills missed the work: {done}"


@pytest.mark.slow
def test_workers_killed_at_random_are_replaced(cluster, tmp_path, monkeypatch):
    source = broken(aloha_source(tmp_path / "logs", 24))
    monkeypatch.setattr(planning, "_MIN_BUNDLE_BYTES", 1)
    monkeypatch.setattr(planning, "_BUNDLES_OF_A_SMALL_SOURCE", 10_000)
    calm = ingest(Request(uri=str(source)), lake_uri=str(tmp_path / "calm"))
    pids = tmp_path / "pids"
    pids.mkdir()

    def slow(read, record):
        (pids / str(os.getpid())).touch()
        time.sleep(0.05)
        return read()

    killed = []

    def kill_some():
        moments = random.Random(3)
        while len(killed) < 3:
            time.sleep(moments.uniform(0.1, 0.5))
            living = [int(path.name) for path in pids.iterdir() if int(path.name) not in killed]
            if living:
                killed.append(moments.choice(sorted(living)))
                os.kill(killed[-1], signal.SIGKILL)

    monkeypatch.setattr(jobs, "run_bundle", reading(slow))
    thread = threading.Thread(target=kill_some)
    thread.start()
    report = ingest(Request(uri=str(source)), lake_uri=str(tmp_path / "lake"))
    thread.join()

    lake = Lake.open(str(tmp_path / "lake"))
    sweep(lake)
    assert len(killed) == 3
    assert report.outcomes == calm.outcomes
    assert contents(lake) == contents(Lake.open(str(tmp_path / "calm")))
    assert_sound(lake)


class Crash(BaseException):
    """The driver's death, as far as one process can play it."""


def crash(*_, **__):
    raise Crash


def after(real):
    """The real thing, and then the crash."""

    def run(*args, **words):
        real(*args, **words)
        raise Crash

    return run


def never_uploads(real):
    def upload(self, local, file, **how):
        raise RuntimeError("the network is gone")

    return upload


def uploads_the_parquet_only(real):
    def upload(self, local, file, **how):
        if file.endswith(".tar"):
            raise RuntimeError("the network is gone")
        real(self, local, file, **how)

    return upload


def half_a_table(name):
    """`_append` that dies before the named table, the others being committed."""
    real = commits._append

    def append(lake, table, bundles):
        if table == name:
            raise Crash
        real(lake, table, bundles)

    return append


CRASHES = {
    "before the plan": lambda: (jobs, "make_plan", crash),
    "after the plan": lambda: (jobs, "make_plan", after(planning.make_plan)),
    "before the upload": lambda: (jobs, "run_bundle", replacing("Lake", "upload", never_uploads)),
    "between Parquet and tar": lambda: (jobs, "run_bundle", replacing("Lake", "upload", uploads_the_parquet_only)),
    "before the commit": lambda: (jobs, "commit", crash),
    "between quarantine and annotations": lambda: (commits, "_append", half_a_table("annotations")),
    "between annotations and episodes": lambda: (commits, "_append_episodes", crash),
    "after the commit": lambda: (jobs, "commit", after(commits.commit)),
    "before the compaction": lambda: (jobs, "compact", crash),
    "in the account": lambda: (jobs, "_account", crash),
}


@pytest.fixture(scope="module")
def calm(cluster, tmp_path_factory):
    """A source and what an undisturbed run makes of it."""
    folder = tmp_path_factory.mktemp("calm")
    source = broken(aloha_source(folder / "logs", 5))
    report = ingest(Request(uri=str(source)), lake_uri=str(folder / "lake"))
    return source, report, contents(Lake.open(str(folder / "lake")))


@pytest.mark.parametrize("stage", CRASHES)
def test_a_driver_that_dies_at_any_stage_leaves_what_the_next_one_completes(stage, calm, tmp_path, monkeypatch):
    source, undisturbed, expected = calm
    request, uri = Request(uri=str(source)), str(tmp_path / "lake")
    with monkeypatch.context() as patch:
        patch.setattr(*CRASHES[stage]())
        with pytest.raises((Crash, RuntimeError)):
            ingest(request, lake_uri=uri)

    ingest(request, lake_uri=uri)
    again = ingest(request, lake_uri=uri)

    lake = Lake.open(uri)
    sweep(lake)
    assert again.outcomes == {"committed": 0, "duplicate": 4, "superseded": 0, "quarantined": 1}
    assert contents(lake) == expected
    assert lake.annotations().collect().height == 4
    assert lake.quarantine().collect().height == 1
    assert again.quarantine == undisturbed.quarantine
    assert_sound(lake)
