"""Heaps of HDF5 files: sound ones are walked to their end, broken ones are refused before HDF5 walks them for ever."""

import struct

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats import hdf5_heaps
from ingest.formats.hdf5 import attributes_of, open_hdf5
from ingest.formats.hdf5_heaps import check_heaps, checked_digest
from schema.digest import digest_bytes
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


MARK = b"GCOL\x01\0\0\0"
PARTS = st.one_of(st.just(MARK), st.sampled_from([MARK[lead:stop] for lead in range(4) for stop in (4, 5, 7)]))


@given(st.lists(st.one_of(PARTS, st.binary(max_size=9)), max_size=12).map(b"".join))
def test_every_mark_is_found_wherever_it_lies(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("heaps") / "a"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch, path.open("rb", buffering=0) as stream:
        patch.setattr(hdf5_heaps, "_BLOCK_WORDS", 4)
        fed: list[bytes] = []
        found = list(hdf5_heaps._marks(stream, feed=lambda some: fed.append(bytes(some))))
    assert found == [place for place in range(len(content)) if content.startswith(MARK, place)]
    assert b"".join(fed) == content


@pytest.mark.parametrize("is_known", [False, True])
def test_the_digest_is_that_of_the_bytes_whether_the_file_was_looked_at_before_or_not(written, is_known):
    if is_known:
        check_heaps(written, file="a.hdf5")
    assert checked_digest(written, file="a.hdf5") == digest_bytes(written.read_bytes())


@pytest.mark.parametrize("is_known", [False, True])
def test_a_broken_file_has_no_digest(written, is_known):
    content = bytearray(written.read_bytes())
    content[content.index(b"GCOL") + 16 + 32 + 8] = 255
    written.write_bytes(content)
    if is_known:
        with pytest.raises(EpisodeError, match="heap of texts is broken"):
            check_heaps(written, file="a.hdf5")

    with pytest.raises(EpisodeError, match="heap of texts is broken"):
        checked_digest(written, file="a.hdf5")
