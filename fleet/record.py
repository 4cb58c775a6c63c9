"""Record demos of a simulated robot in its native log format: the one entry to the fleet.

The same robot, seed and size give the same bytes, and a shorter record is a prefix of a longer one.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
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
from fleet.recording import Recorder, whole_folder
from fleet.robot import Robot
from schema.errors import ConfigError

ROBOTS: tuple[str, ...] = tuple(robots.ROBOTS)
"""Names of the robots that can be recorded."""

_WORTH_A_PROCESS = 12
"""Episodes; for fewer, starting a process takes longer than it saves."""

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
        for done, episode in enumerate(_simulated(table, seed=seed, num_episodes=num_episodes), start=1):
            recorder.write(episode if fault is None else faults.plant(fault, episode))
            if progress is not None:
                progress(done, num_episodes)
        recorder.close()
        if fault == faults.CUT_FILE:
            faults.cut(unfinished, table, seed)
    return folder


def _simulated(robot: Robot, *, seed: int, num_episodes: int) -> Iterator[Episode]:
    """The episodes in order; many are acted out by a process of its own, ahead of who draws and writes them."""
    act, everything = partial(_simulate, robot, seed), range(num_episodes)
    if num_episodes < _WORTH_A_PROCESS:
        yield from map(act, everything)
        return
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as ahead:
        yield from ahead.map(act, everything)


def _simulate(robot: Robot, seed: int, index: int) -> Episode:
    return simulate(robot, seed=seed, index=index)
