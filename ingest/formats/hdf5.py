"""HDF5 files read with care: nothing outside the file is followed, and a broken file is one episode's error.

How much of a file may be taken into memory, and whether it was ever written, is `hdf5_limits`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from ingest.formats.hdf5_heaps import check_heaps
from schema.errors import EpisodeError

MAX_LINKS = 100_000
"""More names than this below one group are no log."""
_BROKEN = (OSError, RuntimeError, SystemError, ValueError)
"""What h5py makes of broken bytes."""
_ODD = (*_BROKEN, TypeError, KeyError, AttributeError, NotImplementedError, ArithmeticError, MemoryError)
"""The same where a type, a name or a size is broken, which h5py does not look at before it uses them."""


@contextmanager
def open_hdf5(place: Path | BinaryIO, *, file: str) -> Iterator[h5py.File]:
    """The file for reading; EpisodeError "unreadable_hdf5" where it, or what is read inside, is cut or broken."""
    options = {"locking": False} if isinstance(place, Path) else {}
    if isinstance(place, Path):
        check_heaps(place, file=file)
    try:
        with h5py.File(place, "r", **options) as handle:
            yield handle
    except _BROKEN as error:
        raise _unreadable(file, error) from error


@contextmanager
def whole(file: str) -> Iterator[None]:
    """For calls of h5py alone: whatever it makes of broken bytes is EpisodeError "unreadable_hdf5"."""
    try:
        yield
    except _ODD as error:
        raise _unreadable(file, error) from error


def group_at(handle: h5py.File, path: str, *, file: str) -> h5py.Group | None:
    """The group of that path, by links inside the file only; None where there is none."""
    group: Any = handle
    with whole(file):
        for name in path.split("/"):
            link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
            if isinstance(link, h5py.ExternalLink):
                raise _outside(path, link.filename, file)
            if not isinstance(link, h5py.HardLink):
                return None
            group = group[name]
    return group if isinstance(group, h5py.Group) else None


def datasets_of(handle: h5py.Group, *, file: str) -> dict[str, h5py.Dataset]:
    """Every dataset below, by path; EpisodeError "external_link" where a link or dataset points out of the file."""
    links: dict[str, Any] = {}

    def note(name: str, link: Any) -> bool | None:
        links[name] = link
        return len(links) > MAX_LINKS or None

    with whole(file):
        handle.visititems_links(note)
    if len(links) > MAX_LINKS:
        raise EpisodeError("absurd_size", f"found more than {MAX_LINKS} names, expected those of one log; file {file}")
    for name, link in links.items():
        if isinstance(link, h5py.ExternalLink):
            raise _outside(name, link.filename, file)
    datasets = {}
    for name, link in links.items():
        with whole(file):
            try:
                item = handle[name]
            except KeyError:
                if isinstance(link, h5py.SoftLink):  # it dangles: there is no data to lose
                    continue
                raise
            if not isinstance(item, h5py.Dataset):
                continue
            is_outside = item.is_virtual or bool(item.external) or item.file.filename != handle.file.filename
            _ = item.dtype, item.shape
        if is_outside:
            raise _outside(name, "its raw data", file)
        datasets[name] = item
    return datasets


def attributes_of(item: h5py.Group | h5py.Dataset, *, file: str) -> dict[str, Any]:
    """Every attribute by name; an empty one is None."""
    with whole(file):
        return {name: None if isinstance(value, h5py.Empty) else value for name, value in item.attrs.items()}


def word_of(value: Any) -> str | None:
    """An attribute's or scalar dataset's text; the first one of several, None where it holds no text."""
    if isinstance(value, h5py.Dataset):
        value = value[()] if value.dtype.kind in "OS" and value.nbytes <= _MAX_WORD_BYTES else None
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size else None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip() or None if isinstance(value, str) else None


_MAX_WORD_BYTES = 1 << 20


def _unreadable(file: str, error: BaseException) -> EpisodeError:
    return EpisodeError("unreadable_hdf5", f"not a whole HDF5 file: {error}; fetch again {file}")


def _outside(name: str, target: str, file: str) -> EpisodeError:
    return EpisodeError(
        "external_link",
        f"{name!r} points out of the file, to {target!r}, expected all data inside: repack it (h5repack) {file}",
    )
