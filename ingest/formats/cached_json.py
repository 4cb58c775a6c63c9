"""Small metadata files of a source, parsed once per process and file version, not once per episode."""

import json
from functools import lru_cache
from typing import Any

from ingest.location import FileStamp, Location
from schema.errors import SourceError
from schema.store import open_store

_MAX_BYTES = 1 << 30
"""A list of a million episodes is a quarter of this."""


def read_json(location: Location, file: str) -> Any:
    """The file's JSON value, not to be changed; SourceError where it is none."""
    location.path(file)  # refuses what leads out of the source
    return _json(location.file_uri(file), location.files[file])


def read_json_lines(location: Location, file: str) -> list[Any]:
    """One JSON value for each line, not to be changed; SourceError names the line that is none."""
    location.path(file)  # as above
    return _json_lines(location.file_uri(file), location.files[file])


@lru_cache(maxsize=64)
def _json(uri: str, version: FileStamp) -> Any:
    try:
        return _plain(_text(uri, version))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"not valid JSON: {error}; mend or fetch again {uri}") from error


@lru_cache(maxsize=16)
def _json_lines(uri: str, version: FileStamp) -> list[Any]:
    values = []
    try:
        lines = _text(uri, version).splitlines()
    except ValueError as error:
        raise SourceError(f"not text: {error}; mend or fetch again {uri}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values.append(_plain(line))
        except (ValueError, RecursionError) as error:
            raise SourceError(f"line {number} is not valid JSON: {error}; mend or fetch again {uri}") from error
    return values


def _plain(text: str) -> Any:
    """The value; ValueError where it holds half a character, which nothing can store."""
    value = json.loads(text)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _text(uri: str, version: FileStamp) -> str:
    if version.size_bytes > _MAX_BYTES:
        raise SourceError(f"metadata of {version.size_bytes} bytes, expected at most {_MAX_BYTES}: {uri}")
    fs, path = open_store(uri)
    content: bytes = fs.cat_file(path)
    return content.decode("utf-8")
