"""An ingest from S3 to S3 on a Ray cluster of two nodes, of which one is lost on the way."""

import warnings

import pytest
import ray
from ray.cluster_utils import Cluster

from ingest import plan as planning
from ingest.job import Request, ingest
from schema.lake import Lake
from tests.ingest.driving import aloha_source, assert_sound, contents

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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves its log files to the garbage collector
        head = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head | {"_system_config": _QUICK_TO_NOTICE})
        second = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
        yield cluster, second
        ray.shutdown()
        cluster.shutdown()


def test_an_ingest_from_s3_to_s3_survives_the_loss_of_a_node(two_nodes, s3_lake_uri, tmp_path, monkeypatch):
    cluster, second = two_nodes
    monkeypatch.setattr(planning, "_MIN_BUNDLE_BYTES", 1)
    monkeypatch.setattr(planning, "_BUNDLES_OF_A_SMALL_SOURCE", 10_000)
    logs = aloha_source(tmp_path / "logs", EPISODES)
    lake = Lake(f"{s3_lake_uri}/lake")
    lake.fs.put(f"{logs}/", lake.root.removesuffix("lake") + "logs/", recursive=True)
    lost = []

    def lose_a_node(done, total):
        if done >= 2 and not lost:
            lost.append(done)
            cluster.remove_node(second, allow_graceful=False)

    report = ingest(
        Request(uri=f"{s3_lake_uri}/logs"), lake_uri=lake.uri, progress=lose_a_node, ray_address=cluster.address
    )

    assert lost[0] < EPISODES
    assert report.outcomes == {"committed": EPISODES, "duplicate": 0, "superseded": 0, "quarantined": 0}
    assert len(contents(lake)) == EPISODES
    assert set(lake.episodes().collect()["raw_uri"].str.slice(0, 5)) == {"s3://"}
    assert_sound(lake)
