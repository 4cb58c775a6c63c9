"""Every check, and what a check is: a module that measures one episode, and judges what many episodes measured.

Workers gather; a few numbers per episode and subject travel; the driver judges. A new check is one more file here.
"""
# Legend: E episodes, K measures of one check.

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from ingest.conventions import (
    action_mode,
    action_scale,
    arms,
    camera_black,
    camera_frozen,
    dead_dimension,
    gaps,
    gripper_sign,
    image_lag,
    rate,
    rotation_order,
    units,
)
from ingest.conventions.finding import Finding
from ingest.conventions.sample import Floats, Sample
from schema.embodiment import Embodiment

Measures = Mapping[tuple[str, str], tuple[float, ...]]
"""One episode's numbers by (check, subject)."""


class Check(Protocol):
    """What each check's module is."""

    NAME: str

    def gather(self, sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
        """What one episode says, by subject: as many numbers for a subject in every episode of a source."""

    def judge(self, subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:
        """What the episodes that had the subject say of it together."""


CHECKS: Mapping[str, Check] = {
    check.NAME: check
    for check in (
        gripper_sign,
        action_mode,
        action_scale,
        arms,
        units,
        rotation_order,
        rate,
        gaps,
        image_lag,
        dead_dimension,
        camera_black,
        camera_frozen,
    )
}


def gather(sample: Sample) -> Measures:
    """All that one episode says."""
    return {
        (name, subject): tuple(map(float, measures))
        for name, check in CHECKS.items()
        for subject, measures in check.gather(sample)
    }


def judge(episodes: Sequence[Measures], embodiment: Embodiment) -> tuple[Finding, ...]:
    """All findings about a source, in the order of the checks."""
    keys = sorted({key for measures in episodes for key in measures}, key=lambda key: (list(CHECKS).index(key[0]), key))
    return tuple(
        CHECKS[name].judge(
            subject,
            np.array([measures[name, subject] for measures in episodes if (name, subject) in measures]),
            embodiment,
        )
        for name, subject in keys
    )
