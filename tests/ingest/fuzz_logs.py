"""The logs that `test_fuzz` damages: a tiny one of every format, and which of its files are likely to be hit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType
from numcodecs import Blosc, Zlib
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin

from schema.embodiment import Embodiment, SourceBinding, builtin_embodiments
from schema.picture import encode_jpeg
from tests.ingest.mutation import mutate
from tests.ingest.raw_writers import UUID, write_bridge, write_droid, write_mobile_aloha, write_robomimic
from tests.ingest.ros_writers import Sent, image, ur5e, ur5e_log, write_mcap, write_rosbag1, write_rosbag2
from tests.ingest.test_lerobot_v3 import write_lerobot_v3
from tests.ingest.test_zarr_replay import write_zarr, zipped
from tests.ingest.writers import frame_tfrecord, picture, png, write_aloha, write_lerobot, write_rlds

Mutate = Callable[[bytes, np.random.Generator], bytes]
FRAMES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class FuzzLog:
    """A log to damage."""

    write: Callable[[Path], Any]
    """Into an empty folder."""
    robot: Callable[[], Embodiment]
    kinds: tuple[str, ...]
    """Patterns of files; each gets an equal share of the mutations."""
    mutate: Mutate = mutate


def _named(name: str) -> Callable[[], Embodiment]:
    return lambda: builtin_embodiments()[name]


def _zarr_robot() -> Embodiment:
    signals = {
        "state.joint_position": "action[0:6]",
        "state.gripper": "action[6:7]",
        "action.joint_position": "action[0:6]",
        "action.gripper": "action[6:7]",
    }
    binding = SourceBinding.model_validate({"signals": signals, "cameras": {"base": "camera0_rgb"}})
    return builtin_embodiments()["ur5e"].model_copy(update={"sources": {"zarr_replay": binding}})


def _resealed(content: bytes, random: np.random.Generator) -> bytes:
    """A TFRecord whose payload was damaged before its checksums were made."""
    length = int.from_bytes(content[:8], "little")
    return frame_tfrecord(mutate(content[12 : 12 + length], random)) + content[16 + length :]


def _with_pixels() -> list[Sent]:
    return [
        image(sent.time_s, picture(step)[:8, :8], encoding="rgb8") if sent.topic == "/camera/base" else sent
        for step, sent in enumerate(_SHORT)
    ]


def _write_lerobot_pictures(folder: Path) -> None:
    kind = {"dtype": "image", "shape": [32, 48, 3]}
    features = {"observation.images.base": kind, "observation.images.left_wrist": kind}
    wide = {"dtype": "float32", "shape": [7], "names": None}
    columns = {
        "observation__images__base": [{"bytes": encode_jpeg(picture(step)), "path": None} for step in range(6)],
        "observation__images__left_wrist": [{"bytes": png(picture(step)), "path": "x.png"} for step in range(6)],
    }
    info = {"codebase_version": "v2.0", "features": features | {"observation.state": wide, "action": wide}}
    write_lerobot(folder, info=info, columns=columns)


def _write_robomimic(folder: Path) -> None:
    write_robomimic(folder / "demos.hdf5", steps=FRAMES, masks={"train": ["demo_0"]}, attrs={"success": True})


def _write_isaaclab(folder: Path) -> None:
    args = '{"env_name": "Isaac-Lift-Cube-Franka-v0", "type": 2, "sim_args": {"dt": 0.01, "decimation": 2}}'
    write_robomimic(folder / "demos.hdf5", steps=FRAMES, env_args=args, cameras=())


def _write_bridge(folder: Path) -> None:
    for number in range(2):
        write_bridge(folder, number=number, steps=FRAMES, cameras=1)


def _write_droid(folder: Path) -> None:
    words = {UUID: {"language_instruction1": "close the drawer"}}
    write_droid(folder, steps=FRAMES, mp4=("wrist_left", "exterior_1_left"), annotations=words)


def _write_aloha(folder: Path, **knobs: Any) -> None:
    for number in range(2):
        write_aloha(folder / f"episode_{number}.hdf5", number=number, steps=FRAMES, attrs={"task": "push"}, **knobs)


_SHORT = ur5e_log(seconds=0.3)
_ZARR = {"lengths": (3, 4), "attrs": {"rate_hz": 20, "task": "cups", "success": True}, "texts": ["stack", "pour"]}
_ZARR_KINDS = ("data/**/[0-9c]*", "data/**/*zarr*", "meta/**/*")
_IN_ZARR = tuple(f"a.zarr/{kind}" for kind in _ZARR_KINDS)
_LEROBOT = ("**/*.parquet", "**/*.mp4", "meta/info.json", "meta/*.jsonl")
_LEROBOT_V3 = ("data/**/*.parquet", "**/*.mp4", "meta/info.json", "meta/**/*.parquet")
_BRIDGE = ("**/obs_dict.pkl", "**/policy_out.pkl", "**/agent_data.pkl", "**/*.jpg", "**/lang.txt")

LOGS: dict[str, FuzzLog] = {
    "rlds": FuzzLog(write=write_rlds, robot=_named("widowx"), kinds=("**/*.tfrecord-*", "**/*.json")),
    "rlds resealed": FuzzLog(write=write_rlds, robot=_named("widowx"), kinds=("**/*.tfrecord-*",), mutate=_resealed),
    "lerobot v2.0 pictures": FuzzLog(write=_write_lerobot_pictures, robot=_named("ur5e"), kinds=("**/*.parquet",)),
    "lerobot v2.1": FuzzLog(write=write_lerobot, robot=_named("ur5e"), kinds=_LEROBOT),
    "lerobot v3.0": FuzzLog(
        write=lambda folder: write_lerobot_v3(folder, lengths=(3, 4)), robot=_named("ur5e"), kinds=_LEROBOT_V3
    ),
    "aloha": FuzzLog(write=_write_aloha, robot=_named("bimanual_trossen"), kinds=("*.hdf5",)),
    "aloha jpeg": FuzzLog(
        write=lambda folder: _write_aloha(folder, is_jpeg=True), robot=_named("bimanual_trossen"), kinds=("*.hdf5",)
    ),
    "mobile aloha": FuzzLog(
        write=lambda folder: write_mobile_aloha(folder / "episode_0.hdf5", steps=FRAMES),
        robot=_named("mobile_trossen"),
        kinds=("*.hdf5",),
    ),
    "droid": FuzzLog(
        write=_write_droid, robot=_named("franka_droid"), kinds=("**/*.h5", "**/*.h5", "**/*.mp4", "**/*.json")
    ),
    "bridge": FuzzLog(write=_write_bridge, robot=_named("widowx"), kinds=_BRIDGE),
    "robomimic": FuzzLog(write=_write_robomimic, robot=_named("panda_sim"), kinds=("*.hdf5",)),
    "isaaclab": FuzzLog(write=_write_isaaclab, robot=_named("panda_sim"), kinds=("*.hdf5",)),
    "mcap": FuzzLog(write=lambda folder: write_mcap(folder / "a.mcap", _SHORT), robot=ur5e, kinds=("*.mcap",)),
    "mcap lz4": FuzzLog(
        write=lambda folder: write_mcap(folder / "a.mcap", _SHORT, compression=CompressionType.LZ4),
        robot=ur5e,
        kinds=("*.mcap",),
    ),
    "mcap unchecked": FuzzLog(
        write=lambda folder: write_mcap(
            folder / "a.mcap", _with_pixels(), compression=CompressionType.NONE, is_checked=False
        ),
        robot=ur5e,
        kinds=("*.mcap",),
    ),
    "ros 1": FuzzLog(write=lambda folder: write_rosbag1(folder / "a.bag", _with_pixels()), robot=ur5e, kinds=("*",)),
    "ros 1 bz2": FuzzLog(
        write=lambda folder: write_rosbag1(folder / "a.bag", _SHORT, compression=Writer1.CompressionFormat.BZ2),
        robot=ur5e,
        kinds=("*",),
    ),
    "ros 1 lz4": FuzzLog(
        write=lambda folder: write_rosbag1(folder / "a.bag", _SHORT, compression=Writer1.CompressionFormat.LZ4),
        robot=ur5e,
        kinds=("*",),
    ),
    "ros 2 sqlite": FuzzLog(
        write=lambda folder: write_rosbag2(folder / "bag", _with_pixels()),
        robot=ur5e,
        kinds=("bag/*.db3", "bag/*.db3", "bag/*.yaml"),
    ),
    "ros 2 mcap": FuzzLog(
        write=lambda folder: write_rosbag2(folder / "bag", _SHORT, storage=StoragePlugin.MCAP),
        robot=ur5e,
        kinds=("bag/*.mcap", "bag/*.mcap", "bag/*.yaml"),
    ),
    "zarr 2": FuzzLog(write=lambda folder: write_zarr(folder / "a.zarr", **_ZARR), robot=_zarr_robot, kinds=_IN_ZARR),
    "zarr 2 blosc": FuzzLog(
        write=lambda folder: write_zarr(folder / "a.zarr", compressor=Blosc(), **_ZARR),
        robot=_zarr_robot,
        kinds=_IN_ZARR,
    ),
    "zarr 2 zlib": FuzzLog(
        write=lambda folder: write_zarr(folder / "a.zarr", compressor=Zlib(), **_ZARR),
        robot=_zarr_robot,
        kinds=_IN_ZARR,
    ),
    "zarr 3": FuzzLog(
        write=lambda folder: write_zarr(folder / "a.zarr", zarr_format=3, **_ZARR), robot=_zarr_robot, kinds=_IN_ZARR
    ),
    "zarr 3 plain": FuzzLog(
        write=lambda folder: write_zarr(folder / "a.zarr", zarr_format=3, compressor=None, **_ZARR),
        robot=_zarr_robot,
        kinds=_IN_ZARR,
    ),
    "zarr zip": FuzzLog(
        write=lambda folder: zipped(write_zarr(folder / "s/a.zarr", **_ZARR)), robot=_zarr_robot, kinds=("**/*.zip",)
    ),
}
