"""What the checks look at: a standardized episode, its pictures as thumbnails, and how fast both move.

Thumbnails are enough for motion and darkness.
"""
# Legend: T frames, D a signal's width.

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from schema.embodiment import Signal
from schema.episode import Episode, Picture

Floats = NDArray[np.float64]

_SIDE = 32
_FEWEST = 6
_STILL = 1e-9
_METRES_AS_RADIANS = 3.0
"""A metre of the tool moves a picture about as much as so many radians of a joint, a third of a metre from it."""
_MOVES = ("joint_position", "eef_position", "eef_rotation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One episode as the checks see it."""

    episode: Episode
    thumbnails: Mapping[str, NDArray[np.uint8]]
    """By camera, `[T, 32, 32]` of brightness."""

    @classmethod
    def of(cls, episode: Episode) -> "Sample":
        """The episode with its pictures decoded, small."""
        cameras = episode.cameras.items()
        small = {camera: np.stack([_thumbnail(picture) for picture in pictures]) for camera, pictures in cameras}
        return cls(episode=episode, thumbnails=small)

    def values(self, signal: Signal) -> Floats:
        """A signal `[T, D]` as float64; KeyError where the episode lacks it."""
        return self.episode.signals[signal.name].astype(np.float64)

    def signals(self, role: str) -> list[Signal]:
        """The table's signals of a role, "state" or "action", that the episode has."""
        table = self.episode.embodiment.signals
        return [s for s in table if s.name.startswith(f"{role}.") and s.name in self.episode.signals]

    def moves(self, part: str | None = None) -> Floats:
        """What every joint and tool of a part, or of the robot, does from each frame to the next: `[T - 1, D]`, rad."""
        chosen = [s for s in self.signals("state") if s.quantity in _MOVES and part in {None, s.part}]
        parts = [steps(self.values(s), s) * (_METRES_AS_RADIANS if s.units[0] == "m" else 1.0) for s in chosen]
        return np.hstack([np.zeros((self.episode.num_frames - 1, 0)), *parts])

    def speed(self, part: str | None = None) -> Floats:
        """How fast a part, or the robot, moves from each frame to the next: `[T - 1]`, rad per frame, summed."""
        speed_T: Floats = np.abs(self.moves(part)).sum(axis=1)
        return speed_T

    def ride(self) -> Floats:
        """How fast a driven base carries its cameras from each frame to the next, if there is one: as `speed`."""
        both = (*self.signals("state"), *self.signals("action"))
        ride_T = np.zeros(self.episode.num_frames - 1)
        for signal in [signal for signal in both if signal.quantity == "base_velocity"][:1]:
            scale_D = [_METRES_AS_RADIANS if unit == "m/s" else 1.0 for unit in signal.units]
            ride_T += np.abs(self.values(signal)[:-1] * scale_D).sum(axis=1) * np.diff(self.episode.timestamp_T)
        return ride_T

    def speed_before(self, camera: str) -> Floats:
        """The speed of what a camera sees move: its own arm for a wrist camera, else the whole robot; and its ride."""
        part = camera.removesuffix("_wrist")
        moves = {signal.part for signal in self.signals("state") if signal.quantity in _MOVES}
        return self.speed(part if camera.endswith("_wrist") and part in moves else None) + self.ride()

    def motion(self, camera: str, *, over: int = 1) -> Floats:
        """How much a camera's picture changes from each frame to the next, or over more: `[T - over]`, grey levels."""
        thumbs = self.thumbnails[camera].astype(np.int16)
        motion_T: Floats = np.abs(thumbs[over:] - thumbs[:-over]).mean(axis=(1, 2))
        return motion_T


def steps(values_TD: Floats, signal: Signal) -> Floats:
    """Change from each frame to the next `[T - 1, D]`; angles the short way round, quaternions up to sign."""
    change_TD: Floats = np.diff(values_TD, axis=0)
    if signal.rotation in {"euler_xyz", "rotation_vector"}:
        change_TD = (change_TD + np.pi) % (2 * np.pi) - np.pi
    elif signal.rotation in {"quaternion_xyzw", "quaternion_wxyz"}:
        is_flip_T = np.linalg.norm(change_TD, axis=1) > 1
        change_TD[is_flip_T] = -(values_TD[1:] + values_TD[:-1])[is_flip_T]
    return change_TD


def correlations(one_TD: Floats, other_TD: Floats) -> Floats:
    """Pearson's r per dimension `[D]`; 0 where either stands still, or too few frames would go together by chance."""
    if len(one_TD) < _FEWEST:
        return np.zeros(one_TD.shape[1])
    is_still_D = (np.ptp(one_TD, axis=0) < _STILL) | (np.ptp(other_TD, axis=0) < _STILL)
    one_TD, other_TD = one_TD - one_TD.mean(axis=0), other_TD - other_TD.mean(axis=0)
    spread_D = np.sqrt((one_TD**2).sum(axis=0) * (other_TD**2).sum(axis=0))
    together_D: Floats = (one_TD * other_TD).sum(axis=0) / np.where(is_still_D, 1.0, spread_D)
    return np.where(is_still_D, 0.0, together_D)


def correlation(one_T: Floats, other_T: Floats) -> float:
    """The same for a single dimension."""
    return float(correlations(one_T[:, None], other_T[:, None])[0])


def _thumbnail(picture: Picture) -> NDArray[np.uint8]:
    """A picture as 32 × 32 means of brightness."""
    grey = simplejpeg.decode_jpeg(picture.jpeg, colorspace="GRAY")[..., 0]
    return np.asarray(Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.BOX))
