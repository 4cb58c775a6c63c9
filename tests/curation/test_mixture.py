"""Shares follow size and boost; quotas are exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.mixture import BLOCK, quotas, weights
from schema.errors import ConfigError


def names(count):
    return [f"component {c}" for c in range(count)]


@pytest.mark.parametrize(("alpha", "small_share"), [(0.0, 0.5), (1.0, 0.1), (0.43, 1 / (1 + 9**0.43))])
def test_alpha_moves_shares_from_uniform_to_proportional(alpha, small_share):
    assert weights([10, 90], [1, 1], alpha)[0] == pytest.approx(small_share)


def test_boost_multiplies_a_weight_and_zero_leaves_the_component_out():
    assert weights([10, 10, 10], [1, 3, 0], 0.43) == pytest.approx([0.25, 0.75, 0])


def test_a_component_without_frames_has_no_share_even_with_alpha_zero():
    assert weights([10, 0], [1, 1], 0.0).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("num_frames", "boost", "alpha", "message"),
    [
        ([], [], 0.43, "no components"),
        ([10, -1], [1, 1], 0.43, "num_frames of component 1 is -1"),
        ([10, 1], [1, -2], 0.43, "boost of component 1 is -2"),
        ([10, 1], [np.nan, 1], 0.43, "boost of component 0 is nan"),
        ([10, 1], [0, 0], 0.43, "sum to 0"),
        ([0, 0], [1, 1], 0.43, "sum to 0"),
        ([10, 1], [1], 0.43, "same length"),
        ([10, 1], [1, 1], -1, "alpha is -1"),
    ],
)
def test_numbers_that_give_no_share_are_refused(num_frames, boost, alpha, message):
    with pytest.raises(ConfigError, match=message):
        weights(num_frames, boost, alpha)


def test_every_problem_is_in_one_message():
    with pytest.raises(ConfigError, match=r"(?s)alpha.*component 0 is -1.*component 1 is -5"):
        weights([-1, 1], [1, -5], np.inf)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(1, 1e3), min_size=1, max_size=300))
def test_quotas_sum_to_the_block_and_are_within_one_of_the_exact_share(shares):
    quota_C = quotas(shares, names(len(shares)))

    exact_C = np.array(shares) / sum(shares) * BLOCK
    assert quota_C.dtype == np.int64
    assert quota_C.sum() == BLOCK
    assert np.abs(quota_C - exact_C).max() < 1 + 1e-6


def test_equal_remainders_are_settled_in_the_order_given():
    assert quotas([1, 1, 1], names(3), block=8).tolist() == [3, 3, 2]


def test_a_component_that_would_never_be_drawn_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"'component 1' \(share 1e-08\).*raise their boost or floor"):
        quotas([1, 1e-8], names(2))


@pytest.mark.parametrize("shares", [[0, 0], [1, -1], [np.nan, 1], []])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ConfigError, match="take them from weights"):
        quotas(shares, names(len(shares)))


def test_shares_need_one_name_each():
    with pytest.raises(ConfigError, match="one share per name"):
        quotas([0.5, 0.5], names(3))
