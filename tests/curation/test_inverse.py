"""The positions of a frame are exactly those at which the order draws it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.inverse import positions_of
from curation.mixture import BLOCK, quotas, weights
from curation.order import Order


def make_order(frames, *, seed=0, lanes=1, window=3):
    frames_C = np.array(frames)
    names = [str(number) for number in range(len(frames))]
    quota_C = quotas(weights(frames_C, np.ones(len(frames)), 0.5), names)
    return Order(num_frames_C=frames_C, quota_C=quota_C, window_C=np.full(len(frames), window), seed=seed, lanes=lanes)


def brute_force(order, component, frames, start, stop):
    samples = order.samples(np.arange(start, stop))
    hit = (samples.component == component) & np.isin(samples.frame, frames)
    return samples.position[hit], samples.frame[hit]


@settings(max_examples=15, deadline=None)
@given(
    frames=st.lists(st.integers(1, 3000), min_size=1, max_size=4),
    seed=st.integers(0, 2**63 - 1),
    lanes=st.sampled_from([1, 4, 64]),
    window=st.integers(1, 40),
    data=st.data(),
)
def test_the_inverse_finds_what_a_walk_finds(frames, seed, lanes, window, data):
    order = make_order(frames, seed=seed, lanes=lanes, window=window)
    component = data.draw(st.integers(0, len(frames) - 1))
    first = data.draw(st.integers(0, frames[component] - 1))
    asked = np.arange(first, min(first + 70, frames[component]))
    start = data.draw(st.integers(0, 2 * BLOCK))
    stop = start + data.draw(st.integers(0, 20_000))
    expected = brute_force(order, component, asked, start, stop)
    found = positions_of(order, component, asked, start=start, stop=stop)
    assert found[0].tolist() == expected[0].tolist()
    assert found[1].tolist() == expected[1].tolist()


def test_every_frame_comes_once_an_epoch():
    order = make_order([1000], window=5)
    positions, frames = positions_of(order, 0, np.arange(1000), stop=3000)
    assert positions.tolist() == list(range(3000))
    assert np.bincount(frames).tolist() == [3] * 1000


@pytest.mark.parametrize("stop", [0, 1])
def test_a_short_sequence_has_few_answers(stop):
    assert len(positions_of(make_order([500]), 0, np.arange(500), stop=stop)[0]) == stop


def test_the_cost_does_not_grow_with_the_sequence():
    order = make_order([10**8, 10**8])
    positions, _ = positions_of(order, 1, np.arange(300), stop=10**9)
    assert len(positions) == 1500
    samples = order.samples(positions)
    assert set(samples.component.tolist()) == {1}
    assert samples.frame.max() < 300
