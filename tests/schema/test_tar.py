"""Plain tar with known offsets: what TarWriter says of its members is what any tar reader finds."""

import io
import string
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.digest import digest_bytes
from schema.tar import BLOCK, TarWriter, data_offsets, headers, span

NAMES = st.text(string.ascii_letters + string.digits + "._- ", min_size=1, max_size=100)
MEMBERS = st.dictionaries(NAMES, st.binary(max_size=1100), max_size=8)


def written(members):
    stream = io.BytesIO()
    tar = TarWriter(stream)
    tar.add(list(members), list(members.values()))
    digest = tar.finish()
    offsets = data_offsets([len(data) for data in members.values()], 0)
    return stream.getvalue(), dict(zip(members, offsets.tolist(), strict=True)), digest


@settings(deadline=None)
@given(members=MEMBERS)
def test_the_stock_reader_finds_the_members_where_the_writer_said(members):
    content, offsets, _ = written(members)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}
        found_offsets = {member.name: member.offset_data for member in tar}
    assert found == members
    assert list(found) == list(members)
    assert found_offsets == offsets
    assert all(content[offsets[name] :][: len(data)] == data for name, data in members.items())


@settings(deadline=None)
@given(members=MEMBERS)
def test_the_digest_is_that_of_the_bytes_and_the_same_members_give_the_same_bytes(members):
    content, _, digest = written(members)
    assert digest == bytes.fromhex(digest_bytes(content))
    assert written(members)[0] == content


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 3000), max_size=5))
def test_the_position_grows_by_the_span_of_each_member(sizes):
    tar = TarWriter(io.BytesIO())
    tar.add([str(number) for number in range(len(sizes))], [bytes(size) for size in sizes])
    assert tar.position == sum(map(span, sizes))


@settings(deadline=None)
@given(members=MEMBERS, cut=st.integers(0, 8))
def test_members_may_come_in_any_portions(members, cut):
    names, contents = list(members), list(members.values())
    stream = io.BytesIO()
    tar = TarWriter(stream)
    for part in (slice(cut), slice(cut, None)):
        tar.add(names[part], contents[part])
    assert (tar.finish(), stream.getvalue()) == (written(members)[2], written(members)[0])


def test_every_member_is_a_regular_file_that_all_may_read_without_owner_or_time():
    content, _, _ = written({"a": b"1"})
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        (member,) = tar.getmembers()
    assert member.isreg()
    assert (member.mode, member.uid, member.gid, member.mtime, member.linkname) == (0o644, 0, 0, 0, "")


def test_two_blocks_of_zeros_end_the_file():
    content, _, _ = written({})
    assert content == bytes(2 * BLOCK)


def test_a_name_of_a_hundred_characters_is_the_longest():
    content, _, _ = written({"n" * 100: b"1"})
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.getnames() == ["n" * 100]


@pytest.mark.parametrize("name", ["", "n" * 101, "π0", "a\0b", "line\nbreak"])
def test_a_name_that_a_header_cannot_hold_is_refused(name):
    with pytest.raises(ValueError, match="1 to 100 printable ASCII characters"):
        TarWriter(io.BytesIO()).add(["a", name], [b"1", b"1"])


def test_a_refused_member_leaves_no_trace():
    stream = io.BytesIO()
    tar = TarWriter(stream)
    with pytest.raises(ValueError, match="ASCII"):
        tar.add(["a", "π0"], [b"1", b"1"])
    assert (stream.getvalue(), tar.position) == (b"", 0)


def test_a_member_of_8_gib_is_refused_since_its_size_has_no_room():
    assert len(headers(["big"], [8**11 - 1])) == BLOCK
    with pytest.raises(ValueError, match="takes up to 8589934591 bytes"):
        headers(["big"], [8**11])
