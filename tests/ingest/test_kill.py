"""An ingest killed at any moment leaves a lake that opens, and the same command again ends as if nothing had been."""

import os
import random
import signal
import time
from collections import Counter
from datetime import timedelta

import pytest

from ingest import job as jobs
from ingest import plan as planning
from ingest.job import Request, ingest
from schema import commit as commits
from schema.gc import find_garbage, remove
from schema.lake import Lake
from tests.ingest.driving import aloha_source, assert_sound, closes, contents, ended, run, start
from tests.ingest.faults import replacing

pytest_plugins = ["tests.ingest.ray_cluster"]

KILLS = int(os.environ.get("ROBOMIX_KILLS", "2"))
"""Of each lake, local and on S3. `ROBOMIX_KILLS=30 ./run test tests/ingest/test_kill.py` for a thorough run."""
EPISODES = 12 + 6 * KILLS


def broken(source):
    """The source with one record that cannot be taken."""
    path = source / "episode_3.hdf5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return source


def sweep(lake):
    """What `robomix lake gc --older-than-hours 0` does."""
    remove(lake, find_garbage(lake, older_than=timedelta(0)))


# ── killed processes ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def undisturbed(cluster, tmp_path_factory):
    """A source of one broken record among many, the account of a run that nobody killed, and what its lake holds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    source = broken(aloha_source(folder / "logs", EPISODES))
    finished = run(["ingest", str(source), "--json", "--lake", str(folder / "lake")], cluster, driver="alone")
    return source, finished, Lake.open(str(folder / "lake"))


def at_work(folder, driver):
    """Process ids of those that do a bundle, waited for until there is one; none where the driver has ended."""
    while driver.poll() is None:
        if pids := sorted(int(path.name) for path in folder.iterdir()):
            return pids
        time.sleep(0.002)
    return []


def kill_in_one_life(words, cluster, *, folder, moments, most):
    """Start a driver, kill workers of it while they work, and then itself; how many of each were killed.

    At most two workers, since a record that three have died of is the log's fault. A driver dies before it has begun,
    or some time after; without Ray it dies in the midst of a bundle that it does itself.
    """
    folder.mkdir()
    kind = moments.choice(["ray", "ray", "alone"])
    driver = start(words, cluster, driver=f"{kind}, watched", AT_WORK=str(folder))
    killed = Counter()
    try:
        if moments.random() < 0.25:
            time.sleep(moments.uniform(0, 2))
        else:
            workers = min(moments.randint(0, 2), most - 1) if kind == "ray" else 0
            while killed["workers"] < workers and at_work(folder, driver):
                time.sleep(moments.uniform(0, 0.3))
                if pids := at_work(folder, driver):
                    os.kill(pid := moments.choice(pids), signal.SIGKILL)
                    (folder / str(pid)).unlink(missing_ok=True)
                    killed["workers"] += 1
            at_work(folder, driver)
            time.sleep(moments.choice([moments.uniform(0, 1), moments.uniform(1, 6)]))
        killed["drivers"] += driver.poll() is None
    finally:
        driver.kill()
        ended(driver)
    return killed


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * KILLS)
@pytest.mark.parametrize("place", ["local", "s3"])
def test_random_kills_of_drivers_and_workers_leave_the_lake_of_an_undisturbed_run(
    place, undisturbed, cluster, tmp_path, request
):
    source, calmly, calm = undisturbed
    uri = request.getfixturevalue("s3_lake_uri") if place == "s3" else str(tmp_path / "lake")
    words = ["ingest", str(source), "--json", "--lake", uri]
    moments = random.Random(f"{place} {KILLS}")

    killed, done = Counter(), []
    while killed.total() < KILLS:
        folder = tmp_path / f"life_{len(done)}"
        killed += kill_in_one_life(words, cluster, folder=folder, moments=moments, most=KILLS - killed.total())
        done.append(Lake(uri).scan("episodes").collect().height)
        assert len(done) <= 2 * KILLS, f"the kills come too late: {killed} while there were {done} episodes"
    last = run(words, cluster, driver="ray, watched", AT_WORK=str(folder))

    lake = Lake.open(uri)
    sweep(lake)
    print(f"{place}: killed {dict(killed)}; episodes in the lake after each driver: {done}")
    assert (calmly.code, last.code) == (3, 3), calmly.err + last.err
    assert closes(last.account)
    assert last.account["quarantined"] == 1
    assert contents(lake) == contents(calm)
    assert lake.scan("episodes").collect().height == EPISODES - 1
    assert lake.quarantine().collect().height == calm.quarantine().collect().height == 1
    assert lake.annotations().collect().height == EPISODES - 1
    assert_sound(lake)
    assert len(set(done)) >= min(4, KILLS // 3), f"the kills missed the work: {done}"


# ── every stage ────────────────────────────────────────────────────────────────────────────────────────────────────


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
