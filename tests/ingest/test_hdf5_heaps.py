"""Heaps of HDF5 files: sound ones are walked to their end, broken ones are refused before HDF5 walks them for ever."""

import struct

import h5py
import pytest

from ingest.formats.hdf5 import attributes_of, open_hdf5
from schema.errors import EpisodeError

TEXTS = ("move the cup", "x" * 300, "")


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        for number, text in enumerate(TEXTS):
            file.attrs[f"text {number}"] = text
    return path


def test_the_texts_of_a_sound_file_are_read(written):
    with open_hdf5(written, file="a.hdf5") as handle:
        assert tuple(attributes_of(handle, file="a.hdf5").values()) == TEXTS


@pytest.mark.parametrize("header", [(0, 0), (0, 8), (2, 2**64 - 1), (2, 5000), (0, 5000)])
def test_an_object_whose_size_leads_nowhere_is_refused(written, header):
    content = bytearray(written.read_bytes())
    second = content.index(b"GCOL") + 16 + 16 + 16  # after the collection's header and "move the cup", padded to 16
    assert content[second : second + 2] == b"\2\0"
    content[second : second + 16] = struct.pack("<H6xQ", *header)
    written.write_bytes(content)

    with pytest.raises(EpisodeError, match=r"heap of texts is broken at byte \d+.*a.hdf5") as caught:
        open_hdf5(written, file="a.hdf5").__enter__()

    assert caught.value.reason == "unreadable_hdf5"
