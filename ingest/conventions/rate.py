"""Whether the log's clock runs at the table's rate.

Timestamps that were computed from a frame number (by the log, or for one that has none) cannot agree: they prove
nothing but the rate that the log says it has, which may still be another than the table's.
"""
# Legend: E episodes.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.sample import Floats, Sample
from schema.embodiment import Embodiment

NAME = "rate"

_NEAR, _FAR = 0.05, 0.15
"""The median step within the first share of the table's agrees; beyond the second it is another rate. Between lie
loops that run late and clocks that drift: noticed."""
_EVEN = 1e-3
"""Steps that differ by less than so much of themselves were computed from a frame number, not measured."""


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """The median rate, and whether the steps are too even to be measured."""
    step_T = np.diff(sample.episode.timestamp_T)
    yield "clock", (1 / float(np.median(step_T)), float(np.ptp(step_T) < _EVEN * np.median(step_T)))


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:
    """Every episode's median rate against the table's."""
    claimed, rate = embodiment.rate_hz, float(np.median(measures_EK[:, 0]))
    is_another = _off(rate / claimed) > _FAR
    limit = _FAR if is_another else _NEAR
    runs = f"the table says {claimed:g} Hz, the log's clock runs at {rate:.4g} Hz"
    return counted(
        [_vote(rate / claimed, is_even=bool(even), limit=limit) for rate, even in measures_EK.tolist()],
        check=NAME,
        subject=subject,
        measured=rate,
        agrees=f"the clock runs at {rate:.4g} Hz, as it should",
        contradicts=runs if is_another else f"{runs}: a loop that runs late, or a clock that drifts",
        unsure="timestamps are frame numbers over a rate, or run close to the table's",
        severity="contradicts" if is_another else "noticed",
    )


def _vote(ratio: float, *, is_even: bool, limit: float) -> int:
    """Timestamps that are too even cannot agree, and can still be of another rate."""
    if _off(ratio) > limit:
        return AGAINST
    return AGREES if _off(ratio) <= _NEAR and not is_even else UNDECIDED


def _off(ratio: float) -> float:
    return max(ratio, 1 / ratio) - 1
