"""The Parquet tables of LeRobot v3.0's `meta/`, read once per process and file version, not once per episode."""

from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.formats.columns import bytes_in_memory
from ingest.location import FileStamp, Location
from schema.errors import EpisodeError, SourceError
from schema.store import open_store

_MAX_BYTES = 1 << 30
"""The most that one table of metadata may say it holds, statistics left out."""
_STATS = "stats/"

Rows = dict[int, dict[str, Any]]


def read_rows(location: Location, folder: str) -> dict[int, Any]:
    """The rows of all tables in a folder by `episode_index`, not to be changed; SourceError where there is none."""
    files = [file for file in location.files if file.startswith(folder) and file.endswith(".parquet")]
    if not files:
        raise SourceError(f"found no table of episodes in {folder}, expected it beside info.json: {location.uri}")
    return _rows(tuple(_inside(location, file) for file in files))


def read_tasks(location: Location, file: str) -> dict[int, str]:
    """The text of each task index, not to be changed; empty where there is no such file."""
    if file not in location.files:
        return {}
    return _tasks(*_inside(location, file))


def _inside(location: Location, file: str) -> tuple[str, FileStamp]:
    """A file that does not lead out of the source, and its version."""
    location.path(file)
    return location.file_uri(file), location.files[file]


@lru_cache(maxsize=16)
def _rows(files: tuple[tuple[str, FileStamp], ...]) -> Rows:
    rows: Rows = {}
    for uri, _ in files:
        for row in _table(uri).to_pylist():
            if not isinstance(row.get("episode_index"), int):
                raise SourceError(f"a row lacks 'episode_index': {row!r:.200}; mend {uri}")
            rows[row["episode_index"]] = row
    return rows


@lru_cache(maxsize=64)
def _tasks(uri: str, version: FileStamp) -> dict[int, str]:  # noqa: ARG001 - part of the cache's key
    table = _table(uri)
    words = [name for name in table.column_names if name != "task_index"]  # pandas' index, named or not
    if "task_index" not in table.column_names or not words:
        raise SourceError(f"found columns {table.column_names}, expected task_index and a text; mend {uri}")
    name = "task" if "task" in words else words[0]
    return {
        int(i): str(text) for i, text in zip(*(table[key].to_pylist() for key in ("task_index", name)), strict=True)
    }


def _table(uri: str) -> pa.Table:
    """All columns but the statistics."""
    fs, path = open_store(uri)
    try:
        with fs.open(path, "rb") as stream:
            parquet = pq.ParquetFile(stream)
            names = [name for name in parquet.schema_arrow.names if not name.startswith(_STATS)]
            size = bytes_in_memory(parquet, range(parquet.num_row_groups), names=names, stream=stream, file=uri)
            if size > _MAX_BYTES:
                raise SourceError(f"a table of {size} bytes, expected {_MAX_BYTES} at most: {uri}")
            return parquet.read(columns=names)
    except EpisodeError as error:
        raise SourceError(str(error)) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"not a whole Parquet file: {error}; fetch again {uri}") from error
