"""Damaged files of every container: an episode or an error of ours that names it, never another exception.

Bits are flipped, files cut and lengths changed. How many files of each format is `ROBOMIX_FUZZ` (24 by itself):
`ROBOMIX_FUZZ=2000 pytest -n0 tests/ingest/test_damaged_logs.py` runs long.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import CompressionType
from rosbags.rosbag1 import Writer as Writer1

from ingest.detect import detect
from ingest.location import Location
from schema.embodiment import Embodiment, SourceBinding, builtin_embodiments
from schema.errors import RobomixError, SourceError
from tests.ingest.ros_writers import ur5e, ur5e_log, write_mcap, write_rosbag1, write_rosbag2
from tests.ingest.taking import converted
from tests.ingest.test_lerobot_v3 import write_lerobot_v3
from tests.ingest.test_zarr_replay import write_zarr, zipped

COUNT = int(os.environ.get("ROBOMIX_FUZZ", "24"))
SHORT = ur5e_log(seconds=0.3)


def zarr_robot() -> Embodiment:
    signals = {
        "state.joint_position": "action[0:6]",
        "state.gripper": "action[6:7]",
        "action.joint_position": "action[0:6]",
        "action.gripper": "action[6:7]",
    }
    binding = SourceBinding.model_validate({"signals": signals, "cameras": {"base": "camera0_rgb"}})
    return builtin_embodiments()["ur5e"].model_copy(update={"sources": {"zarr_replay": binding}})


def lerobot_robot() -> Embodiment:
    return builtin_embodiments()["ur5e"]


FORMATS: dict[str, tuple[Any, Any]] = {
    "lerobot v3": (lambda folder: write_lerobot_v3(folder / "a", lengths=(3, 3)), lerobot_robot),
    "zarr 2": (lambda folder: write_zarr(folder / "a.zarr"), zarr_robot),
    "zarr 3": (lambda folder: write_zarr(folder / "a.zarr", zarr_format=3), zarr_robot),
    "zarr zip": (lambda folder: zipped(write_zarr(folder / "s/a.zarr")), zarr_robot),
    "mcap": (lambda folder: write_mcap(folder / "a.mcap", SHORT), ur5e),
    "mcap lz4": (lambda folder: write_mcap(folder / "a.mcap", SHORT, compression=CompressionType.LZ4), ur5e),
    "ros 1": (lambda folder: write_rosbag1(folder / "a.bag", SHORT), ur5e),
    "ros 1 bz2": (
        lambda folder: write_rosbag1(folder / "a.bag", SHORT, compression=Writer1.CompressionFormat.BZ2),
        ur5e,
    ),
    "ros 2": (lambda folder: write_rosbag2(folder / "bag", SHORT), ur5e),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of each format's log, undamaged."""
    folders = {}
    for name, (write, _) in FORMATS.items():
        folders[name] = tmp_path_factory.mktemp("whole")
        write(folders[name])
    return folders


def damage(content: bytes, random: np.random.Generator) -> bytes:
    """Flipped bits, a cut, a stretch of zeros, or a few bytes more in the middle."""
    broken = bytearray(content)
    kind = random.integers(4)
    place = int(random.integers(max(1, len(broken))))
    if kind == 0:
        for index in random.integers(0, len(broken), int(random.integers(1, 9))):
            broken[index] ^= 1 << int(random.integers(8))
    elif kind == 1:
        del broken[place:]
    elif kind == 2:
        stop = min(len(broken), place + int(random.integers(1, 200)))
        broken[place:stop] = bytes(stop - place)
    else:
        broken[place:place] = random.bytes(int(random.integers(1, 20)))
    return bytes(broken)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_give_an_episode_or_an_error_that_names_them(whole, tmp_path, name):
    files = sorted(path for path in whole[name].rglob("*") if path.is_file())
    random = np.random.default_rng(list(name.encode()))
    for seed in range(COUNT):
        folder = tmp_path / str(seed)
        chosen = files[int(random.integers(len(files)))]
        for file in files:
            target = folder / file.relative_to(whole[name])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(damage(file.read_bytes(), random) if file == chosen else file.read_bytes())
        taken, refused = take(folder, FORMATS[name][1]())
        assert taken + len(refused) > 0
        assert all(str(folder) in message for message in refused), refused


def take(folder: Path, robot: Embodiment) -> tuple[int, list[str]]:
    """How many episodes come of a folder, and what is said of those that do not."""
    location = Location.of(str(folder))
    try:
        reader, discovery = detect(location, None)
    except SourceError as error:
        return 0, [str(error)]
    taken, refused = 0, []
    for record in discovery.records:
        try:
            episode = converted(location, record, reader=reader, robot=robot)
        except RobomixError as error:
            refused.append(f"{error} {location.file_uri(record.files[0])}")  # as its row in quarantine has it
        else:
            assert all(len(values) == episode.num_frames for values in episode.signals.values())
            assert all(len(pictures) == episode.num_frames for pictures in episode.cameras.values())
            taken += 1
    return taken, refused
