"""What may be taken out of an HDF5 file: sizes are looked at before anything is read, and holes are refused.

A dataset says how large it is in a few bytes, whatever the file holds, and HDF5 makes up zeros for what was never
written: both would pass for data.
"""
# Legend: T frames.

import zlib
from collections.abc import Iterator, Mapping
from math import ceil, prod
from typing import Any

import h5py

from ingest.formats.hdf5 import whole
from schema.episode import Numbers
from schema.errors import EpisodeError

MAX_NUMBERS_BYTES = 512 << 20
"""All numbers of one episode; an hour of 100 float64 streams at 50 Hz is 144 MB."""
MAX_BLOCK_BYTES = 256 << 20
"""One picture, or one chunk of a dataset when it is unpacked."""
MAX_WIDTH = 4096
"""Numbers per frame; a wider stream is a depth picture, a point cloud or the like."""
_BLOCK_ROWS = 32
_MAX_DEFLATE_RATIO = 1032
"""How much larger DEFLATE can become; chunks that cannot outgrow 1 GiB by it are unpacked on trust."""
_TRUSTED_BYTES = 1 << 30


def num_rows(dataset: h5py.Dataset, *, name: str, file: str) -> int:
    """T; EpisodeError "bad_shape" where it is a single value or empty."""
    shape: tuple[int, ...] = dataset.shape or ()
    if not shape:
        raise EpisodeError("bad_shape", f"{name!r} has shape {dataset.shape}, expected [T, …]; file {file}")
    return next(iter(shape))


def is_numeric(dataset: h5py.Dataset, rows: int) -> bool:
    """Whether it is a stream `[rows, …]` of numbers or booleans that is no picture, depth or point cloud."""
    shape: tuple[int, ...] = dataset.shape or ()
    is_number = dataset.dtype.kind in "fiub" and dataset.dtype.itemsize <= 8 and not is_picture(dataset)
    return is_number and shape[:1] == (rows,) and prod(shape[1:]) <= MAX_WIDTH


def is_picture(dataset: h5py.Dataset) -> bool:
    """Whether it is a stream of raw RGB pictures, uint8 `[T, H, W, 3]`."""
    shape: tuple[int, ...] = dataset.shape or ()
    return dataset.dtype == "uint8" and len(shape) == 4 and shape[-1] == 3


def read_numbers(datasets: Mapping[str, h5py.Dataset], *, file: str) -> dict[str, Numbers]:
    """All of them, read whole; EpisodeError "absurd_size" or "unwritten_data" where they must not be."""
    total = sum(_num_bytes(item) for item in datasets.values())
    if total > MAX_NUMBERS_BYTES:
        largest = max(datasets, key=lambda name: _num_bytes(datasets[name]))
        raise _absurd(f"numbers of {total} bytes, most in {largest!r} {datasets[largest].shape}", file, "one episode's")
    for name, item in datasets.items():
        check(item, name=name, file=file)
    with whole(file):
        return {name: item[()] for name, item in datasets.items()}


def check_pictures(dataset: h5py.Dataset, *, rows: int, name: str, file: str) -> None:
    """EpisodeError where a camera's stream, raw or of encoded buffers, has not `rows` pictures or must not be read."""
    if num_rows(dataset, name=name, file=file) != rows:
        raise EpisodeError(
            "frame_count_mismatch",
            f"camera {name!r} has {dataset.shape[0]} pictures, expected {rows}, one for each action; file {file}",
        )
    check(dataset, name=name, file=file)


def check(dataset: h5py.Dataset, *, name: str, file: str) -> None:
    """EpisodeError where a row or chunk is too large to unpack, or where not all of it was ever written."""
    chunks = dataset.chunks
    block = max(prod(chunks or ()) * dataset.dtype.itemsize, _row_bytes(dataset))
    if block > MAX_BLOCK_BYTES:
        raise _absurd(f"{name!r} {dataset.shape} in chunks {chunks}, {block} bytes each", file, "a row's or chunk's")
    with whole(file):
        stored = _stored_chunks(dataset) if chunks else []
        is_whole = dataset.id.get_storage_size() >= _num_bytes(dataset)
    if chunks:
        expected = prod(ceil(size / step) for size, step in zip(dataset.shape, chunks, strict=True))
        is_whole = len(stored) == expected
        _refuse_bombs(dataset, stored, name=name, file=file)
    if not is_whole:
        raise EpisodeError(
            "unwritten_data",
            f"parts of {name!r} {dataset.shape} were never written and would read as zeros: fetch or record it again; "
            f"file {file}",
        )


