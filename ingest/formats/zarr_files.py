"""The files of a Zarr group, in a folder or a zip, read with care; and what an array says of itself.

Nothing is unpacked before the size that it declares was compared with the size of a chunk, no codec runs that is not
on the list (Zarr knows one that unpickles), and a zip's members are read in place, never extracted.
"""

import bz2
import json
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import zstandard
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from ingest.formats.local_copy import LocalCopy
from ingest.location import Location
from schema.errors import EpisodeError

MAX_CHUNK_BYTES = 1 << 28
"""The most that one chunk of an array may say it holds."""
EPISODE_ENDS = ("meta/episode_ends/.zarray", "meta/episode_ends/zarr.json")
"""What tells a replay buffer."""
_MAX_JSON_BYTES = 16 << 20
_MAX_MEMBERS = 5_000_000
_OVERHEAD = 1 << 16
"""What a filter may add to the bytes of a chunk."""
_PACKERS = {"blosc", "zstd", "lz4", "gzip", "zlib", "bz2"}
_CODECS = {
    *_PACKERS,
    *("bytes", "transpose", "crc32", "crc32c", "adler32"),
    *("delta", "shuffle", "fixedscaleoffset", "quantize", "packbits", "bitround", "astype", "vlen-utf8"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayInfo:
    """What an array's metadata says."""

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any] | None
    """None where it is no plain number or fixed-length text."""
    codecs: tuple[str, ...]
    chunk_prefix: tuple[str, ...]
    separator: str

    @property
    def chunk_bytes(self) -> int:
        """What one chunk holds, unpacked."""
        return prod(self.chunks) * (self.dtype.itemsize if self.dtype is not None else 1)

    def chunk_file(self, row: int) -> str:
        """The file of the first chunk that holds a row of the first axis."""
        indices = [row // self.chunks[0], *[0] * (len(self.shape) - 1)]
        return f"{self.path}/{self.separator.join([*self.chunk_prefix, *map(str, indices)])}"

    def problem(self) -> tuple[str, str] | None:
        """(reason, message) why it cannot be read, known before anything is allocated."""
        unknown = [name for name in self.codecs if name not in _CODECS]
        if unknown:
            return (
                "unknown_codec",
                f"array {self.path!r} is packed by {unknown[0]!r}, which is not installed or not safe",
            )
        if len(packers := [name for name in self.codecs if name in _PACKERS]) > 1:
            return (
                "unknown_codec",
                f"array {self.path!r} is packed twice over ({', '.join(packers)}), so that its size cannot be told "
                "before it is unpacked; expected one of them",
            )
        if len(self.chunks) != len(self.shape) or min((*self.chunks, 1)) < 1 or min((*self.shape, 0)) < 0:
            return "unreadable_zarr", f"array {self.path!r} of shape {self.shape} has chunks {self.chunks}"
        if self.chunk_bytes > MAX_CHUNK_BYTES:
            return (
                "too_large",
                f"array {self.path!r} has chunks of {self.chunk_bytes} bytes, expected {MAX_CHUNK_BYTES} at most",
            )
        return None


class ZarrFiles(Store):
    """A read-only Zarr store over one group of a location."""

    def __init__(self, location: Location, root: str) -> None:
        """`root` is the group's folder with a slash at the end (or nothing), or the name of a zip file."""
        super().__init__(read_only=True)
        self._location, self._root = location, root
        self._infos: dict[str, ArrayInfo] = {}
        self._zip: zipfile.ZipFile | None = None
        self.opened: dict[str, Any] = {}
        """Arrays that were opened before."""
        self.missing: set[str] = set()
        """Chunks that were asked for and are not there, which Zarr takes to hold its fill value."""
        if root.endswith(".zip"):
            self._copy = LocalCopy(location, root)
            self._zip, self._members = _open_zip(self._copy, location.file_uri(root))
            self._names = set(self._members)
        else:
            self._names = {file.removeprefix(root) for file in location.files if file.startswith(root)}

    @property
    def uri(self) -> str:
        """Where it lies, for messages."""
        return self._location.file_uri(self._root).rstrip("/")

    def json(self, name: str) -> dict[str, Any]:
        """A metadata file; empty where there is none, EpisodeError where it is no JSON object."""
        if name not in self:
            return {}
        if self.size(name) > _MAX_JSON_BYTES:
            raise EpisodeError("too_large", f"{name!r} is larger than metadata may be: {self.uri}")
        try:
            value = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise EpisodeError("unreadable_zarr", f"{name!r} is not JSON: {error}; fetch again {self.uri}") from error
        if not isinstance(value, dict):
            raise EpisodeError("unreadable_zarr", f"{name!r} is no JSON object; fetch again {self.uri}")
        return value

    def attributes(self) -> dict[str, Any]:
        """The group's own attributes."""
        return self.json(".zattrs") or dict(self.json("zarr.json").get("attributes") or {})

    @cached_property
    def _array_paths(self) -> list[str]:
        """Where an array or a group says what it is; found once, for there may be very many chunks."""
        ends = ("/.zarray", "/zarr.json")
        return sorted({name.rpartition("/")[0] for name in self._names if name.endswith(ends)})

    def arrays(self, folder: str | None = None) -> list[str]:
        """The arrays of the group, or those that stand directly in a folder of it."""
        paths = [path for path in self._array_paths if folder is None or path.rpartition("/")[0] == folder]
        return [path for path in paths if self.json(f"{path}/zarr.json").get("node_type") != "group"]

    def info(self, path: str) -> ArrayInfo:
        """An array's metadata; EpisodeError "unreadable_zarr" where it makes no sense."""
        if path not in self._infos:
            try:
                found = self._info(path)
                if min(found.chunks, default=1) < 1 or min(found.shape, default=0) < 0:
                    raise ValueError(f"chunks {found.chunks} of {found.shape}")
                self._infos[path] = found
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise EpisodeError(
                    "unreadable_zarr", f"the metadata of {path!r} makes no sense ({error!r:.200}): {self.uri}"
                ) from error
        return self._infos[path]

    def _info(self, path: str) -> ArrayInfo:
        old = self.json(f"{path}/.zarray")
        if old:
            codecs = [*(old.get("filters") or []), *([old["compressor"]] if old.get("compressor") else [])]
            return ArrayInfo(
                path=path,
                shape=tuple(int(size) for size in old["shape"]),
                chunks=tuple(int(size) for size in old["chunks"]),
                dtype=_dtype(old["dtype"]),
                codecs=tuple(str(item["id"]) for item in codecs),
                chunk_prefix=(),
                separator=str(old.get("dimension_separator") or "."),
            )
        new = self.json(f"{path}/zarr.json")
        keys = new["chunk_key_encoding"]
        is_default = keys["name"] == "default"
        told = (keys.get("configuration") or {}).get("separator") or ("/" if is_default else ".")
        return ArrayInfo(
            path=path,
            shape=tuple(int(size) for size in new["shape"]),
            chunks=tuple(int(size) for size in new["chunk_grid"]["configuration"]["chunk_shape"]),
            dtype=_dtype(new["data_type"]),
            codecs=tuple(str(item["name"]).removeprefix("numcodecs.") for item in new["codecs"]),
            chunk_prefix=("c",) if is_default else (),
            separator=str(told),
        )

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def size(self, name: str) -> int:
        """How many bytes a file holds, as the folder or zip says."""
        return self._members[name].file_size if self._zip else self._location.files[f"{self._root}{name}"].size_bytes

    def read(self, name: str) -> bytes:
        """A file's bytes; EpisodeError where the zip is broken there or the file is a link that leads outside."""
        if self._zip is None:
            return self._location.read_bytes(f"{self._root}{name}")
        if self.size(name) > MAX_CHUNK_BYTES + _OVERHEAD:
            raise EpisodeError("too_large", f"{name!r} says it holds {self.size(name)} bytes: {self.uri}")
        try:
            return self._zip.read(self._members[name])
        except Exception as error:  # whatever a broken zip gives rise to
            raise EpisodeError(
                "unreadable_zarr", f"{name!r} cannot be unpacked: {error}; fetch again {self.uri}"
            ) from error

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """What Zarr asks for: metadata, and chunks whose declared size was looked at."""
        if key not in self:
            if not key.endswith(("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")):
                self.missing.add(key)
            return None
        if byte_range is not None:
            raise EpisodeError("unknown_codec", f"{key!r} is read in parts, which only sharded arrays need: {self.uri}")
        data = self.read(key)
        for info in self._infos.values():
            if key.startswith(f"{info.path}/") and not key.endswith((".zarray", "zarr.json", ".zattrs")):
                self._check(key, data, info)
        return prototype.buffer.from_bytes(data)

    def _check(self, key: str, data: bytes, info: ArrayInfo) -> None:
        limit = info.chunk_bytes + _OVERHEAD
        if info.codecs and info.codecs[-1] == "blosc" and _blosc_length(data) != len(data):  # blosc would read past it
            raise EpisodeError("unreadable_zarr", f"chunk {key!r} was cut or damaged; fetch it again: {self.uri}")
        told = declared_bytes(data, info.codecs, limit=limit)
        if told > limit:
            raise EpisodeError(
                "too_large",
                f"chunk {key!r} unpacks to {told} bytes, expected the {info.chunk_bytes} of its array: {self.uri}",
            )

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Each of several."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether it is there."""
        return key in self

    supports_writes = supports_deletes = False
    supports_listing = True

    async def set(self, key: str, value: Buffer) -> None:
        """Nothing is ever written."""
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        """Nothing is ever deleted."""
        raise NotImplementedError

    async def list(self) -> AsyncIterator[str]:
        """Every file."""
        for name in sorted(self._names):
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Every file whose name begins so."""
        for name in sorted(self._names):
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """What stands directly in a folder."""
        start = f"{prefix.rstrip('/')}/" if prefix else ""
        for name in sorted({name[len(start) :].split("/")[0] for name in self._names if name.startswith(start)}):
            yield name


def declared_bytes(data: bytes, codecs: tuple[str, ...], *, limit: int) -> int:
    """What a packed chunk says it unpacks to, or how far it was found to go; its own length where it is not packed."""
    packed = next((name for name in reversed(codecs) if name in _PACKERS), None)
    if packed == "blosc" and len(data) >= 16:
        return int(struct.unpack_from("<I", data, 4)[0])
    if packed == "lz4" and len(data) >= 4:
        return int(struct.unpack_from("<I", data)[0])
    if packed == "zstd":
        with suppress(zstandard.ZstdError):
            told = zstandard.frame_content_size(data)
            if told >= 0:
                return told
            with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as stream:
                return len(stream.read(limit + 1))
    if packed in _UNPACKERS:
        with suppress(zlib.error, OSError, EOFError):
            return _unpacked_bytes(data, _UNPACKERS[packed], limit=limit)
    return len(data)


def _unpacked_bytes(data: bytes, make: Callable[[], Any], *, limit: int) -> int:
    """How many bytes come out of all the streams that stand one after the other, as far as a little over `limit`."""
    size = 0
    while data and size <= limit:
        unpacker = make()
        size += len(unpacker.decompress(data, limit + 1 - size))
        data = unpacker.unused_data
    return size


_UNPACKERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=47),
    "zlib": lambda: zlib.decompressobj(wbits=47),
    "bz2": bz2.BZ2Decompressor,
}
"""Decoders that stop where they are told to."""


def _blosc_length(data: bytes) -> int:
    """How long a Blosc buffer says it is; −1 where it has no whole header."""
    return int(struct.unpack_from("<I", data, 12)[0]) if len(data) >= 16 else -1


def _open_zip(copy: LocalCopy, uri: str) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """A zip and its members by name, the folder that holds the group taken off."""
    try:
        archive = zipfile.ZipFile(copy.path)
        infos = archive.infolist()
    except Exception as error:  # whatever a broken zip gives rise to
        raise EpisodeError("unreadable_zarr", f"not a whole zip: {error}; fetch again {uri}") from error
    if len(infos) > _MAX_MEMBERS:
        raise EpisodeError("too_large", f"a zip of {len(infos)} files, expected {_MAX_MEMBERS} at most: {uri}")
    for info in infos:
        path = PurePosixPath(info.filename)
        is_link = info.external_attr >> 28 == 0xA
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename or is_link:
            raise EpisodeError("outside_source", f"the zip holds {info.filename!r}, which points out of it: {uri}")
    marks = [info.filename for info in infos if info.filename.endswith(EPISODE_ENDS)]
    prefix = ""
    if marks:
        mark = min(marks, key=len)
        prefix = mark[: mark.rindex("meta/episode_ends/")]
    return archive, {
        info.filename.removeprefix(prefix): info
        for info in infos
        if info.filename.startswith(prefix) and not info.filename.endswith("/")
    }


def _dtype(told: Any) -> np.dtype[Any] | None:
    """The plain dtype of a metadata entry, or None for objects and what is not known."""
    if isinstance(told, dict):
        size = (told.get("configuration") or {}).get("length_bytes")
        kinds = {"fixed_length_utf32": "U", "null_terminated_bytes": "S"}
        kind = kinds.get(str(told.get("name")))
        return None if kind is None or not size else np.dtype(f"{kind}{int(size) // (4 if kind == 'U' else 1)}")
    try:
        dtype = np.dtype(told)
    except (TypeError, ValueError):
        return None
    return dtype if dtype.kind in "fiubUS" else None
