"""Chunks read what follows, end by the rule, and the delta form is undone exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.chunks import ChunkRule, chunk_rows, chunk_rule, from_delta, gather, to_delta, write_chunk
from schema.embodiment import Signal, load_embodiment, parse_embodiment
from schema.errors import ConfigError


def dimensions(name, space=None):
    table = load_embodiment(name)
    chosen = table.action_space(space)
    return table.dimensions(chosen.state), table.dimensions(chosen.action)


def naive_chunk(action_TD, start, *, steps, stop, repeats_D):
    rows, mask = [], []
    for step in range(start, start + steps):
        mask.append(step < stop)
        rows.append(action_TD[step] if step < stop else np.where(repeats_D, action_TD[stop - 1], 0))
    return np.stack(rows), np.array(mask)


@st.composite
def episodes(draw):
    frames, dims = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    stop = draw(st.integers(1, frames))
    starts = draw(st.lists(st.integers(0, stop - 1), max_size=6))
    repeats_D = np.array(draw(st.lists(st.booleans(), min_size=dims, max_size=dims)))
    return random.normal(size=(frames, dims)).astype(np.float32), np.array(starts, int), stop, repeats_D


@settings(deadline=None)
@given(episodes(), st.integers(1, 15))
def test_a_chunk_is_what_follows_and_then_the_end_rule(episode, steps):
    action_TD, starts, stop, repeats_D = episode
    rule = ChunkRule(repeats_D=repeats_D, origin_D=np.full(len(repeats_D), -1))

    action_BHD, mask_BH = gather(action_TD, starts, steps=steps, stop=stop, rule=rule)

    assert action_BHD.shape == (len(starts), steps, action_TD.shape[1])
    assert action_BHD.dtype == action_TD.dtype
    for row, start in enumerate(starts):
        expected, mask = naive_chunk(action_TD, start, steps=steps, stop=stop, repeats_D=repeats_D)
        np.testing.assert_array_equal(action_BHD[row], expected)
        np.testing.assert_array_equal(mask_BH[row], mask)


@settings(deadline=None)
@given(episodes(), st.integers(1, 15))
def test_one_chunk_written_in_place_is_the_gathered_one(episode, steps):
    action_TD, starts, stop, repeats_D = episode
    rule = ChunkRule(repeats_D=repeats_D, origin_D=np.full(len(repeats_D), -1))
    gathered_BHD, mask_BH = gather(action_TD, starts, steps=steps, stop=stop, rule=rule)

    for row, start in enumerate(starts):
        out_HD = np.full_like(gathered_BHD[row], np.nan)
        assert write_chunk(out_HD, action_TD, int(start), stop=stop, rule=rule) == mask_BH[row].sum()
        np.testing.assert_array_equal(out_HD, gathered_BHD[row])


@settings(deadline=None)
@given(episodes(), st.integers(1, 5), st.integers(0, 1000))
def test_the_delta_form_is_undone(episode, steps, seed):
    action_TD, starts, stop, repeats_D = episode
    random = np.random.default_rng(seed)
    action_TD = action_TD.astype(np.float64)
    state_BS = random.normal(size=(len(starts), 3))
    rule = ChunkRule(repeats_D=repeats_D, origin_D=random.integers(-1, 3, len(repeats_D)))
    stored, _ = gather(action_TD, starts, steps=steps, stop=stop, rule=rule)

    delta = to_delta(stored, state_BS, rule)

    np.testing.assert_allclose(from_delta(delta, state_BS, rule), stored, atol=1e-12)
    np.testing.assert_array_equal(delta[..., ~rule.is_delta], stored[..., ~rule.is_delta])


def test_each_start_may_have_an_end_of_its_own():
    rows, mask = chunk_rows([0, 4], 3, [2, 6])
    assert rows.tolist() == [[0, 1, 1], [4, 5, 5]]
    assert mask.tolist() == [[True, True, False], [True, True, False]]


def test_joints_and_grippers_repeat_and_base_velocities_stop():
    state, action = dimensions("mobile_trossen")
    assert chunk_rule(action, state, "stored").repeats_D.tolist() == [True] * 14 + [False] * 2


def test_the_delta_form_changes_joints_and_passes_grippers_and_velocities_through():
    state, action = dimensions("mobile_trossen")
    origin_D = chunk_rule(action, state, "delta").origin_D.tolist()
    assert origin_D == [0, 1, 2, 3, 4, 5, -1, 7, 8, 9, 10, 11, 12, -1, -1, -1]


def test_the_stored_form_changes_nothing():
    state, action = dimensions("ur5e")
    assert not chunk_rule(action, state, "stored").is_delta.any()


def test_actions_that_are_deltas_already_pass_through_rotations_among_them():
    state, action = dimensions("widowx")
    rule = chunk_rule(action, state, "delta")
    assert not rule.is_delta.any()
    assert rule.repeats_D.tolist() == [False] * 6 + [True]


def test_a_state_in_another_frame_is_not_subtracted():
    state, action = dimensions("ur5e")
    moved = [
        type(one)(signal=Signal.model_validate(one.signal.model_dump() | {"frame": "tool"}), index=one.index)
        for one in state
    ]
    assert not chunk_rule(action, moved, "delta").is_delta.any()


ABSOLUTE_ROTATION = """
name = "turner"
title = "An arm told by its hand's pose"
rate_hz = 10
default_action_space = "pose"
[[signals]]
name = "state.eef_rotation"
part = "left"
quantity = "eef_rotation"
unit = "rad"
frame = "base"
mode = "absolute"
rotation = "rotation_vector"
dims = ["x", "y", "z"]
[[signals]]
name = "action.eef_rotation"
part = "left"
quantity = "eef_rotation"
unit = "rad"
frame = "base"
mode = "absolute"
rotation = "rotation_vector"
dims = ["x", "y", "z"]
[[action_spaces]]
name = "pose"
state = ["state.eef_rotation"]
action = ["action.eef_rotation"]
"""


def test_the_delta_form_of_an_absolute_rotation_is_refused_by_name():
    table = parse_embodiment(ABSOLUTE_ROTATION, where="test")
    state, action = table.dimensions(("state.eef_rotation",)), table.dimensions(("action.eef_rotation",))
    with pytest.raises(ConfigError, match=r"action\.eef_rotation\.x.*action_form: stored"):
        chunk_rule(action, state, "delta")
    assert chunk_rule(action, state, "stored").repeats_D.all()
