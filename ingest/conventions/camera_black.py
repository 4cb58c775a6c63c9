"""Cameras that see nothing: black pictures throughout. Odd where a log may lack the camera, else against the table."""
# Legend: E episodes.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.sample import Floats, Sample
from schema.embodiment import Embodiment

NAME = "camera_black"

_BLACK = "black_camera"
"""Why `ingest.standard_pictures` takes a camera as absent that is black in every frame of an episode."""
_BLACK_BELOW = 8.0
"""Grey levels: a thumbnail without one so high is black."""
_ALL, _NONE = 0.9, 0.02


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """Per camera: the share of black pictures."""
    for camera, thumbs in sample.thumbnails.items():
        yield camera, (float(np.mean(thumbs.max(axis=(1, 2)) < _BLACK_BELOW)),)
    for camera, reason in sample.episode.absent_cameras.items():
        if reason == _BLACK:
            yield camera, (1.0,)


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:
    """Every episode's share; a camera that the binding lets a log lack may be black."""
    votes = [_vote(share) for share in measures_EK[:, 0].tolist()]
    share = float(measures_EK[:, 0].mean())
    may_lack = any(subject in binding.optional_cameras for binding in embodiment.sources.values())
    return counted(
        votes,
        check=NAME,
        subject=subject,
        measured=share,
        agrees="sees something",
        contradicts=f"black in {share:.0%} of the pictures",
        unsure=f"black in {share:.0%} of the pictures",
        severity="noticed" if may_lack else "contradicts",
    )


def _vote(share: float) -> int:
    return AGAINST if share >= _ALL else AGREES if share <= _NONE else UNDECIDED
