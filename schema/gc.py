"""What a killed ingest leaves behind: shards that no row refers to, and parts of files. Found, and removed."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from schema.lake import Lake
from schema.receipt import EXTENSION

DEFAULT_AGE = timedelta(hours=24)
"""Younger files are left alone: an ingest may be about to commit them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Garbage:
    """An unreferenced file of a lake."""

    file: str
    size_bytes: int


def find_garbage(lake: Lake, *, older_than: timedelta = DEFAULT_AGE) -> list[Garbage]:
    """The files under `shards/`, and half-written ones elsewhere, that no episode row refers to."""
    before = datetime.now(UTC) - older_than
    files = sorted(lake.fs.find(lake.root, detail=True).items())
    referenced = _referenced(lake)  # after the files: what is committed meanwhile is in here
    garbage = []
    for path, info in files:
        file = path.removeprefix(lake.root).lstrip("/")
        is_loose = (file.startswith("shards/") and file not in referenced) or file.endswith(".part")
        if is_loose and _modified(info) <= before:
            garbage.append(Garbage(file=file, size_bytes=int(info.get("size") or 0)))
    return garbage


def remove(lake: Lake, garbage: list[Garbage]) -> None:
    """Delete these files, but for those that a row has come to refer to meanwhile."""
    referenced = _referenced(lake)
    for item in garbage:
        if item.file not in referenced:
            with suppress(FileNotFoundError):  # somebody else removes as well
                lake.fs.rm_file(lake.path(item.file))


def _referenced(lake: Lake) -> set[str]:
    rows = lake.scan("episodes").select(pl.col("shard").unique()).collect()
    return {f"{shard}.{extension}" for shard in rows["shard"] for extension in ("tar", "parquet", EXTENSION)}


def _modified(info: dict[str, Any]) -> datetime:
    found = info.get("mtime") or info.get("LastModified") or info.get("created")
    if isinstance(found, datetime):
        return found
    return datetime.fromtimestamp(float(found or 0), UTC)
