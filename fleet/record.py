"""Record demos of a simulated robot in its native log format: the one entry to the fleet.

The same robot, seed and size give the same bytes, and a shorter record is a prefix of a longer one.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from fleet import faults, robots
from fleet.episode import Episode, simulate
from fleet.record_aloha import AlohaRecorder
from fleet.record_bridge import BridgeRecorder
from fleet.record_droid import DroidRecorder
from fleet.record_lerobot import LeRobotRecorder
from fleet.record_lerobot_v30 import LeRobotV30Recorder
from fleet.record_mcap import McapRecorder
from fleet.record_rlds import RldsRecorder
from fleet.record_zarr import ZarrRecorder
from fleet.recording import Recorder, drawn, whole_folder
from fleet.robot import Robot
from schema.errors import ConfigError

ROBOTS: tuple[str, ...] = tuple(robots.ROBOTS)
"""Names of the robots that can be recorded."""

_WORTH_PROCESSES = 12
"""Episodes; for fewer, starting processes takes longer than it saves."""
_DRAW_THEMSELVES = {"mcap"}
"""Formats whose cameras have clocks of their own."""

Make: TypeAlias = Callable[[Robot, Path, int], Recorder]

FORMATS: Mapping[str, Make] = MappingProxyType(
    {
        "aloha_hdf5": lambda _, folder, size: AlohaRecorder(folder=folder, image_size=size),
        "bridge_raw": lambda robot, folder, size: BridgeRecorder(robot, folder=folder, image_size=size),
        "droid_raw": lambda robot, folder, size: DroidRecorder(robot, folder=folder, image_size=size),
        "lerobot_v21": lambda robot, folder, size: LeRobotRecorder(robot, folder=folder, image_size=size),
        "lerobot_v30": lambda robot, folder, size: LeRobotV30Recorder(robot, folder=folder, image_size=size),
        "mcap": lambda robot, folder, size: McapRecorder(robot=robot, folder=folder, image_size=size),
        "rlds": lambda robot, folder, size: RldsRecorder(robot, folder=folder, image_size=size),
        "zarr": lambda robot, folder, size: ZarrRecorder(robot, folder=folder, image_size=size),
    }
)
"""Native formats: a recorder for a robot, a folder and an image size."""


def record(
    robot: str,
    *,
    out: Path,
    num_episodes: int,
    seed: int,
    image_size: int = 224,
    log_format: str | None = None,
    fault: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Record episodes 0 to `num_episodes` - 1 of a robot into `<out>/<robot>` and return that folder.

    Pictures are `image_size` pixels high and wide. `log_format` is one of the robot's, by default its usual one;
    `fault` plants one of `faults.NAMES`. The folder appears when all episodes are written. `progress` is told how many
    episodes are done, of how many.

    Raises:
        ConfigError: the robot, format or fault is unknown, a number is out of range, or the folder already holds a
            dataset.
    """
    if robot not in robots.ROBOTS:
        raise ConfigError(f"there is no simulated robot {robot!r}; choose one of {ROBOTS}")
    if num_episodes < 1 or seed < 0 or image_size < 16:
        raise ConfigError(
            f"need num_episodes >= 1, seed >= 0 and image_size >= 16, found {num_episodes}, {seed} and {image_size}"
        )
    table = robots.ROBOTS[robot]
    log_format = log_format or table.log_formats[0]
    if log_format not in table.log_formats:
        raise ConfigError(f"{robot} is not recorded as {log_format!r}; choose one of {table.log_formats}")
    if fault is not None:
        faults.check(fault, table, log_format)
    folder = Path(out) / robot
    with whole_folder(folder) as unfinished:
        recorder = FORMATS[log_format](table, unfinished, image_size)
        drawn_size = None if log_format in _DRAW_THEMSELVES else image_size
        acted = _acted(table, seed=seed, num_episodes=num_episodes, fault=fault, image_size=drawn_size)
        for done, episode in enumerate(acted, start=1):
            recorder.write(episode)
            if progress is not None:
                progress(done, num_episodes)
        recorder.close()
        if fault == faults.CUT_FILE:
            faults.cut(unfinished, table, seed)
    return folder


def _acted(
    robot: Robot, *, seed: int, num_episodes: int, fault: str | None, image_size: int | None
) -> Iterator[Episode]:
    """The episodes in order; where they are many, processes of their own act and draw a few ahead of who writes."""
    act, numbers = partial(_act, robot, seed=seed, fault=fault, image_size=image_size), range(num_episodes)
    if num_episodes < _WORTH_PROCESSES:
        yield from map(act, numbers)
        return
    num_processes = os.cpu_count() or 1
    ahead: deque[Future[Episode]] = deque()
    with ProcessPoolExecutor(num_processes, mp_context=multiprocessing.get_context("spawn")) as processes:
        for number in numbers:
            ahead.append(processes.submit(act, number))
            if len(ahead) > 2 * num_processes:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _act(robot: Robot, index: int, *, seed: int, fault: str | None, image_size: int | None) -> Episode:
    """One episode with its fault, and its pictures drawn where they have a size."""
    episode = simulate(robot, seed=seed, index=index)
    if fault is not None:
        episode = faults.plant(fault, episode)
    return episode if image_size is None else drawn(episode, image_size=image_size)
