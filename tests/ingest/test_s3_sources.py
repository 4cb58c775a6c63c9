"""Logs of every format are read from S3 as from disk: the same episodes, and the same bytes in the same shard."""

import shutil
import warnings
from functools import partial

import numpy as np
import pytest
import zarr
from rosbags.rosbag2 import StoragePlugin

from ingest.detect import detect, find_embodiment
from ingest.location import Location
from schema.errors import ConfigError
from schema.shards import ShardWriter
from schema.store import open_store
from tests.ingest.raw_writers import write_bridge, write_droid, write_mobile_aloha, write_robomimic
from tests.ingest.ros_writers import ur5e, ur5e_log, write_mcap, write_rosbag1, write_rosbag2
from tests.ingest.taking import converted
from tests.ingest.test_lerobot_v3 import write_lerobot_v3
from tests.ingest.writers import INSTRUCTION, T, picture, write_aloha, write_lerobot, write_rlds


def write_zarr(folder, zarr_format=2):
    """A replay buffer of two episodes of a robot that robomix knows; returns its folder."""
    random = np.random.default_rng(0)
    widths = {"action": 14} | {
        f"robot{arm}_{part}": n for arm in (0, 1) for part, n in (("joint_pos", 6), ("gripper", 1))
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(str(folder), mode="w", zarr_format=zarr_format)
        group.attrs.update({"robot_type": "bimanual_ur5e", "rate_hz": 20, "task": INSTRUCTION})
        for name, width in widths.items():
            group.create_array(f"data/{name}", data=random.uniform(0, 1, (2 * T, width)), chunks=(4, width))
        for camera in range(3):
            pictures = np.stack([picture(camera + step) for step in range(2 * T)])
            group.create_array(f"data/camera{camera}_rgb", data=pictures, chunks=(4, *pictures.shape[1:]))
        group.create_array("meta/episode_ends", data=np.array([T, 2 * T]))
    return folder


def write_zarr_zip(folder):
    """The same as one file."""
    shutil.make_archive(str(folder / "buffer.zarr"), "zip", write_zarr(folder.parent / "buffer"))


SOURCES = {
    "rlds": write_rlds,
    "droid_raw": write_droid,
    "bridge_raw": write_bridge,
    "aloha": lambda folder: write_aloha(folder / "episode_0.hdf5", is_jpeg=True),
    "mobile_aloha": lambda folder: write_mobile_aloha(folder / "episode_0.hdf5"),
    "lerobot_v2": write_lerobot,
    "lerobot_v3": write_lerobot_v3,
    "robomimic": lambda folder: write_robomimic(folder / "demos.hdf5"),
    "mcap": lambda folder: write_mcap(folder / "a.mcap", ur5e_log()),
    "rosbag1": lambda folder: write_rosbag1(folder / "a.bag", ur5e_log()),
    "rosbag2": lambda folder: write_rosbag2(folder / "a", ur5e_log()),
    "rosbag2_mcap": lambda folder: write_rosbag2(folder / "a", ur5e_log(), storage=StoragePlugin.MCAP),
    "zarr_v2": write_zarr,
    "zarr_v3": partial(write_zarr, zarr_format=3),
    "zarr_zip": write_zarr_zip,
}


def shard_of(uri, folder):
    """What a place's logs become: episodes' digests, the shard's digest over every byte, each episode's raw URI."""
    location = Location.of(uri)
    reader, discovery = detect(location, None)
    try:
        robot = find_embodiment(discovery, None)
    except ConfigError:  # the logs of the ROS writers
        robot = ur5e()
    episodes = [converted(location, item, reader=reader, robot=robot) for item in discovery.records]
    with ShardWriter(folder) as writer:
        for episode in episodes:
            writer.add(episode)
        shard = writer.finish()
    return [episode.episode_id for episode in episodes], shard, [episode.provenance.raw_uri for episode in episodes]


@pytest.mark.parametrize("name", SOURCES)
def test_a_log_on_s3_gives_what_it_gives_on_disk(s3_lake_uri, tmp_path, name):
    logs = tmp_path / "my_logs"
    logs.mkdir()
    SOURCES[name](logs)
    fs, prefix = open_store(s3_lake_uri)
    fs.put(f"{logs}/", f"{prefix}/my_logs/", recursive=True)

    episodes, shard, _ = shard_of(str(logs), tmp_path / "of_disk")
    again, shard_again, uris = shard_of(f"{s3_lake_uri}/my_logs", tmp_path / "of_s3")

    assert episodes
    assert (again, shard_again.digest) == (episodes, shard.digest)
    assert all(uri.startswith(f"{s3_lake_uri}/my_logs/") for uri in uris)
