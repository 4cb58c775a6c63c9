"""Digests and the canonical JSON that they are taken of."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.digest import Hasher, canonical_json, digest_bytes, digest_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_keys_are_sorted_and_nothing_is_spaced():
    assert canonical_json({"b": [1, 2.5], "a": {"d": None, "c": True}}) == b'{"a":{"c":true,"d":null},"b":[1,2.5]}'


def test_the_order_in_which_keys_were_given_does_not_count():
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})


def test_text_is_utf8():
    assert canonical_json("π0") == '"π0"'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("-inf")]])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_json(value)


@settings(deadline=None)
@given(value=VALUES)
def test_canonical_json_reads_back_as_it_was(value):
    assert json.loads(canonical_json(value)) == value


def test_the_digest_is_blake3_of_128_bits_as_hex():
    # the first 16 bytes of what the authors of BLAKE3 give for these three
    assert digest_bytes(b"abc") == "6437b3ac38465133ffb63b75273a8db5"


def test_the_digest_of_parts_is_that_of_the_whole():
    hasher = Hasher()
    hasher.update(b"abc")
    assert digest_bytes(b"a", b"", b"bc") == digest_bytes(b"abc") == hasher.hexdigest()


def test_different_values_have_different_digests():
    values = [None, 0, 1, "1", [1], {"1": 1}, "", [], {}, False, 0.5]
    assert len({digest_json(value) for value in values}) == len(values)
