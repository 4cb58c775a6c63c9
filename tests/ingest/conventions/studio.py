"""Logs of the simulated fleet with and without a fault: each robot acts once, and each moment is drawn once."""
# Legend: T steps.

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fleet.episode import simulate
from fleet.faults import CUT_FILE, cut, plant
from fleet.record import FORMATS
from fleet.renderer import Renderer
from fleet.robots import ROBOTS
from fleet.trajectory import Trajectory

SEED = 0


class Studio:
    """Records native logs of chosen episodes of each robot."""

    def __init__(self, folder: Path, *, episodes: Mapping[str, Sequence[int]], image_size: int) -> None:
        self._folder, self._image_size = folder, image_size
        self.acted = cache(lambda robot: [simulate(ROBOTS[robot], seed=SEED, index=index) for index in episodes[robot]])
        """A robot's episodes as they really were."""

    def log(self, robot: str, form: str, fault: str | None = None) -> Path:
        """The folder of a robot's log in a native format, written anew where it is not there yet."""
        folder = self._folder / str(fault) / form / robot
        if folder.exists():
            return folder
        folder.mkdir(parents=True)
        recorder = FORMATS[form](ROBOTS[robot], folder, self._image_size)
        for episode in self.acted(robot):
            recorder.write(episode if fault is None else plant(fault, episode))
        recorder.close()
        if fault == CUT_FILE:
            cut(folder, ROBOTS[robot], SEED)
        return folder

    def frozen_camera(self, robot: str) -> str:
        """Which camera `frozen_camera` freezes."""
        clean = self.acted(robot)[0]
        frozen = plant("frozen_camera", clean).picture_T
        return next(name for name in frozen if not np.array_equal(frozen[name], clean.picture_T[name]))


def draw_once(patch: pytest.MonkeyPatch) -> None:
    """Make renderers remember every moment of a scene that they have drawn."""
    draw = Renderer.frames
    drawn: dict[tuple[object, ...], np.ndarray] = {}

    def frames(self: Renderer, trajectory: Trajectory) -> Iterator[np.ndarray]:
        view = (id(self._scene), self._camera.name, self._size)
        moments = [(*view, key) for key in _keys(trajectory)]
        new = {moment: step for step, moment in reversed(list(enumerate(moments))) if moment not in drawn}
        steps = sorted(new.values())
        if steps:
            pictures = draw(self, trajectory.at(np.array(steps, float)))
            drawn.update({moments[step]: picture for step, picture in zip(steps, pictures, strict=True)})
        yield from (drawn[moment] for moment in moments)

    patch.setattr(Renderer, "frames", frames)


def _keys(trajectory: Trajectory) -> list[bytes]:
    """What there is to draw at each step."""
    fields = [getattr(trajectory, name) for name in Trajectory.__dataclass_fields__]
    return [row.tobytes() for row in np.hstack([field.reshape(len(trajectory), -1) for field in fields])]
