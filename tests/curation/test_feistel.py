"""Keyed permutations are bijections, keys matter, and small domains are as mixed as large ones."""

from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import feistel


def excess(observed, expected):
    """Chi-square statistic in standard deviations above its mean; about normal for honest counts."""
    free = observed.size - 1
    return (((observed - expected) ** 2 / expected).sum() - free) / np.sqrt(2 * free)


@pytest.mark.parametrize("first", range(1, 601, 100))
def test_permute_is_a_bijection_of_every_small_domain(first):
    size = np.repeat(np.arange(first, first + 100), np.arange(first, first + 100))
    index = np.concatenate([np.arange(n) for n in range(first, first + 100)])

    image = feistel.permute(index, size, feistel.key(5, size))

    order = np.lexsort((image, size))
    assert np.array_equal(image[order], index)
    assert np.array_equal(feistel.invert(image, size, feistel.key(5, size)), index)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, feistel.MAX_SIZE - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32))
def test_invert_undoes_permute_in_large_domains_with_a_size_and_key_per_element(size, key, salt):
    sizes = np.maximum(1, size >> (np.arange(500) % 40))
    index = (np.random.default_rng(salt).random(500) * sizes).astype(np.int64)
    keys = feistel.key(key, np.arange(500))

    image = feistel.permute(index, sizes, keys)

    assert (image >= 0).all()
    assert (image < sizes).all()
    assert np.array_equal(feistel.invert(image, sizes, keys), index)


def test_an_element_does_not_depend_on_the_others_in_the_call():
    index, size, key = np.arange(300), np.arange(1, 301), feistel.key(1, np.arange(300))
    one_by_one = [int(feistel.permute(i, n, k)) for i, n, k in zip(index, size, key, strict=True)]
    assert feistel.permute(index, size, key).tolist() == one_by_one


def test_shapes_broadcast_and_are_kept():
    image = feistel.permute(np.arange(6)[None], 6, feistel.key(0, np.arange(4))[:, None])
    assert image.shape == (4, 6)
    assert np.array_equal(np.sort(image, axis=1), np.tile(np.arange(6), (4, 1)))


def test_nothing_in_gives_nothing_out():
    assert feistel.permute(np.zeros(0, np.int64), 5, 1).shape == (0,)


def test_different_keys_give_different_orders():
    image = feistel.permute(np.arange(600)[None], 600, feistel.key(0, np.arange(50))[:, None])
    assert len({row.tobytes() for row in image}) == 50


def test_a_key_depends_on_the_seed_and_on_every_part_in_its_place():
    keys = [feistel.key(*parts) for parts in ((0, 1, 2), (0, 2, 1), (1, 1, 2), (0, 1), (0, 1, 3), (2**64 - 1, 1, 2))]
    assert len({int(key) for key in keys}) == len(keys)
    assert feistel.key(7, np.arange(3), 5)[2] == feistel.key(feistel.key(7, 2), 5)


def test_key_values_are_pinned():
    # A change here changes the order of every lock ever made.
    assert int(feistel.key(1, 2, 3)) == 7521888212171461645
    assert feistel.permute(np.arange(8), 8, 42).tolist() == [2, 7, 1, 6, 5, 0, 4, 3]
    assert feistel.permute(np.arange(5), 10**12, 42).tolist() == [
        373953410148,
        611503937706,
        632748275114,
        648792263600,
        616338684610,
    ]


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7])
def test_every_permutation_of_a_tiny_domain_is_equally_likely(size):
    trials = 100_000
    image = feistel.permute(np.arange(size)[None], size, feistel.key(11, np.arange(trials))[:, None])
    _, observed = np.unique(image @ size ** np.arange(size), return_counts=True)
    assert observed.size == factorial(size)
    assert excess(observed, trials / factorial(size)) < 4


@pytest.mark.parametrize("size", [8, 9, 16, 31, 32, 33, 64, 65, 100, 128, 600])
def test_two_neighbours_go_anywhere_in_a_small_domain(size):
    trials = 200_000
    key = feistel.key(13, np.arange(trials))
    first, second = feistel.permute(0, size, key), feistel.permute(1, size, key)
    assert excess(np.bincount(first, minlength=size), trials / size) < 4
    assert excess(np.bincount((second - first) % size, minlength=size)[1:], trials / (size - 1)) < 4
