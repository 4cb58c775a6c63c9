"""The real logs, where this machine has them."""

from pathlib import Path

import pytest

from ingest import job as jobs
from ingest import tasks
from tests.ingest.inline_ray import inline_ray

_SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def real_logs() -> Path:
    """The folder of real robot logs beside the checkout."""
    if not _SHARED.is_dir():
        pytest.skip(f"no real logs at {_SHARED}")
    return _SHARED


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles are run by the driver's own process, without Ray."""
    monkeypatch.setattr(tasks, "ray", inline_ray())
    monkeypatch.setattr(jobs, "start_ray", lambda *_: None)
    monkeypatch.setattr(tasks, "num_cpus", lambda: 1)
