"""Numbers in order have keys in order, and an interval holds exactly what its bin does."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from curation.histogram import BINS, Bins, Interval, key_of, number_of, rank_of, seek

LARGEST = float(np.finfo(np.float32).max)
numbers = st.floats(-LARGEST, LARGEST)


def bins(low, high):
    return Bins(low_D=np.array([low]), high_D=np.array([high]))


@given(numbers, numbers)
def test_keys_keep_the_order_of_numbers_and_lead_back_to_them(a, b):
    assert (key_of(a) < key_of(b)) == (a < b)
    assert number_of(key_of(a)) == a


def test_zero_of_either_sign_has_key_zero_and_neighbours_are_next_to_it():
    assert [key_of(x) for x in (-5e-324, -0.0, 0.0, 5e-324)] == [-1, 0, 0, 1]


@given(st.lists(numbers, min_size=2, max_size=50), st.data())
def test_the_interval_of_a_bin_holds_exactly_the_values_of_the_bin(values, data):
    value_N = np.array(values)
    assume(value_N.min() < value_N.max())
    some = bins(value_N.min(), value_N.max())
    bin_N = some.of(value_N, 0)
    one = data.draw(st.sampled_from(bin_N.tolist()))
    np.testing.assert_array_equal(some.interval(one, 0).inside(value_N), bin_N == one)


@given(st.lists(numbers, min_size=1, max_size=50))
def test_stretches_of_an_interval_hold_exactly_their_values(values):
    value_N = np.array(values)
    whole = Interval(low=value_N.min(), high=value_N.max())
    bin_N = whole.bins(value_N)
    assert ((bin_N >= 0) & (bin_N < BINS)).all()
    for one in set(bin_N.tolist()):
        np.testing.assert_array_equal(whole.stretch(one).inside(value_N), bin_N == one)


@given(numbers, numbers)
def test_four_cuts_end_at_one_number(a, b):
    interval = Interval(low=min(a, b), high=max(a, b))
    for _ in range(4):
        interval = interval.stretch(int(interval.bins(np.array([a]))[0]))
    assert interval.low == interval.high == a


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20).filter(any), st.data())
def test_a_rank_is_found_in_the_bin_of_that_value(counts, data):
    values = [bin_index for bin_index, count in enumerate(counts) for _ in range(count)]
    rank = data.draw(st.integers(1, len(values)))
    found = seek(np.array(counts), rank)
    assert found.bin_index == values[rank - 1]
    assert values.index(found.bin_index) + found.rank == rank


@pytest.mark.parametrize(("total", "rank"), [(1, 1), (99, 1), (100, 1), (101, 2), (200, 2)])
def test_the_rank_of_the_first_percent_is_the_smallest_that_has_it(total, rank):
    assert rank_of((1, 100), total) == rank
