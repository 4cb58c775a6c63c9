"""Noise is a function of (seed, position, purpose), and what it claims to be."""

import numpy as np
import pytest

from training.randomness import NOISE, TIME, normal, stratified, uniform

POSITIONS = np.arange(2000)


def test_a_samples_noise_does_not_depend_on_its_batch():
    together = normal(7, POSITIONS, purpose=NOISE, shape=(5, 3))
    alone = normal(7, POSITIONS[1234:1235], purpose=NOISE, shape=(5, 3))

    np.testing.assert_array_equal(together[1234], alone[0])


@pytest.mark.parametrize(("seed", "purpose"), [(8, NOISE), (7, TIME)])
def test_another_seed_or_purpose_is_other_noise(seed, purpose):
    ours = normal(7, POSITIONS, purpose=NOISE, shape=(4,))
    theirs = normal(seed, POSITIONS, purpose=purpose, shape=(4,))

    assert abs(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]) < 0.05


def test_normal_numbers_have_mean_0_and_deviation_1_and_are_uncorrelated():
    found = normal(0, POSITIONS, purpose=NOISE, shape=(6,))

    assert found.mean() == pytest.approx(0, abs=0.03)
    assert found.std() == pytest.approx(1, abs=0.03)
    assert np.abs(np.corrcoef(found.T) - np.eye(6)).max() < 0.1


def test_uniform_numbers_lie_inside_0_and_1():
    found = uniform(0, POSITIONS, purpose=TIME, numbers=3)

    assert 0 < found.min() < 0.01
    assert 0.99 < found.max() < 1
    assert found.mean() == pytest.approx(0.5, abs=0.02)


def test_stratified_numbers_lie_one_in_each_part_and_are_uniform_as_a_whole():
    found = stratified(0, POSITIONS, purpose=TIME, numbers=4)

    np.testing.assert_array_equal((found * 4).astype(int), np.tile(np.arange(4), (len(POSITIONS), 1)))
    assert np.histogram(found, bins=20, range=(0, 1))[0] == pytest.approx(np.full(20, found.size / 20), rel=0.2)


def test_a_mean_over_stratified_numbers_varies_less_than_over_independent_ones():
    ours, theirs = (draw(0, POSITIONS, purpose=TIME, numbers=4).mean(axis=1) for draw in (stratified, uniform))

    assert ours.std() < 0.3 * theirs.std()
