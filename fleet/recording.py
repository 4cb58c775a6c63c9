"""What every native format shares: pictures of an episode, and files that appear whole or not at all."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import simplejpeg

from fleet.episode import Episode
from fleet.renderer import Renderer
from schema.errors import ConfigError

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"

_JPEG_QUALITY = 95
EPOCH_S = 1_767_225_600
"""Where logs that need a date begin: 2026-01-01 00:00 UTC; an episode every minute."""


class Recorder(Protocol):
    """Writes episodes of one dataset in a native format, in the order of their index."""

    def write(self, episode: Episode) -> None:
        """Add an episode."""

    def close(self) -> None:
        """Write what describes the dataset as a whole; nothing may follow."""


def pictures(episode: Episode, camera: str, *, image_size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """What a camera's picture of each step shows: RGB, (image_size, image_size, 3)."""
    if camera in episode.drawn:
        yield from episode.drawn[camera]
        return
    renderer = Renderer(episode.robot, episode.scene, camera=camera, height=image_size, width=image_size)
    step_T = episode.picture_T[camera]
    yield from renderer.frames(episode.trajectory.at(step_T))


def drawn(episode: Episode, *, image_size: int) -> Episode:
    """The episode with the pictures of all cameras."""
    cameras = (camera.name for camera in episode.robot.cameras)
    films = {name: np.stack([*pictures(episode, name, image_size=image_size)]) for name in cameras}
    return replace(episode, drawn=films)


def as_jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    """The picture as a JPEG."""
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(picture), quality=_JPEG_QUALITY, colorsubsampling="420"
    )
    return encoded


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when all went well and is removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """As `whole_file`, for a folder.

    Raises:
        ConfigError: `path` already holds something.
    """
    if path.exists() and any(path.iterdir()):
        raise ConfigError(f"a dataset is already there; remove it or record elsewhere: {path}")
    partial = path.with_name(f".partial-{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def json_line(value: object) -> str:
    """One line of JSON with sorted keys, so that equal values are equal bytes."""
    return json.dumps(value, sort_keys=True, allow_nan=False) + "\n"
