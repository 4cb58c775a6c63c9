"""Faults planted in a log: what was recorded is wrong in one way, and nothing in the log says so.

Each changes the numbers, times or pictures of a simulated episode, or cuts a written file; what really happened stays.
Where and how much is drawn by (fault, robot, seed, episode), so that the same log is wrong in the same way.
Legend: T steps, D state or action width.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from fleet.episode import Episode
from fleet.robot import Robot
from schema.errors import ConfigError

Recorded = npt.NDArray[np.float32]

_DROPPED_SHARE = 0.12
_DRIFT = 0.08
_LAG_S = (0.3, 0.4)
_FROZEN_FROM_SHARE = (0.1, 0.3)
_CUT_SHARE = (0.3, 0.7)
CUT_FILE = "cut_file"
_CLOCKLESS = ("aloha_hdf5", "rlds")


def plant(fault: str, episode: Episode) -> Episode:
    """The episode with a fault in what a log says of it; `cut_file` changes nothing before it is written."""
    if fault == CUT_FILE:
        return episode
    return FAULTS[fault](episode, _random(fault, episode.robot, seed=episode.seed, index=episode.index))


def check(fault: str, robot: Robot, log_format: str) -> None:
    """Whether a fault can be planted in a robot's log.

    Raises:
        ConfigError: no such fault, or this robot or format has nothing that could be wrong in that way.
    """
    if fault not in NAMES:
        raise ConfigError(f"there is no fault {fault!r}; choose one of {NAMES}")
    if fault == "arms_swapped" and len(robot.mounts) < 2:
        raise ConfigError(f"arms_swapped needs two arms and {robot.name} has one: choose another fault or robot")
    if fault == "clock_drift" and log_format in _CLOCKLESS:
        raise ConfigError(f"clock_drift needs time stamps and {log_format} has none: choose another fault or format")


def cut(folder: Path, robot: Robot, seed: int) -> Path:
    """Cut off the end of one of a log's larger files; gives back which."""
    rng = _random(CUT_FILE, robot, seed=seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    largest = max(path.stat().st_size for path in files)
    big = [path for path in files if path.stat().st_size > largest / 2]
    picked = big[int(rng.integers(len(big)))]
    keep = round(picked.stat().st_size * rng.uniform(*_CUT_SHARE))
    with picked.open("r+b") as stream:
        stream.truncate(keep)
    return picked


def _random(fault: str, robot: Robot, *, seed: int, index: int = 0) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(f"{fault}/{robot.name}".encode()), seed, index])


def _gripper_inverted(episode: Episode, _: np.random.Generator) -> Episode:
    """Grippers, measured and commanded, as if 1 were open where the format says closed, and the reverse."""
    return replace(
        episode,
        state_TD=_turned(episode, episode.state_TD),
        action_TD=_turned(episode, episode.action_TD),
        velocity_TD=_mirrored(episode, episode.velocity_TD),
        effort_TD=_mirrored(episode, episode.effort_TD),
    )


def _gripper_command_inverted(episode: Episode, _: np.random.Generator) -> Episode:
    """Commanded grippers the other way round than measured ones."""
    return replace(episode, action_TD=_turned(episode, episode.action_TD))


def _arms_swapped(episode: Episode, _: np.random.Generator) -> Episode:
    """The left arm's numbers where the right one's belong, and the reverse; pictures as they are."""
    robot = episode.robot
    order = [0] * len(robot.action_names)
    for arm in (0, 1):
        here, there = (slice(robot.joints_of(k).start, robot.gripper_of(k) + 1) for k in (arm, 1 - arm))
        order[here] = range(there.start, there.stop)
    width = len(robot.names)
    order[width:] = range(width, len(order))
    return replace(
        episode,
        state_TD=episode.state_TD[:, order[:width]],
        action_TD=episode.action_TD[:, order],
        velocity_TD=episode.velocity_TD[:, order[:width]],
        effort_TD=episode.effort_TD[:, order[:width]],
    )


