"""JSON of whole columns is, byte for byte, what the standard library would write row by row."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schema.json_text import JSON, json_columns, json_format

DTYPES = ["bool", "int8", "uint64", ">i2", "float16", "float32", ">f4", "float64"]
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)


def json_rows(values):
    rows = zip(*json_columns(values), strict=True) if values[:1].size else [()] * len(values)
    return [json_format(values.shape[1:]) % row for row in rows]


def row_by_row(values):
    is_unsayable = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    return [JSON.encode(row) for row in np.ma.masked_array(values, is_unsayable).tolist()]


@settings(deadline=None)
@given(values=st.tuples(st.sampled_from(DTYPES), SHAPES).flatmap(lambda both: hnp.arrays(*both)))
@example(values=np.array([[1.0, -0.0], [1e-4, 9.99e-5], [1e15, 1e16], [np.nan, -np.inf]]))
def test_rows_of_any_shape_and_type_are_spelled_as_the_standard_library_does(values):
    assert json_rows(values) == row_by_row(values)


@pytest.mark.parametrize("bits", ["uint16", "uint32", "uint64"])
def test_any_float_is_spelled_as_the_standard_library_does(bits):
    whole = np.random.default_rng(0).integers(0, np.iinfo(bits).max, (20_000, 2), dtype=bits)
    values = whole.view(bits.replace("uint", "float"))
    assert json_rows(values) == row_by_row(values)


@pytest.mark.parametrize("exponent", range(-8, 23))
def test_floats_of_every_everyday_size_are_spelled_as_the_standard_library_does(exponent):
    values = np.random.default_rng(0).normal(size=500) * 10.0**exponent
    assert json_rows(values) == row_by_row(values)
    assert json_rows(np.round(values)) == row_by_row(np.round(values))


def test_words_are_quoted_one_by_one():
    assert json_rows(np.array([['say "π"'], ["b"]])) == [r'["say \"π\""]', '["b"]']
