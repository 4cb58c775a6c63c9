"""How an action goes with the state that it should bring about: as the state itself, its change, or its velocity.

Compared by correlation per moving dimension, over lags from 0 to half a second, so that offsets (an arm that sags) and
scales do not matter; the ratio of spreads then tells changes per step from velocities, and one unit from another.
"""
# Legend: T frames, D a signal's width, M moving dimensions.

from typing import NamedTuple

import numpy as np

from ingest.conventions.sample import Floats, Sample, correlations, steps
from schema.embodiment import Embodiment, Quantity, Signal

_REACHED: dict[Quantity, Quantity] = {
    "joint_position": "joint_position",
    "joint_velocity": "joint_position",
    "eef_position": "eef_position",
    "eef_linear_velocity": "eef_position",
    "eef_rotation": "eef_rotation",
    "eef_angular_velocity": "eef_rotation",
    "finger_position": "finger_position",
}
_LONGEST_LAG_S = 0.5
_STILL = {"rad": 0.01, "m": 0.003, "1": 0.02}
"""A state dimension whose standard deviation stays below tells nothing (rad, m, 1)."""


class Reach(NamedTuple):
    """One action signal against one state signal, over one episode; means over the dimensions that move."""

    moving: int
    as_state: float
    """Correlation of the action with the state, at the lag where it is highest; 0 where nothing moves."""
    as_change: float
    """Correlation of the action with the state's change per frame, likewise."""
    state_as_change: float
    """Correlation of the state with the action's change per frame: the two have changed places."""
    state_scale: float
    """Spread of the action over the spread of the state."""
    change_scale: float
    """Spread of the action over the spread of the state's change per frame."""
    lag: float
    """Frames from the action to what it resembles most, in the better of the two ways."""


def reached_by(embodiment: Embodiment, action: Signal) -> Signal | None:
    """The state signal that an action moves: of the same part, quantity and width; None where that is not one."""
    quantity = _REACHED.get(action.quantity)
    found = [
        signal
        for signal in embodiment.signals
        if signal.name.startswith("state.")
        and (signal.part, signal.quantity, signal.width) == (action.part, quantity, action.width)
    ]
    namesakes = [signal for signal in found if signal.name == action.name.replace("action.", "state.", 1)]
    chosen = namesakes or found
    return chosen[0] if len(chosen) == 1 else None


def compare(sample: Sample, action: Signal, state: Signal) -> Reach:
    """How this episode's action and state go together."""
    action_TD, state_TD = sample.values(action), sample.values(state)
    change_TD = steps(state_TD, state)
    if state.rotation in {"euler_xyz", "rotation_vector"}:
        state_TD = np.vstack([state_TD[:1], state_TD[:1] + np.cumsum(change_TD, axis=0)])
        if action.mode == "absolute":
            action_TD = np.unwrap(action_TD, axis=0)
    floor = np.array([_STILL.get(unit, 0.0) for unit in state.units])
    moving = np.flatnonzero((state_TD.std(axis=0) > floor) & (np.ptp(action_TD, axis=0) > 1e-9))
    if not moving.size:
        return Reach(
            moving=0, as_state=0, as_change=0, state_as_change=0, state_scale=1, change_scale=1, lag=float("nan")
        )
    action_TM, state_TM, change_TM = action_TD[:, moving], state_TD[:, moving], change_TD[:, moving]
    longest = max(1, min(round(_LONGEST_LAG_S * sample.episode.embodiment.rate_hz), len(action_TD) // 5))
    as_state, state_lag = _best(action_TM, state_TM, longest)
    as_change, change_lag = _best(action_TM[:-1], change_TM, longest)
    back, _ = _best(state_TM[:-1], np.diff(action_TM, axis=0), longest)
    return Reach(
        moving=len(moving),
        as_state=as_state,
        as_change=as_change,
        state_as_change=back,
        state_scale=float(np.median(action_TM.std(axis=0) / state_TM.std(axis=0))),
        change_scale=float(np.median(action_TM.std(axis=0) / np.maximum(change_TM.std(axis=0), 1e-12))),
        lag=state_lag if as_state >= as_change else change_lag,
    )


def _best(action_TM: Floats, reached_TM: Floats, longest: int) -> tuple[float, int]:
    """Highest mean correlation over lags, reached after acted, and its lag in frames."""
    every = [
        float(correlations(action_TM[: len(action_TM) - lag], reached_TM[lag:]).mean()) for lag in range(longest + 1)
    ]
    return max(every), int(np.argmax(every))
