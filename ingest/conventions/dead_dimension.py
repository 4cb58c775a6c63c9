"""Dimensions that never change, in any episode: unused, or a broken encoder where their command does change."""
# Legend: E episodes, D a signal's width.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import Finding, lower_bound
from ingest.conventions.reach import reached_by
from ingest.conventions.sample import Floats, Sample
from schema.embodiment import Embodiment

NAME = "dead_dimension"

_SAME = 1e-6
_COMMANDED = 0.05
"""A command that moves by so much (rad, m, 1) must move what it commands."""


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """Per signal and dimension: lowest, highest, and how much its command moves (NaN where nothing commands it)."""
    table = sample.episode.embodiment
    actions = [(reached_by(table, action), action) for action in sample.signals("action") if action.mode == "absolute"]
    commands = {state.name: action for state, action in actions if state is not None}
    for signal in (*sample.signals("state"), *sample.signals("action")):
        values_TD, command = sample.values(signal), commands.get(signal.name)
        is_told = command is not None and signal.quantity != "finger_position"
        told_D = np.ptp(sample.values(command), axis=0) if command and is_told else np.full(signal.width, np.nan)
        yield signal.name, (*values_TD.min(axis=0), *values_TD.max(axis=0), *told_D)


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:
    """Constant over all episodes is noticed; constant against a moving command contradicts the table."""
    signal = embodiment.signal(subject)
    low_ED, high_ED, told_ED = np.split(measures_EK, 3, axis=1)
    span_D = high_ED.max(axis=0) - low_ED.min(axis=0)
    dead = span_D <= _SAME * np.maximum(1, np.abs(high_ED).max(axis=0))
    defied_E = (dead & (np.nan_to_num(told_ED) > _COMMANDED)).any(axis=1)
    sure = lower_bound(int(defied_E.sum()), int(defied_E.sum()))
    names = ", ".join(np.array(signal.dims)[dead])
    told = f"{int(dead.sum())} of {signal.width} never change: {names}" if dead.any() else "every dimension moves"
    is_broken = sure > 0.5
    return Finding(
        check=NAME,
        subject=subject,
        status="contradicts" if is_broken else "noticed" if dead.any() else "agrees",
        confidence=sure if is_broken else lower_bound(len(measures_EK), len(measures_EK)),
        episodes=len(measures_EK),
        against=int(defied_E.sum()),
        measured=float(dead.sum()),
        message=f"{told}, though they are told to (in {int(defied_E.sum())} episodes)" if is_broken else told,
    )
