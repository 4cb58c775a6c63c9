"""The real logs, where this machine has them."""

from pathlib import Path

import pytest

_SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def real_logs() -> Path:
    """The folder of real robot logs beside the checkout."""
    if not _SHARED.is_dir():
        pytest.skip(f"no real logs at {_SHARED}")
    return _SHARED
