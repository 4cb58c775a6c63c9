"""The schedule is exact at block ends, and within one of the share at every 1,024 slots."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import schedule
from curation.mixture import BLOCK, quotas
from curation.schedule import NUM_RUNS, RUN_SLOTS


@st.composite
def any_quotas(draw, max_components=60):
    """Quotas of a mixture from even to extremely skewed, where many components may get one slot a block."""
    count = draw(st.integers(1, max_components))
    skew = draw(st.sampled_from([0.0, 1.0, 5.0, 20.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    extra_C = quotas(np.exp(skew * rng.random(count)) + 1e-4 * np.exp(skew), [""] * count, block=BLOCK - count)
    return extra_C + 1


def frames_of(quota_C, seed=0):
    return (10 ** np.random.default_rng(seed).uniform(0, 6, quota_C.size)).astype(np.int64)


@settings(deadline=None, max_examples=40)
@given(any_quotas())
def test_counts_are_within_one_of_the_share_at_every_run_end(quota_C):
    count_RC = schedule.counts(quota_C)

    share_RC = np.arange(NUM_RUNS + 1)[:, None] * quota_C  # in units of 1 / 1,024 slot
    assert (np.abs(count_RC * RUN_SLOTS - share_RC) < RUN_SLOTS).all()
    assert (np.diff(count_RC, axis=0) >= 0).all()
    assert np.array_equal(count_RC.sum(axis=1), np.arange(NUM_RUNS + 1) * RUN_SLOTS)
    assert np.array_equal(count_RC[-1], quota_C)


@pytest.mark.parametrize("count", [1, 2, 3, 1000, 1024, 3000])
def test_counts_hold_for_equal_quotas_and_for_more_components_than_slots_in_a_run(count):
    quota_C = quotas(np.ones(count), [""] * count)
    share_RC = np.arange(NUM_RUNS + 1)[:, None] * quota_C
    assert (np.abs(schedule.counts(quota_C) * RUN_SLOTS - share_RC) < RUN_SLOTS).all()


@settings(deadline=None, max_examples=8)
@given(any_quotas(), st.sampled_from([1, 2, 64]), st.integers(0, 2**63))
def test_slots_ranks_and_lanes_agree_with_a_plain_count(quota_C, lanes, seed):
    frames_C = frames_of(quota_C)
    plan = schedule.build(quota_C, frames_C, seed=seed, lanes=lanes)

    component_B = plan.component_K[plan.component_lane_B]
    lanes_C = np.bincount(plan.component_K)
    assert np.array_equal(np.bincount(component_B), quota_C)
    assert np.array_equal(plan.lane_K[plan.component_lane_B], np.arange(BLOCK) % lanes_C[component_B])
    assert np.array_equal(np.bincount(plan.component_lane_B), plan.quota_K)
    order_B = np.argsort(plan.component_lane_B, kind="stable")
    restarts_K = np.cumsum(plan.quota_K) - plan.quota_K
    assert np.array_equal(plan.rank_B[order_B], np.arange(BLOCK) - np.repeat(restarts_K, plan.quota_K))


@settings(deadline=None, max_examples=8)
@given(any_quotas(), st.sampled_from([2, 64, 1024]), st.integers(0, 2**32))
def test_lanes_partition_the_frames_of_a_component_in_proportion_to_their_slots(quota_C, lanes, seed):
    frames_C = frames_of(quota_C, seed)
    plan = schedule.build(quota_C, frames_C, seed=seed, lanes=lanes)

    lanes_C = np.bincount(plan.component_K)
    assert (lanes_C <= np.maximum(1, np.minimum(lanes, -(-frames_C // 32)))).all()
    assert (plan.num_frames_K >= 1).all()
    assert (plan.quota_K >= 1).all()
    assert np.array_equal(np.bincount(plan.component_K, plan.num_frames_K), frames_C)
    end_K = plan.first_frame_K + plan.num_frames_K
    assert (plan.first_frame_K == np.where(plan.lane_K == 0, 0, np.roll(end_K, 1))).all()
    exact_K = frames_C[plan.component_K] * plan.quota_K / quota_C[plan.component_K]
    assert (np.abs(plan.num_frames_K - exact_K) < 1).all()


def test_lanes_are_halved_until_none_is_without_slots():
    plan = schedule.build(np.array([BLOCK - 3, 3]), np.array([10**6, 10**6]), seed=0, lanes=64)
    assert np.bincount(plan.component_K)[0] == 64
    assert np.bincount(plan.component_K)[1] <= 2


def test_the_seed_shuffles_within_runs_only():
    quota_C = quotas([3, 2, 1], ["a", "b", "c"])
    one, other = (schedule.component_of_slot(quota_C, seed).reshape(NUM_RUNS, RUN_SLOTS) for seed in (1, 2))
    assert not np.array_equal(one, other)
    assert np.array_equal(np.sort(one, axis=1), np.sort(other, axis=1))


def test_a_component_is_spread_evenly_inside_its_runs():
    # A component with a third of the slots: gaps between its slots are near geometric, as in a true shuffle.
    component_B = schedule.component_of_slot(quotas([2, 1], ["a", "b"]), 0)
    gap = np.diff(np.flatnonzero(component_B == 1))
    expected = gap.size * (1 / 3) * (2 / 3) ** np.arange(6)
    assert np.bincount(gap)[1:7] == pytest.approx(expected, rel=0.02)
