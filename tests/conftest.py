"""Fixtures that all tests may ask for."""

import os
import sys
from collections.abc import Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.s3 import S3Server, s3_server

_ONE_RAY = {f"tests/ingest/test_{name}.py" for name in ("command", "drivers", "job", "kill", "real_logs")} | {
    "tests/curation/test_statistics_on_ray.py"
}
"""The files whose tests ask for `tests.ingest.ray_cluster.cluster`."""
_SHARED = "one Ray"

os.environ.setdefault("RAY_worker_niceness", "0")  # by Ray's 15 its workers wait for the tests beside them


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server on loopback, started for the first test that asks for it."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_lake_uri(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh place on the S3 server for one lake; the environment says how to reach it."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    for name in (
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_ENDPOINT_URL_S3",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    return s3.fresh_prefix()


@pytest.fixture(scope="module", autouse=True)
def _no_foreign_ray(request: pytest.FixtureRequest) -> None:
    """Files that do not share the one Ray do not find it: what goes to Ray where there is one would go there."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized() and _scope(request.node.nodeid) != _SHARED:
        ray.shutdown()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Of two processes, one takes a file whole, and all files whose tests share one Ray."""
    return _FileScheduling(config, log)


class _FileScheduling(LoadScopeScheduling):
    # A group's mark (`--dist=loadgroup`) would say the same, but pytest 9.2 lost the attribute that pytest-xdist sets.
    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid)


def _scope(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    return _SHARED if file in _ONE_RAY else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that neither process is left with it when the other has nothing to do."""
    slow = {_scope(item.nodeid) for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (_scope(item.nodeid) != _SHARED, _scope(item.nodeid) not in slow))
