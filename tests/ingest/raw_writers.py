"""Tiny logs as DROID, Bridge, robomimic and mobile ALOHA record them, each with knobs for its faults."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from schema.picture import encode_jpeg
from tests.ingest.writers import INSTRUCTION, T, picture, write_aloha, write_video

SERIALS = {"wrist_left": "111", "exterior_1_left": "222", "exterior_2_left": "333"}
DROID_ACTIONS = {
    "joint_position": 7,
    "joint_velocity": 7,
    "cartesian_position": 6,
    "cartesian_velocity": 6,
    "gripper_position": 0,
    "gripper_velocity": 0,
}
UUID = "Lab+0a1b+2023-07-08-10h-11m-12s"


def droid_numbers(number: int = 0, *, steps: int = T) -> dict[str, np.ndarray]:
    """The datasets of a trajectory.h5."""
    random = np.random.default_rng(number)

    def stream(width: int) -> np.ndarray:
        return random.uniform(0, 0.9, (steps, width) if width else (steps,))

    state = {"joint_positions": 7, "joint_velocities": 7, "cartesian_position": 6, "gripper_position": 0}
    start_ms = 1_688_000_000_000 + 1000 * np.arange(steps) // 15
    return {
        **{f"action/{name}": stream(width) for name, width in DROID_ACTIONS.items()},
        **{f"observation/robot_state/{name}": stream(width) for name, width in state.items()},
        **{f"observation/camera_type/{serial}": np.full(steps, serial != "111") for serial in SERIALS.values()},
        "observation/controller_info/movement_enabled": np.ones(steps, bool),
        "observation/timestamp/control/step_start": start_ms,
        "observation/timestamp/cameras/111_estimated_capture": start_ms - 20,
        "observation/timestamp/cameras/111_frame_received": start_ms + 5,
        "observation/timestamp/cameras/222_frame_received": start_ms + 7,
    }


def write_droid(
    root: Path,
    *,
    number: int = 0,
    steps: int = T,
    outcome: str = "success",
    metadata: Mapping[str, Any] | None = None,
    annotations: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
    pictures: int | None = None,
    mp4: tuple[str, ...] = tuple(SERIALS),
    others: tuple[str, ...] = (),
) -> Path:
    """An episode below `root`; returns its folder. Each MP4 has `pictures` frames, one more than steps by default."""
    folder = root / f"Lab/{outcome}/2023-07-08/Sat_Jul__8_10:11:{12 + number}_2023"
    (folder / "recordings/MP4").mkdir(parents=True)
    with h5py.File(folder / "trajectory.h5", "w") as file:
        for path, values in droid_numbers(number, steps=steps).items():
            file.create_dataset(path, data=values, maxshape=(None, *values.shape[1:]))
        file.attrs.update({"current_task": "Move object", "version_number": 1.1} | dict(attrs or {}))
    serials = {"wrist_cam_serial": "111", "ext1_cam_serial": "222", "ext2_cam_serial": "333"}
    told = {
        "uuid": UUID,
        "user_id": "ab12",
        "building": "Hall",
        "scene_id": 7,
        "success": outcome == "success",
    } | serials
    (folder / f"metadata_{UUID}.json").write_text(json.dumps(told if metadata is None else metadata))
    for name in mp4:
        frames = [picture(number + step) for step in range(steps + 1 if pictures is None else pictures)]
        write_video(folder / f"recordings/MP4/{SERIALS[name]}.mp4", frames, fps=15)
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not looked at")
    if annotations is not None:
        (root / "aggregated-annotations-030724.json").write_text(json.dumps(annotations))
    return folder


def bridge_pickles(number: int = 0, *, steps: int = T) -> dict[str, Any]:
    """What a trajectory's pickles hold: one observation more than actions."""
    random = np.random.default_rng(number)
    actions = random.uniform(0, 0.04, (steps, 7))
    return {
        "obs_dict": {
            "full_state": random.uniform(0, 0.9, (steps + 1, 7)),
            "qpos": random.uniform(-1, 1, (steps + 1, 6)),
            "time_stamp": [1_650_000_000 + 0.2 * step for step in range(steps + 1)],
            "high_bound": np.ones(5),
        },
        "policy_out": [{"actions": row, "policy_type": "VRTeleop"} for row in actions],
        "agent_data": {"traj_ok": True, "stats": {"term_t": np.float64(steps)}},
    }


