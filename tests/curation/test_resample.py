"""Actions of one rate as chunks of another: by kind of dimension, exact at the own rate, masked where a step would
reach past the end."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.chunks import chunk_rule, gather, write_chunk
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from curation.resample import frames_for, ratio, recorded_steps, resample
from curation.select import select
from schema.embodiment import load_embodiment, parse_embodiment
from schema.errors import ConfigError
from tests.curation.test_chunks import ABSOLUTE_ROTATION, dimensions

RATES = st.sampled_from([3.0, 3.75, 5.0, 10.0, 12.5, 15.0, 20.0, 30.0, 50.0])


def rule_of(name, q, *, steps, space=None):
    state, action = dimensions(name, space)
    return chunk_rule(action, state, "stored", ratio=q, steps=steps), action


def recorded(frames, width, seed=0):
    return np.random.default_rng(seed).normal(size=(frames, width))


@settings(deadline=None, max_examples=50)
@given(RATES, st.integers(1, 20), st.integers(1, 30))
def test_resampling_to_the_own_rate_is_the_identity(rate, steps, frames):
    q = ratio(rate, rate)
    plain, action = rule_of("mobile_trossen", Fraction(1), steps=steps)
    same, _ = rule_of("mobile_trossen", q, steps=steps)
    action_TD = recorded(frames, len(action))
    starts = np.arange(frames)
    for one, other in zip(
        gather(action_TD, starts, steps=steps, stop=frames, rule=plain),
        gather(action_TD, starts, steps=steps, stop=frames, rule=same),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert ratio(rate, None) == q == 1


def naive(action_TD, start, *, stop, q, steps, action):
    """Step by step, from the words of the rule."""
    out_HD, mask_H = np.zeros((steps, len(action))), np.zeros(steps, bool)
    for h in range(steps):
        begin = start + h * q
        mask_H[h] = begin + max(1, q) <= stop
        for d, one in enumerate(action):
            values = action_TD[:, d]
            if not mask_H[h]:
                out_HD[h, d] = values[stop - 1] if one.signal.mode == "absolute" or one.is_gripper else 0
            elif one.is_gripper:
                out_HD[h, d] = values[int(begin)]
            elif one.signal.mode == "absolute":
                out_HD[h, d] = np.interp(float(begin), np.arange(stop), values[:stop])
            else:
                whole = sum(
                    values[frame] * float(min(begin + q, frame + 1) - max(begin, frame))
                    for frame in range(int(begin), ceil(begin + q))
                )
                out_HD[h, d] = whole if one.signal.mode == "delta" else whole / float(q)
    return out_HD, mask_H


@settings(deadline=None, max_examples=80)
@given(
    robot=st.sampled_from([("mobile_trossen", None), ("widowx", None), ("franka_droid", "joint_velocity")]),
    rates=st.tuples(RATES, RATES),
    steps=st.integers(1, 12),
    frames=st.integers(1, 60),
    where=st.tuples(st.integers(0, 50), st.integers(1, 60)),
)
def test_a_resampled_chunk_follows_the_rule_of_each_dimension_and_its_mask_the_end(robot, rates, steps, frames, where):
    q = ratio(*rates)
    rule, action = rule_of(robot[0], q, steps=steps, space=robot[1])
    start, stop = min(where[0], frames - 1), min(where[1], frames)
    if start >= stop:
        start, stop = 0, frames
    action_TD = recorded(frames, len(action))

    action_BHD, mask_BH = gather(action_TD, [start], steps=steps, stop=stop, rule=rule)
    out_HD = np.empty((steps, len(action)), np.float32)
    count = write_chunk(out_HD, action_TD.astype(np.float32), start, stop=stop, rule=rule)

    expected_HD, expected_mask_H = naive(action_TD, start, stop=stop, q=q, steps=steps, action=action)
    np.testing.assert_array_equal(mask_BH[0], expected_mask_H)
    np.testing.assert_allclose(action_BHD[0], expected_HD, atol=1e-9)
    np.testing.assert_allclose(out_HD, expected_HD, atol=1e-5)
    assert count == expected_mask_H.sum()


@settings(deadline=None, max_examples=100)
@given(RATES, RATES, st.integers(1, 60), st.integers(1, 300))
def test_so_many_frames_are_the_fewest_for_which_so_many_steps_are_recorded(source, chunk, steps, frames):
    q = ratio(source, chunk)
    assert recorded_steps(frames_for(steps, q), q) >= steps > recorded_steps(frames_for(steps, q) - 1, q)
    found = recorded_steps(frames, q)
    assert found == 0 or frames_for(found, q) <= frames < frames_for(found + 1, q)


@settings(deadline=None, max_examples=40)
@given(RATES, RATES, st.integers(1, 30))
def test_deltas_keep_their_total_and_velocities_their_mean_over_whole_steps(source, chunk, steps):
    q = ratio(source, chunk)
    action = dimensions("widowx")[1]
    resampling = resample(action, q, steps=steps)
    if resampling is None:
        return
    frames = ceil(steps * q) + 2
    action_KD = recorded(frames, len(action))
    total_D = resampling(action_KD, steps)[:, :6].sum(axis=0)
    cumulative = np.concatenate([np.zeros((1, 6)), np.cumsum(action_KD[:, :6], axis=0)])
    whole = [np.interp(float(steps * q), np.arange(frames + 1), cumulative[:, d]) for d in range(6)]
    np.testing.assert_allclose(total_D, whole, atol=1e-9)


def test_a_straight_line_stays_one_and_a_gripper_holds_its_last_command():
    rule, action = rule_of("ur5e", ratio(20, 50), steps=5)
    action_TD = np.linspace(0, 1, 11)[:, None] * np.ones(len(action))
    action_TD[:, -1] = np.arange(11) % 2
    chunk_HD = gather(action_TD, [0], steps=5, stop=11, rule=rule)[0][0]
    assert chunk_HD[:, 0] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert chunk_HD[:, -1].tolist() == [0, 0, 0, 1, 1]


def test_an_absolute_rotation_cannot_be_resampled_and_a_small_turn_can():
    table = parse_embodiment(ABSOLUTE_ROTATION, where="test")
    action = table.dimensions(("action.eef_rotation",))
    with pytest.raises(ConfigError, match=r"action\.eef_rotation\.x.*take `rate_hz` out of `chunk`"):
        resample(action, Fraction(2), steps=3)
    assert resample(action, Fraction(1), steps=3) is None
    widowx = load_embodiment("widowx")
    assert resample(widowx.dimensions(("action.eef_rotation",)), Fraction(2), steps=3) is not None


def test_one_rate_for_all_lets_robots_of_several_rates_be_mixed_without_a_tag_where_the_rest_agrees(lake):
    text = "name: x\nsources: [{source: tiny}]\nlayout: semantic\n"
    with pytest.raises(ConfigError, match=r"at 20 Hz for 'ur5e"):
        select(parse_recipe(text), lake)
    assert len(select(parse_recipe(text + "chunk: {seconds: 0.5, rate_hz: 10}\n"), lake).candidates) == 4


def test_statistics_are_those_of_the_resampled_chunks(lake):
    text = "name: x\nsources: [{source: tiny, where: \"embodiment = 'bimanual_trossen'\"}]\n"
    lock = make_lock(parse_recipe(text + "chunk: {seconds: 0.2, rate_hz: 20}\n"), lake)
    assert (lock.chunk_steps, lock.chunk_rate_hz) == (4, 20)
    assert {one.stats_key for one in lock.components} == {"bimanual_trossen/joint_position/50hz/stored/4@20hz"}
    # 25 frames at 50 Hz, 2.5 of them a step: 23 starts have one step recorded, 21 two, 18 three, 16 four.
    count = next(row["count"] for row in lock.stats.to_pylist() if row["role"] == "action")
    assert count == 8 * (23 + 21 + 18 + 16)
    assert lock.runs["stop"].to_pylist() == [23] * 8
    assert lock.runs["chunk_stop"].to_pylist() == [25] * 8


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        ("{seconds: 1}", "a chunk in seconds needs the rate of its steps"),
        ("{seconds: 1, rate_hz: 12.5}", "1 s at 12.5 Hz are 12.5 steps: expected a whole number"),
        ("{seconds: 1, rate_hz: 10, steps: 20}", "no other number of `steps` beside it"),
        ("{seconds: -1, rate_hz: 10}", "chunk.seconds: found -1"),
        ("{rate_hz: fast}", "chunk.rate_hz: found 'fast'"),
    ],
)
def test_a_chunk_that_is_no_whole_number_of_steps_is_refused(chunk, expected):
    with pytest.raises(ConfigError) as caught:
        parse_recipe(f"name: x\nsources: [{{source: tiny}}]\nchunk: {chunk}\n")
    assert "line 3, chunk" in str(caught.value)
    assert expected in str(caught.value)
