"""A robot of a tool pose and nothing else, turning about by known rotations."""
# Legend: T frames.

from dataclasses import replace

import numpy as np

from schema.embodiment import Embodiment, parse_embodiment
from schema.episode import Episode, Provenance

T = 80


def robot(rotation: str, *, has_turns: bool) -> Embodiment:
    """A table that claims this order; with an angular velocity that goes with the pose, or without."""
    turns = """
[[signals]]
name = "action.eef_angular_velocity"
part = "left"
quantity = "eef_angular_velocity"
unit = "rad/s"
frame = "base"
mode = "velocity"
dims = ["x", "y", "z"]
"""
    return parse_embodiment(
        f"""
name = "poser"
title = "A tool pose"
rate_hz = 20
default_action_space = "pose"
[[signals]]
name = "state.eef_rotation"
part = "left"
quantity = "eef_rotation"
unit = "1"
frame = "base"
mode = "absolute"
rotation = "{rotation}"
dims = ["a", "b", "c", "d"]
[[signals]]
name = "action.gripper"
part = "left"
quantity = "gripper"
unit = "1"
frame = "fraction"
mode = "absolute"
dims = ["gripper"]
{turns if has_turns else ""}
[[action_spaces]]
name = "pose"
state = ["state.eef_rotation"]
action = ["action.gripper"]
""",
        where="poses.py",
    )


def turning(number: int, *, table: Embodiment) -> Episode:
    """An episode whose pose is stored as x, y, z, w, whatever the table says."""
    generator = np.random.default_rng(number)
    phases, speeds = generator.uniform(0, 6, 3), generator.uniform(2, 6, 3)
    omega_T3 = 1.5 * np.sin(np.arange(T)[:, None] / 20 * speeds + phases)
    xyzw = np.array([1.0, 0.05, 0.0, 0.0]) / np.linalg.norm([1.0, 0.05])  # a tool that points down
    pose_T4 = np.empty((T, 4))
    for step, omega in enumerate(omega_T3):
        pose_T4[step] = xyzw
        angle = float(np.linalg.norm(omega)) / 20
        turn = np.append(np.sin(angle / 2) * omega / max(np.linalg.norm(omega), 1e-9), np.cos(angle / 2))
        xyzw = _product(turn, xyzw)
    signals = {
        "state.eef_rotation": pose_T4,
        "action.gripper": np.zeros((T, 1)),
        "action.eef_angular_velocity": omega_T3,
    }
    return Episode(
        episode_id=f"{number:032x}",
        source="poses",
        embodiment=table,
        task="turn",
        instructions=(),
        timestamp_T=np.arange(T) / 20,
        signals={name: values for name, values in signals.items() if name in {s.name for s in table.signals}},
        provenance=Provenance(raw_uri="", record_index=number, adapter="none", adapter_version=1),
    )


def kept_positive(episode: Episode) -> Episode:
    """The pose as a driver gives it that keeps w at zero or above."""
    pose_T4 = episode.signals["state.eef_rotation"]
    flipped_T4 = pose_T4 * np.where(pose_T4[:, 3:] < 0, -1.0, 1.0)
    return replace(episode, signals={**episode.signals, "state.eef_rotation": flipped_T4})


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    vector = one[3] * other[:3] + other[3] * one[:3] + np.cross(one[:3], other[:3])
    return np.append(vector, one[3] * other[3] - one[:3] @ other[:3])
