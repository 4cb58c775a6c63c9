"""Whether actions are in the state's unit: the spread of one over the spread of the other should be about one."""
# Legend: E episodes, K measures.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.reach import compare, reached_by
from ingest.conventions.sample import Floats, Sample
from schema.embodiment import Embodiment

NAME = "action_scale"

_SURE = 0.7
_NEAR, _FAR = 2.0, 5.0
"""Within the first factor of one it agrees; beyond the second it is another unit; between, nobody can tell."""


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """Per action signal: the correlation by the table's mode, and the spread ratio that should be one."""
    step_s = float(np.median(np.diff(sample.episode.timestamp_T)))
    for action in sample.signals("action"):
        state = reached_by(sample.episode.embodiment, action)
        if state is None or state.name not in sample.episode.signals or action.quantity == "finger_position":
            continue  # fingers are asked for more than they can reach, to hold things
        if action.unit == "1" != state.unit:
            continue  # the table claims no scale: a controller's own units
        reach = compare(sample, action, state)
        if action.mode == "absolute":
            yield action.name, (reach.as_state, reach.state_scale)
        else:
            per_step = step_s if action.mode == "velocity" else 1.0
            yield action.name, (reach.as_change, reach.change_scale * per_step)


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:
    """Every episode's ratio against one."""
    claimed = embodiment.signal(subject)
    ratios = [scale for fit, scale in measures_EK.tolist() if fit >= _SURE]
    votes = [_vote(scale) if fit >= _SURE else UNDECIDED for fit, scale in measures_EK.tolist()]
    ratio = float(np.median(ratios)) if ratios else None
    return counted(
        votes,
        check=NAME,
        subject=subject,
        measured=ratio,
        agrees=f"{ratio or 0:.3g} times what the state does, as {claimed.unit} should be",
        contradicts=f"the table says {claimed.unit} like the state, the action is {ratio or 0:.3g} times what it does",
        unsure="cannot tell the action's unit from the state",
    )


def _vote(scale: float) -> int:
    off = max(scale, 1 / max(scale, 1e-12))
    return AGREES if off <= _NEAR else AGAINST if off >= _FAR else UNDECIDED
