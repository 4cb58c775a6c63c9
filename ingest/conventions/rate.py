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

_NEAR, _FAR = 0.1, 0.15
"""The median step within the first share of the table's agrees; beyond the second it is another rate."""
_EVEN = 1e-3
"""Steps that differ by less than so much of themselves were computed from a frame number, not measured."""


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """The median rate, and whether the steps are too even to be measured."""
    step_T = np.diff(sample.episode.timestamp_T)
    yield "clock", (1 / float(np.median(step_T)), float(np.ptp(step_T) < _EVEN * np.median(step_T)))


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:
    """Every episode's median rate against the table's."""
    claimed, rate = embodiment.rate_hz, float(np.median(measures_EK[:, 0]))
    return counted(
        [_vote(rate / claimed, is_even=bool(even)) for rate, even in measures_EK.tolist()],
        check=NAME,
        subject=subject,
        measured=rate,
        agrees=f"the clock runs at {rate:.4g} Hz, as it should",
        contradicts=f"the table says {claimed:g} Hz, the log's clock runs at {rate:.4g} Hz",
        unsure="timestamps are frame numbers over a rate, or run close to the table's",
    )


def _vote(ratio: float, *, is_even: bool) -> int:
    """Timestamps that are too even cannot agree, and can still be of another rate."""
    if max(ratio, 1 / ratio) - 1 > _FAR:
        return AGAINST
    return AGREES if abs(ratio - 1) <= _NEAR and not is_even else UNDECIDED
