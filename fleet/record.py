"""Record demos of a simulated robot in its native log format: the one entry to the fleet.

The same robot, seed and size give the same bytes, and a shorter record is a prefix of a longer one.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from fleet import robots
from fleet.episode import simulate
from fleet.record_aloha import AlohaRecorder
from fleet.record_lerobot import LeRobotRecorder
from fleet.recording import Recorder, whole_folder
from fleet.robot import Robot
from schema.errors import ConfigError

ROBOTS: tuple[str, ...] = tuple(robots.ROBOTS)
"""Names of the robots that can be recorded."""

FORMATS: Mapping[str, Callable[[Robot, Path, int], Recorder]] = MappingProxyType(
    {
        "aloha_hdf5": lambda _, folder, image_size: AlohaRecorder(folder=folder, image_size=image_size),
        "lerobot_v21": lambda robot, folder, image_size: LeRobotRecorder(robot, folder=folder, image_size=image_size),
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
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Record episodes 0 to `num_episodes` - 1 of a robot into `<out>/<robot>` and return that folder.

    Pictures are `image_size` pixels high and wide. The folder appears when all episodes are written.
    `progress` is told how many episodes are done, of how many.

    Raises:
        ConfigError: the robot is unknown, a number is out of range, or the folder already holds a dataset.
    """
    if robot not in robots.ROBOTS:
        raise ConfigError(f"there is no simulated robot {robot!r}; choose one of {ROBOTS}")
    if num_episodes < 1 or seed < 0 or image_size < 16:
        raise ConfigError(
            f"need num_episodes >= 1, seed >= 0 and image_size >= 16, found {num_episodes}, {seed} and {image_size}"
        )
    table = robots.ROBOTS[robot]
    folder = Path(out) / robot
    with whole_folder(folder) as partial:
        recorder = FORMATS[table.log_formats[0]](table, partial, image_size)
        for index in range(num_episodes):
            recorder.write(simulate(table, seed=seed, index=index))
            if progress is not None:
                progress(index + 1, num_episodes)
        recorder.close()
    return folder
