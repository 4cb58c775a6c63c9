"""Faults of convention, put into sound standardized episodes: each takes an episode and gives back a faulty one."""
# Legend: T frames, D a signal's width.

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from schema.episode import Episode, Picture
from schema.picture import encode_jpeg

Mutation = Callable[[Episode], Episode]


def joints_changed(episode: Episode, change: Callable[[np.ndarray], np.ndarray], *, role: str = "") -> Episode:
    """The joint positions changed, of states, of actions, or of both."""
    signals = {
        name: change(values) if name.startswith(role) and "joint_position" in name else values
        for name, values in episode.signals.items()
    }
    return replace(episode, signals=signals)


def gripper_command_inverted(episode: Episode) -> Episode:
    return gripper_inverted(episode, roles=("action.",))


def gripper_inverted(episode: Episode, roles: tuple[str, ...] = ("state.", "action.")) -> Episode:
    """1 = open; in all that the log has of it."""
    signals = {
        name: 1 - values if "gripper" in name and name.startswith(roles) else values
        for name, values in episode.signals.items()
    }
    return replace(episode, signals=signals)


def _other(name: str) -> str:
    sides = {"left_": "right_", "right_": "left_"}
    role, _, rest = name.partition(".")
    side = next((side for side in sides if rest.startswith(side)), "")
    return f"{role}.{sides.get(side, '')}{rest.removeprefix(side)}"


def arms_swapped(episode: Episode, roles: tuple[str, ...] = ("state.", "action.")) -> Episode:
    """The right arm's numbers under the left arm's names, and the other way round."""
    signals = {
        name: episode.signals[_other(name)] if name.startswith(roles) else values
        for name, values in episode.signals.items()
    }
    return replace(episode, signals=signals)


def commands_swapped(episode: Episode) -> Episode:
    return arms_swapped(episode, roles=("action.",))


def in_degrees(episode: Episode) -> Episode:
    return joints_changed(episode, np.rad2deg)


def in_ticks(episode: Episode) -> Episode:
    return joints_changed(episode, lambda values_TD: np.round(2048 + values_TD * 2048 / np.pi))


def command_in_degrees(episode: Episode) -> Episode:
    return joints_changed(episode, np.rad2deg, role="action.")


def velocity_commands(episode: Episode) -> Episode:
    """Velocities, which the arm follows, where the table promises positions."""
    rate_hz = episode.embodiment.rate_hz
    reached = {name: values for name, values in episode.signals.items() if "joint_position" in name}
    signals = dict(episode.signals)
    for name in [name for name in reached if name.startswith("action.")]:
        state_TD = reached[name.replace("action.", "state.")]
        signals[name] = np.vstack([np.diff(state_TD, axis=0), np.zeros((1, state_TD.shape[1]))]) * rate_hz
    return replace(episode, signals=signals)


def delta_commands(episode: Episode) -> Episode:
    rate_hz = episode.embodiment.rate_hz
    return joints_changed(velocity_commands(episode), lambda values_TD: values_TD / rate_hz, role="action.")


def at(episode: Episode, frames_T: np.ndarray, *, pictures: np.ndarray | None = None) -> Episode:
    """Only these frames, with the pictures of these or of other ones."""
    shown = frames_T if pictures is None else pictures
    return replace(
        episode,
        timestamp_T=episode.timestamp_T[frames_T],
        signals={name: values[frames_T] for name, values in episode.signals.items()},
        cameras={name: tuple(kept[i] for i in shown) for name, kept in episode.cameras.items()},
        camera_timestamps=dict.fromkeys(episode.cameras, episode.timestamp_T[frames_T]),
    )


def frames_dropped(episode: Episode, share: float = 0.04) -> Episode:
    """Lost here and there; the log's clock tells."""
    generator = np.random.default_rng(int(episode.episode_id[:8], 16))
    kept_T = np.ones(episode.num_frames, bool)
    lost = generator.choice(np.arange(1, episode.num_frames - 1), round(share * episode.num_frames), replace=False)
    kept_T[lost] = False
    return at(episode, np.flatnonzero(kept_T))


def frames_dropped_without_a_clock(episode: Episode) -> Episode:
    """Lost, and the timestamps made up afterwards."""
    dropped = frames_dropped(episode)
    return replace(dropped, timestamp_T=np.arange(dropped.num_frames) / episode.embodiment.rate_hz)


def wrong_rate(episode: Episode) -> Episode:
    return replace(episode, timestamp_T=episode.timestamp_T * 1.5)


def images_late(episode: Episode, frames: int = 3) -> Episode:
    every = np.arange(episode.num_frames)
    return at(episode, every, pictures=np.clip(every - frames, 0, episode.num_frames - 1))


def images_very_late(episode: Episode) -> Episode:
    return images_late(episode, frames=10)


def camera_clock_drifts(episode: Episode, frames: int = 10) -> Episode:
    """Pictures come later and later, `frames` at the end."""
    every = np.arange(episode.num_frames)
    return at(episode, every, pictures=every - np.round(every * frames / episode.num_frames).astype(int))


def showing(episode: Episode, camera: str, pictures: tuple[Picture, ...]) -> Episode:
    return replace(episode, cameras={**episode.cameras, camera: pictures})


def base_frozen(episode: Episode) -> Episode:
    """From a third of the episode on."""
    pictures, start = episode.cameras["base"], episode.num_frames // 3
    return showing(episode, "base", (*pictures[:start], *pictures[start : start + 1] * (len(pictures) - start)))


def base_black(episode: Episode) -> Episode:
    black = Picture(jpeg=encode_jpeg(np.zeros((96, 96, 3), np.uint8)), width=96, height=96)
    return showing(episode, "base", (black,) * episode.num_frames)


def encoder_dead(episode: Episode) -> Episode:
    """The second joint's encoder says the same for ever; its command does not."""

    def dead(values_TD: np.ndarray) -> np.ndarray:
        stuck_TD = values_TD.copy()
        stuck_TD[:, 1] = 0.5
        return stuck_TD

    return joints_changed(episode, dead, role="state.")
