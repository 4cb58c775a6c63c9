"""HDF5 files read with care: nothing outside the file is followed, and a broken file is one episode's error."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from schema.errors import EpisodeError

_BLOCK_ROWS = 32


@contextmanager
def open_hdf5(path: Path, *, file: str) -> Iterator[h5py.File]:
    """The file for reading; EpisodeError "unreadable_hdf5" where it, or what is read inside, is cut or broken."""
    try:
        with h5py.File(path, "r", locking=False) as handle:
            yield handle
    except (OSError, RuntimeError, SystemError, ValueError) as error:  # what h5py makes of broken bytes
        raise EpisodeError("unreadable_hdf5", f"not a whole HDF5 file: {error}; fetch again {file}") from error


def datasets_of(handle: h5py.File, *, file: str) -> dict[str, h5py.Dataset]:
    """Every dataset by path; EpisodeError "external_link" where a link or dataset points out of the file."""
    links: dict[str, Any] = {}
    handle.visititems_links(lambda name, link: links.update({name: link}))
    for name, link in links.items():
        if isinstance(link, h5py.ExternalLink):
            raise _outside(name, link.filename, file)
    datasets = {}
    for name, link in links.items():
        try:
            item = handle[name]
        except KeyError as error:
            if isinstance(link, h5py.SoftLink):  # it dangles: there is no data to lose
                continue
            raise EpisodeError("unreadable_hdf5", f"cannot open {name!r}: {error}; fetch again {file}") from error
        if isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                raise _outside(name, "its raw data", file)
            datasets[name] = item
    return datasets


def rows_of(dataset: h5py.Dataset) -> Iterator[Any]:
    """The rows one by one, read in whole chunks, never more than a few at a time."""
    step = min(dataset.chunks[0], _BLOCK_ROWS) if dataset.chunks else 1
    for start in range(0, len(dataset), step):
        yield from dataset[start : start + step]


def word_of(value: Any) -> str | None:
    """An attribute's or scalar dataset's text; the first one of several, None where it holds no text."""
    if isinstance(value, h5py.Dataset):
        value = value[()]
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size else None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip() or None if isinstance(value, str) else None


def _outside(name: str, target: str, file: str) -> EpisodeError:
    return EpisodeError(
        "external_link",
        f"{name!r} points out of the file, to {target!r}, expected all data inside: repack it (h5repack) {file}",
    )
