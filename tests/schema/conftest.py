"""Lakes to try things on: each on this machine's disk and on a real S3 server."""

from pathlib import Path

import pytest

from schema.lake import Lake


@pytest.fixture(params=["local", "s3"])
def lake_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place where nothing is yet."""
    return request.getfixturevalue("s3_lake_uri") if request.param == "s3" else str(tmp_path / "lake")


@pytest.fixture
def lake(lake_uri: str) -> Lake:
    """An empty lake."""
    return Lake.open_or_create(lake_uri)


@pytest.fixture
def local_lake(tmp_path: Path) -> Lake:
    """An empty lake on disk."""
    return Lake.open_or_create(str(tmp_path / "lake"))
