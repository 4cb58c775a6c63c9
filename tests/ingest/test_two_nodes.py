"""An ingest from S3 to S3 on a Ray cluster of two nodes, of which one is killed while its tasks run."""

import time
from datetime import timedelta
from pathlib import Path

import pytest

from schema.gc import find_garbage, remove
from schema.lake import Lake
from schema.store import open_store
from tests.ingest import driving
from tests.ingest.driving import aloha_source, assert_sound, contents, ended, start
from tests.ingest.two_nodes import two_nodes

pytestmark = pytest.mark.slow

EPISODES = 10
_PATIENCE_S = 60.0
_TELLING = """
from tests.ingest.faults import reading
from tests.ingest.test_two_nodes import telling
ingest.job.run_bundle = reading(telling({folder!r}))
"""


def telling(folder):
    """A reading that takes its time, and says on which node which record was begun and ended."""

    def tell(read, record):
        import ray  # noqa: PLC0415 - in the worker

        told = Path(folder) / f"{record.index}.{ray.get_runtime_context().get_node_id()}"
        told.with_suffix(f"{told.suffix}.begun").touch()
        time.sleep(0.5)
        raw = read()
        told.with_suffix(f"{told.suffix}.ended").touch()
        return raw

    return tell


def told(folder, what):
    """(record, node) of all that was told so."""
    return {tuple(path.stem.split(".")) for path in folder.glob(f"*.{what}")}


def wait_for_work(folder, node, driver):
    """Wait until one record is taken and the node is in the midst of another; which ones it is at."""
    until = time.monotonic() + _PATIENCE_S
    while driver.poll() is None and time.monotonic() < until:
        done = told(folder, "ended")
        midst = {record for record, where in told(folder, "begun") - done if where == node}
        if done and midst:
            return midst
        time.sleep(0.02)
    driver.kill()
    raise AssertionError(f"the second node never worked: {ended(driver)}")


def test_an_ingest_from_s3_to_s3_that_loses_a_node_is_that_of_an_undisturbed_run(s3_lake_uri, tmp_path, monkeypatch):
    (tmp_path / "told").mkdir()
    fs, prefix = open_store(s3_lake_uri)
    fs.put(f"{aloha_source(tmp_path / 'logs', EPISODES)}/", f"{prefix}/logs/", recursive=True)
    words = ["ingest", f"{s3_lake_uri}/logs", "--json", "--lake"]
    script = driving.DRIVERS["ray"] + _TELLING.format(folder=str(tmp_path / "told"))
    monkeypatch.setitem(driving.DRIVERS, "telling", script)

    undisturbed = start([*words, f"{s3_lake_uri}/calm"], {}, driver="alone")
    with two_nodes() as cluster:
        calm = ended(undisturbed)
        words = [*words, f"{s3_lake_uri}/lake", "--ray-address", cluster.address]
        driver = start(words, cluster.environment, driver="telling", is_fresh=True)  # Ray reads as it is imported
        midst = wait_for_work(tmp_path / "told", cluster.second, driver)
        cluster.lose_second()
        found = ended(driver)

    lake = Lake.open(f"{s3_lake_uri}/lake")
    again = {record for record, node in told(tmp_path / "told", "ended") if node != cluster.second}
    assert (calm.code, found.code) == (0, 0), calm.err + found.err
    assert {name: found.account[name] for name in ("discovered", "committed", "quarantined")} == {
        "discovered": EPISODES,
        "committed": EPISODES,
        "quarantined": 0,
    }
    assert midst <= again, "what the lost node was at was not done again"
    assert set(lake.episodes().collect()["raw_uri"].str.slice(0, 5)) == {"s3://"}
    assert contents(lake) == contents(Lake.open(f"{s3_lake_uri}/calm"))
    remove(lake, find_garbage(lake, older_than=timedelta(0)))
    assert_sound(lake)