def write_bridge(
    root: Path,
    *,
    number: int = 0,
    steps: int = T,
    day: str = "2022-01-02_03-04-05",
    lang: str | None = f"{INSTRUCTION}\nconfidence: 1\n",
    cameras: int = 2,
    pictures: int | None = None,
    size: tuple[int, int] = (32, 48),
    **changes: Any,
) -> Path:
    """A trajectory below `root`; returns its folder. `changes` replace pickled values or, as None, leave them out."""
    folder = root / f"toykitchen2/set_table/00/{day}/raw/traj_group0/traj{number}"
    folder.mkdir(parents=True)
    for name, value in (bridge_pickles(number, steps=steps) | changes).items():
        if value is not None:
            (folder / f"{name}.pkl").write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, 4))
    if lang is not None:
        (folder / "lang.txt").write_text(lang)
    for camera in range(cameras):
        (folder / f"images{camera}").mkdir()
        for step in range(steps + 1 if pictures is None else pictures):
            jpeg = encode_jpeg(picture(number + step + camera, size=size))
            (folder / f"images{camera}/im_{step}.jpg").write_bytes(jpeg)
    return folder


ENV_ARGS = {
    "env_name": "LiftCube",
    "type": 1,
    "env_kwargs": {
        "robots": ["Panda"],
        "control_freq": 20,
        "controller_configs": {"type": "OSC_POSE", "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5]},
    },
}
ROBOMIMIC_WIDTHS = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2, "robot0_joint_vel": 7}


def write_robomimic(
    path: Path,
    *,
    demos: int = 2,
    steps: int = T,
    env_args: Any = ENV_ARGS,
    cameras: tuple[str, ...] = ("robot0_eye_in_hand_image",),
    attrs: Mapping[str, Any] | None = None,
    masks: Mapping[str, list[str]] | None = None,
    first: int = 0,
) -> Path:
    """A file of demos numbered from `first`; returns it. `attrs` are each demo's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = env_args if isinstance(env_args, str) else json.dumps(env_args)
        for number in range(first, first + demos):
            random = np.random.default_rng(number)
            demo = data.create_group(f"demo_{number}")
            demo.attrs.update({"num_samples": steps} | dict(attrs or {}))
            demo["actions"] = random.uniform(-1, 1, (steps, 7))
            demo["rewards"] = np.zeros(steps)
            for name, width in ROBOMIMIC_WIDTHS.items():
                values = random.uniform(0, 0.04, (steps, width))
                demo[f"obs/{name}"], demo[f"next_obs/{name}"] = values, values
            for camera in cameras:
                pictures = np.stack([picture(number + step) for step in range(steps)])
                demo.create_dataset(f"obs/{camera}", data=pictures, chunks=(2, 16, 48, 3), compression="gzip")
                demo[f"next_obs/{camera}"] = pictures
        for name, kept in (masks or {}).items():
            file[f"mask/{name}"] = [demo.encode() for demo in kept]
    return path


def write_mobile_aloha(path: Path, *, number: int = 0, steps: int = T, is_jpeg: bool = True) -> Path:
    """An episode of mobile ALOHA: ALOHA's, and the base's commands beside the arms'."""
    write_aloha(path, number=number, steps=steps, is_jpeg=is_jpeg, attrs={"task": "wipe", "compress": is_jpeg})
    with h5py.File(path, "a") as file:
        file["base_action"] = np.random.default_rng(number).uniform(-0.5, 0.5, (steps, 2))
        if is_jpeg:
            file["compress_len"] = np.full((3, steps), 900.0)
    return path
