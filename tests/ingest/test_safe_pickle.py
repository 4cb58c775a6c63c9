"""Pickles as data: what numpy and Python's containers write comes back, everything else is refused by name."""

import contextlib
import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ingest.formats.pickled_streams import streams_of
from ingest.formats.safe_pickle import load_pickle
from schema.errors import EpisodeError

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
DTYPES = st.sampled_from(["<f8", ">f4", "<i2", "|b1", "|u1", "<f2", "<U3", "|S2", "<c8"])


class Program:
    """Runs a command where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch /tmp/never",)


def refusal(content):
    with pytest.raises(EpisodeError) as caught:
        load_pickle(content, file="traj0/obs_dict.pkl")
    assert "traj0/obs_dict.pkl" in str(caught.value)
    return caught.value.reason, str(caught.value)


@given(PLAIN, st.integers(0, 5))
def test_containers_of_plain_values_come_back(value, protocol):
    assert load_pickle(pickle.dumps(value, protocol), file="f") == value


@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)), st.integers(0, 5))
def test_arrays_come_back_with_type_and_shape(array, protocol):
    found = np.asarray(load_pickle(pickle.dumps({"a": array}, protocol), file="f")["a"])

    assert (found.dtype.newbyteorder("="), found.shape) == (array.dtype.newbyteorder("="), array.shape)
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        np.float64(2.5),
        np.zeros((2, 3), order="F"),
        [np.arange(7.0)] * 3,
        OrderedDict(a=1),
        {1, 2},
        frozenset({3}),
        3 + 2j,
    ],
    ids=lambda value: type(value).__name__,
)
def test_scalars_and_other_containers_come_back(value, protocol):
    np.testing.assert_equal(load_pickle(pickle.dumps(value, protocol), file="f"), value)


@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
def test_both_names_of_numpys_core_are_known(module):
    written = pickle.dumps(np.arange(3.0), 2)
    assert b"numpy._core" in written

    found = load_pickle(written.replace(b"numpy._core", module), file="f")

    np.testing.assert_array_equal(found, np.arange(3.0))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Program(), "posix.system"),
        (np.random.default_rng(0), "numpy.random"),
        (np.zeros(2, [("a", "f8")]), "dtype 'V8'"),
        (bytearray(b"x"), "bytearray"),
        (pytest.raises, "raises"),
        (slice(3), "builtins.slice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_is_refused_by_name(value, name):
    reason, message = refusal(pickle.dumps([1, value], 4))
    assert reason == "refused_pickle"
    assert name in message


def test_nothing_is_run(monkeypatch):
    content = pickle.dumps(Program())
    monkeypatch.setattr(os, "system", lambda command: pytest.fail(f"ran {command}"))
    assert refusal(content)[0] == "refused_pickle"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 10**12) + b"x.",  # bytes of a terabyte
        b"\x80\x05\x96" + struct.pack("<Q", 10**12) + b"x.",  # a bytearray of a terabyte
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",  # a frame without end
        b"\x80\x04Nr" + struct.pack("<I", 2**31) + b".",  # a memo place that wants 32 GB of places before it
        b"cnumpy\nndarray\n((I1000000000000\ntS'f8'\ntR.",  # an array made by its class
        pickle.dumps(np.zeros(4), 4).replace(
            b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"
        ),  # 16 GB of shape, 32 bytes of data
        pickle.dumps(np.zeros(4), 5).replace(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"),
    ],
)
def test_sizes_that_the_bytes_do_not_hold_are_refused_before_memory_is_taken(content):
    tracemalloc.start()
    try:
        reason, _ = refusal(content)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert reason in {"refused_pickle", "unreadable_pickle"}


@pytest.mark.parametrize("target", [b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n"])
def test_a_pickle_cannot_change_what_reads_the_next_one(target):
    assert refusal(b"\x80\x02" + target + b"}X\x05\x00\x00\x00plainK\x01sb.")[0] == "refused_pickle"
    np.testing.assert_array_equal(load_pickle(pickle.dumps(np.ones(2), 2), file="f"), [1, 1])


@given(st.binary(max_size=80))
@example(b"M\x00\xff")  # a number, by chance
def test_any_bytes_are_plain_values_or_an_error_of_the_file(noise):
    with contextlib.suppress(EpisodeError):
        value = load_pickle(noise + b".", file="f")
        assert value is None or type(value).__module__ in {"builtins", "collections"}


def test_a_cut_pickle_is_unreadable():
    whole = pickle.dumps({"a": np.arange(100.0)})
    assert refusal(whole[: len(whole) // 2])[0] == "unreadable_pickle"


def test_streams_are_arrays_by_path_and_none_for_what_is_no_stream():
    value = {
        "pose": np.zeros((3, 2)),
        "rows": [np.ones(2)] * 3,
        "lists": [[1, 2], [3, 4]],
        "times": [0.1, 0.2],
        "name": "x",
        "ragged": [np.ones(2), np.ones(3)],
        "inner": {"flag": [True, False], "count": 3},
    }

    found = streams_of(value, name="obs", file="f")

    assert {path for path, values in found.items() if values is None} == {"obs/name", "obs/ragged", "obs/inner/count"}
    assert {path: values.shape for path, values in found.items() if values is not None} == {
        "obs/pose": (3, 2),
        "obs/rows": (3, 2),
        "obs/lists": (2, 2),
        "obs/times": (2,),
        "obs/inner/flag": (2,),
    }


def test_a_list_of_dicts_becomes_a_stream_for_each_key_that_all_have():
    steps = [{"actions": np.full(7, step), "kind": "vr"} for step in range(3)]
    steps[1]["odd"] = 1.0

    found = streams_of(steps, name="policy", file="f")

    np.testing.assert_array_equal(found["policy/actions"][:, 0], [0, 1, 2])
    assert found["policy/kind"] is None
    assert found["policy/odd"] is None


@pytest.mark.parametrize("levels", [2, 40])
def test_one_thing_many_times_over_is_counted_before_it_is_made(levels):
    value = [np.zeros(100_000)] * 1000
    for _ in range(levels):
        value = dict.fromkeys(range(100), value)

    with pytest.raises(EpisodeError, match="traj0") as caught:
        streams_of({"a": value, "b": [np.zeros(1_000_000)] * 1000}, name="obs", file="traj0/obs_dict.pkl")
    assert caught.value.reason == "absurd_size"
