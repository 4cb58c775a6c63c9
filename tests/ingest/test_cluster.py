"""An ingest from S3 to S3 on a Ray cluster of two nodes, of which one is lost on the way."""

import time
import warnings

import pytest
from ray.cluster_utils import Cluster

from schema.lake import Lake
from tests.ingest.driving import aloha_source, assert_sound, closes, contents, ended, run, start

pytestmark = pytest.mark.slow

EPISODES = 10
_QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 10_000,  # a dead node refuses at once; a slow one is not dead
    "health_check_failure_threshold": 3,
}


@pytest.fixture
def two_nodes(s3_lake_uri, monkeypatch):
    """A cluster whose machines reach the S3 server; its second node may be taken away."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves its log files to the garbage collector
        cluster = Cluster(initialize_head=True, head_node_args=node | {"_system_config": _QUICK_TO_NOTICE})
        second = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
        yield cluster, second
        cluster.shutdown()


def wait_for_rows(lake, driver):
    """Until the driver has committed something, or has ended."""
    until = time.monotonic() + 120
    while time.monotonic() < until and driver.poll() is None:
        if lake.is_lake() and lake.scan("episodes").collect().height:
            return
        time.sleep(0.1)


def test_an_ingest_from_s3_to_s3_survives_the_loss_of_a_node(two_nodes, s3_lake_uri, tmp_path):
    cluster, second = two_nodes
    logs = aloha_source(tmp_path / "logs", EPISODES)
    lake = Lake(f"{s3_lake_uri}/lake")
    lake.fs.put(f"{logs}/", lake.root.removesuffix("lake") + "logs/", recursive=True)
    words = ["ingest", f"{s3_lake_uri}/logs", "--json", "--lake", lake.uri, "--ray-address", cluster.address]

    driver = start(words, {"RAY_ADDRESS": ""}, driver="ray")
    wait_for_rows(lake, driver)
    was_at_work = driver.poll() is None
    cluster.remove_node(second, allow_graceful=False)
    done = ended(driver)
    calm = run(["ingest", str(logs), "--json", "--lake", str(tmp_path / "calm")], {"RAY_ADDRESS": ""}, driver="alone")

    assert (done.code, calm.code) == (0, 0), done.err + calm.err
    assert was_at_work
    assert closes(done.account)
    assert done.account["committed"] == EPISODES
    assert contents(lake) == contents(Lake.open(str(tmp_path / "calm")))
    assert lake.quarantine().collect().height == 0
    assert {row[:5] for row in lake.episodes().collect()["raw_uri"]} == {"s3://"}
    assert_sound(lake)
