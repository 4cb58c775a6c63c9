"""Logs as ROS 2 writes them: one MCAP file of CDR messages per episode, each device at its own rate and times.

Joint states come at 125 Hz, the gripper's at 25 Hz, commands at the control rate, pictures about every 1/30 and 1/25 s,
jittered. A header says when a thing was measured, the log when it arrived. Grippers 0 open, 1 closed.
Legend: N samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType
from mcap_ros2.writer import Writer

from fleet.episode import Episode, random_of
from fleet.kinematics import Floats
from fleet.recording import EPOCH_S, as_jpeg, whole_file
from fleet.renderer import Renderer
from fleet.robot import Robot

_JOINT_HZ, _GRIPPER_HZ = 125.0, 25.0
_CAMERA_HZ = (30.0, 25.0)
"""Of the robot's first camera, of the others."""
_JITTER_SHARE = 0.08
"""Standard deviation of a picture's time, of its period."""
_GAP_STEPS = 1.5
_CAMERA_DELAY_S, _DELAY_S = (0.012, 0.03), (0.0003, 0.0025)
_PARTS = ("position", "velocity", "effort")
_NS = 1_000_000_000

_HEADER = """
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
_NUMBERS = "float64[] position\nfloat64[] velocity\nfloat64[] effort"
_JOINT_STATE = f"std_msgs/Header header\nstring[] name\n{_NUMBERS}" + _HEADER
_PICTURE = "std_msgs/Header header\nstring format\nuint8[] data" + _HEADER
_TYPES = {
    "sensor_msgs/msg/JointState": _JOINT_STATE,
    "sensor_msgs/msg/CompressedImage": _PICTURE,
    "std_msgs/msg/String": "string data\n",
}


@dataclass(frozen=True, kw_only=True)
class _Message:
    topic: str
    kind: str
    log_ns: int
    value: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class McapRecorder:
    """Writes `<folder>/episode_<i>.mcap`."""

    robot: Robot
    folder: Path
    image_size: int

    def write(self, episode: Episode) -> None:
        """Write one file."""
        with whole_file(self.folder / f"episode_{episode.index:06d}.mcap") as partial, partial.open("wb") as stream:
            writer: Any = Writer(stream, compression=CompressionType.ZSTD)
            schemas = {kind: writer.register_msgdef(kind, text) for kind, text in _TYPES.items()}
            told = {"task": episode.task, "instruction": episode.instruction, "robot": self.robot.name}
            told |= {"success": str(episode.success).lower(), "simulated": "true"}
            writer.add_metadata("episode", told)
            messages = sorted(self._messages(episode), key=lambda message: (message.log_ns, message.topic))
            for number, message in enumerate(messages):
                writer.write_message(
                    message.topic,
                    schemas[message.kind],
                    message.value,
                    log_time=message.log_ns,
                    publish_time=message.log_ns,
                    sequence=number,
                )
            writer.finish()

    def close(self) -> None:
        """There is nothing that describes the dataset as a whole."""

    def _messages(self, episode: Episode) -> Iterator[_Message]:
        rng = np.random.default_rng([int(random_of(self.robot, episode.seed, episode.index).integers(1 << 31)), 1])
        began_ns = round(EPOCH_S + 60 * episode.index) * _NS
        yield _Message(
            topic="/instruction",
            kind="std_msgs/msg/String",
            log_ns=began_ns,
            value={"data": episode.instruction},
        )
        yield from self._numbers(episode, began_ns, rng)
        for number, camera in enumerate(self.robot.cameras):
            rate_hz = _CAMERA_HZ[min(number, len(_CAMERA_HZ) - 1)]
            yield from self._pictures(episode, camera.name, rate_hz=rate_hz, began_ns=began_ns, rng=rng)

    def _numbers(self, episode: Episode, began_ns: int, rng: np.random.Generator) -> Iterator[_Message]:
        """Joint states, gripper states, and what was commanded of both."""
        joints, gripper = self.robot.joints_of(0), slice(self.robot.gripper_of(0), self.robot.gripper_of(0) + 1)
        joint_names = [f"{name}_joint" for name in self.robot.mounts[0].arm.joint_names]
        reached = (episode.state_TD, episode.velocity_TD, episode.effort_TD)
        commanded = (episode.action_TD,)
        for topic, names, columns, values, rate_hz in (
            ("/joint_states", joint_names, joints, reached, _JOINT_HZ),
            ("/gripper/joint_states", ["finger_joint"], gripper, reached, _GRIPPER_HZ),
            ("/command/joint_states", joint_names, joints, commanded, None),
            ("/gripper/command", ["finger_joint"], gripper, commanded, None),
        ):
            true_N = _times(episode, rate_hz, rng)
            step_N = np.interp(true_N, episode.true_T, np.arange(len(episode)))
            stamp_N = np.interp(true_N, episode.true_T, episode.time_T)
            sampled = [_at(series[:, columns], step_N, is_held=rate_hz is None) for series in values]
            delay_N = rng.uniform(*_DELAY_S, len(true_N))
            for k, stamp_s in enumerate(stamp_N.tolist()):
                told = {"velocity": [], "effort": [], "name": names, "header": _header(began_ns, stamp_s, "")}
                told |= {name: rows[k].tolist() for name, rows in zip(_PARTS, sampled, strict=False)}
                log_ns = began_ns + round((true_N[k] + delay_N[k]) * _NS)
                yield _Message(topic=topic, kind="sensor_msgs/msg/JointState", log_ns=log_ns, value=told)

    def _pictures(
        self, episode: Episode, camera: str, *, rate_hz: float, began_ns: int, rng: np.random.Generator
    ) -> Iterator[_Message]:
        true_N = _times(episode, rate_hz, rng, jitter_share=_JITTER_SHARE)
        step_N = np.interp(true_N, episode.true_T, np.arange(len(episode)))
        delay_N = rng.uniform(*_CAMERA_DELAY_S, len(true_N))
        shown_N = np.interp(step_N, np.arange(len(episode)), episode.picture_T[camera])
        size = self.image_size
        renderer = Renderer(self.robot, episode.scene, camera=camera, height=size, width=size)
        for k, picture in enumerate(renderer.frames(episode.trajectory.at(shown_N))):
            stamp_s = float(true_N[k])
            yield _Message(
                topic=f"/{camera}/image/compressed",
                kind="sensor_msgs/msg/CompressedImage",
                log_ns=began_ns + round((stamp_s + delay_N[k]) * _NS),
                value={
                    "header": _header(began_ns, stamp_s, f"{camera}_optical"),
                    "format": "jpeg",
                    "data": as_jpeg(picture),
                },
            )


def _times(episode: Episode, rate_hz: float | None, rng: np.random.Generator, *, jitter_share: float = 0.0) -> Floats:
    """When a device speaks (s): at its own rate, from its own moment on; at every step where it has no rate.

    It is silent where steps of the episode are missing.
    """
    step_T = episode.true_T
    if rate_hz is None:
        return step_T
    period = 1 / rate_hz
    even_N = np.arange(rng.uniform(0, period), step_T[-1], period)
    jittered_N = even_N + rng.normal(0, 1, len(even_N)) * jitter_share * period
    at_N = np.sort(np.clip(jittered_N, 0, step_T[-1]))
    gap_N = np.diff(step_T)[np.clip(np.searchsorted(step_T, at_N, side="right") - 1, 0, len(step_T) - 2)]
    spoken_N: Floats = at_N[gap_N < _GAP_STEPS / episode.robot.rate_hz]
    return spoken_N


def _at(values_TD: np.ndarray, step_N: Floats, *, is_held: bool) -> np.ndarray:
    """Values at fractional steps: between two linearly, or those of the step before."""
    if is_held:
        held: np.ndarray = values_TD[step_N.astype(int)].astype(float)
        return held
    steps = np.arange(len(values_TD))
    return np.stack([np.interp(step_N, steps, column) for column in values_TD.T.astype(float)], -1)


def _header(began_ns: int, stamp_s: float, frame: str) -> dict[str, Any]:
    sec, nanosec = divmod(began_ns + round(stamp_s * _NS), _NS)
    return {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": frame}
