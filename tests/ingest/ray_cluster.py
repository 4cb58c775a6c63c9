"""One local Ray for all tests of the ingest job, which the drivers that they start as processes join as well."""

import os
import warnings
from collections.abc import Iterator

import pytest
import ray

_FOLDER = os.path.dirname(__file__)  # noqa: PTH120


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, str]]:
    """The environment by which another process joins the cluster that this process has started and joined."""
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_ADDRESS")}
    os.environ["RAY_AUTH_MODE"] = "disabled"  # no token in the home folder of who runs the tests
    os.environ.pop("RAY_ADDRESS", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves its log files to the garbage collector
        context = ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
        )
    yield {"RAY_ADDRESS": context.address_info["gcs_address"], "RAY_AUTH_MODE": "disabled"}
    ray.shutdown()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop Ray with the last of these tests, so that no other finds one running."""
    if _shares(item) and (nextitem is None or not _shares(nextitem)):
        ray.shutdown()


def _shares(item: pytest.Item) -> bool:
    return str(item.path).startswith(_FOLDER) or item.path.name == "test_statistics_on_ray.py"