def rows_of(dataset: h5py.Dataset, *, file: str) -> Iterator[Any]:
    """The rows `[*dataset.shape[1:]]` one by one, read in whole chunks, never more than a few at a time.

    EpisodeError "unreadable_hdf5" where the file ends before, or its bytes are broken.
    """
    step = 1
    if dataset.chunks and dataset.dtype.kind != "O":  # buffers of any length come one at a time
        step = max(1, min(dataset.chunks[0], _BLOCK_ROWS, MAX_BLOCK_BYTES // max(1, _row_bytes(dataset))))
    for start in range(0, len(dataset), step):
        with whole(file):
            rows = dataset[start : start + step]
        yield from rows


def digest_stored(hasher: Any, dataset: h5py.Dataset, *, file: str) -> None:
    """Feed a dataset's bytes to a hasher as they lie in the file, without unpacking them."""
    hasher.update(f"{dataset.dtype.str}{dataset.shape}{dataset.chunks}".encode())
    if not dataset.chunks:
        for row in rows_of(dataset, file=file):
            hasher.update(row if isinstance(row, bytes) else row.tobytes())
        return
    with whole(file):
        for info in sorted(_stored_chunks(dataset), key=lambda info: info.chunk_offset):
            hasher.update(repr(info.chunk_offset).encode())
            hasher.update(dataset.id.read_direct_chunk(info.chunk_offset)[1])


def _stored_chunks(dataset: h5py.Dataset) -> list[Any]:
    stored: list[Any] = []
    if dataset.size:
        dataset.id.chunk_iter(stored.append)
    return stored


def _refuse_bombs(dataset: h5py.Dataset, stored: list[Any], *, name: str, file: str) -> None:
    """EpisodeError where a chunk unpacks to more than it says, or is packed so that this cannot be told beforehand."""
    packers = _packers(dataset, file=file)
    if len(packers) > 1:
        raise EpisodeError(
            "unknown_codec",
            f"{name!r} is packed by the HDF5 filters {list(packers.values())}, one after the other, expected one: "
            f"repack it (h5repack) {file}",
        )
    for place in [place for place, code in packers.items() if code == h5py.h5z.FILTER_DEFLATE]:
        declared = prod(dataset.chunks) * dataset.dtype.itemsize
        for info in stored:
            is_plain = info.filter_mask >> place & 1
            if is_plain or info.size * _MAX_DEFLATE_RATIO <= _TRUSTED_BYTES:
                continue
            with whole(file):
                packed = dataset.id.read_direct_chunk(info.chunk_offset)[1]
            try:
                unpacked = zlib.decompressobj().decompress(packed, declared + 1)
            except zlib.error:
                continue  # HDF5 says so where it reads it
            if len(unpacked) > declared:
                raise _absurd(f"a chunk of {name!r} that unpacks to more than its {declared} bytes", file, "a chunk's")


def _packers(dataset: h5py.Dataset, *, file: str) -> dict[int, int]:
    """The filters that change sizes, place → code; but for a checksum, what comes after such a one counts as well."""
    with whole(file):
        told = dataset.id.get_create_plist()
        codes = dict(enumerate(int(told.get_filter(i)[0]) for i in range(told.get_nfilters())))
    codes = {place: code for place, code in codes.items() if code != h5py.h5z.FILTER_FLETCHER32}
    first = next((place for place, code in codes.items() if code != h5py.h5z.FILTER_SHUFFLE), len(codes) + 1)
    return {place: code for place, code in codes.items() if place >= first}


def _num_bytes(dataset: h5py.Dataset) -> int:
    return prod(dataset.shape or ()) * int(dataset.dtype.itemsize)


def _row_bytes(dataset: h5py.Dataset) -> int:
    shape: tuple[int, ...] = dataset.shape or ()
    return prod(shape[1:]) * int(dataset.dtype.itemsize)


def _absurd(found: str, file: str, whose: str) -> EpisodeError:
    limit = MAX_NUMBERS_BYTES if "episode" in whose else MAX_BLOCK_BYTES
    return EpisodeError("absurd_size", f"found {found}, expected {whose} at most {limit >> 20} MiB; file {file}")