def _degrees(episode: Episode, _: np.random.Generator) -> Episode:
    """Joint angles, and rates and tool angles where they are logged, in degrees."""
    return replace(
        episode,
        radian=float(np.degrees(1)),
        state_TD=_in_degrees(episode, episode.state_TD),
        action_TD=_in_degrees(episode, episode.action_TD),
        velocity_TD=_in_degrees(episode, episode.velocity_TD),
    )


def _dropped_frames(episode: Episode, rng: np.random.Generator) -> Episode:
    """Steps are missing here and there, alone and a few together; clocks go on."""
    num_steps = len(episode)
    is_kept = np.ones(num_steps, bool)
    while is_kept.mean() > 1 - _DROPPED_SHARE:
        start = int(rng.integers(1, num_steps - 1))
        is_kept[start : min(start + int(rng.integers(1, 6)), num_steps - 1)] = False
    kept = np.flatnonzero(is_kept)
    return replace(
        episode,
        trajectory=episode.trajectory.at(kept.astype(float)),
        command_TD=episode.command_TD[kept],
        true_T=episode.true_T[kept],
        time_T=episode.time_T[kept],
        picture_T={name: np.arange(len(kept), dtype=float) for name in episode.picture_T},
        state_TD=episode.state_TD[kept],
        action_TD=episode.action_TD[kept],
        velocity_TD=episode.velocity_TD[kept],
        effort_TD=episode.effort_TD[kept],
    )


def _clock_drift(episode: Episode, _: np.random.Generator) -> Episode:
    """The clock that stamps the steps runs fast."""
    return replace(episode, time_T=episode.time_T * (1 + _DRIFT))


def _image_lag(episode: Episode, _: np.random.Generator) -> Episode:
    """Every camera shows what was about a third of a second ago."""
    lag = max(1.0, float(np.round(_uniform_of_seed(episode, *_LAG_S) * episode.robot.rate_hz)))
    shown = {name: np.maximum(step_T - lag, 0.0) for name, step_T in episode.picture_T.items()}
    return replace(episode, picture_T=shown)


def _frozen_camera(episode: Episode, rng: np.random.Generator) -> Episode:
    """One camera, the same in all episodes, shows the same picture from some step on."""
    name = episode.robot.cameras[int(_uniform_of_seed(episode, 0, len(episode.robot.cameras)))].name
    last = float(np.floor(rng.uniform(*_FROZEN_FROM_SHARE) * len(episode)))
    return replace(episode, picture_T={**episode.picture_T, name: np.minimum(episode.picture_T[name], last)})


def _uniform_of_seed(episode: Episode, low: float, high: float) -> float:
    """One number for all episodes of a log."""
    return float(_random("log", episode.robot, seed=episode.seed).uniform(low, high))


def _grippers(episode: Episode) -> list[int]:
    return [episode.robot.gripper_of(arm) for arm in range(len(episode.robot.mounts))]


def _turned(episode: Episode, values_TD: Recorded) -> Recorded:
    turned = values_TD.copy()
    turned[:, _grippers(episode)] = 1 - turned[:, _grippers(episode)]
    return turned


def _mirrored(episode: Episode, values_TD: Recorded) -> Recorded:
    mirrored = values_TD.copy()
    mirrored[:, _grippers(episode)] *= -1
    return mirrored


def _in_degrees(episode: Episode, values_TD: Recorded) -> Recorded:
    turned = values_TD.copy()
    for arm in range(len(episode.robot.mounts)):
        turned[:, episode.robot.joints_of(arm)] *= np.degrees(1)
    return turned


FAULTS: Mapping[str, Callable[[Episode, np.random.Generator], Episode]] = MappingProxyType(
    {
        "gripper_inverted": _gripper_inverted,
        "gripper_command_inverted": _gripper_command_inverted,
        "arms_swapped": _arms_swapped,
        "degrees": _degrees,
        "dropped_frames": _dropped_frames,
        "clock_drift": _clock_drift,
        "image_lag": _image_lag,
        "frozen_camera": _frozen_camera,
    }
)
NAMES: tuple[str, ...] = (*FAULTS, CUT_FILE)
"""Every fault that can be planted."""
