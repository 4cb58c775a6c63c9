"""A first embodiment table for a robot that no table describes, from the names and shapes that its logs have.

It parses as it is printed. What the log does not say is guessed and marked `# check:` for a person to settle; how
names become signals is in `draft_signals`.
"""

import json
import re
from collections.abc import Iterator, Mapping

from ingest.draft_signals import Guess, clean, guesses_of, unique
from ingest.record import Discovery

_DEFAULT_RATE_HZ = 10.0
_UNITS = {
    "joint_position": "rad",
    "joint_velocity": "rad/s",
    "joint_effort": "N m",
    "eef_position": "m",
    "eef_rotation": "rad",
    "gripper": "1",
    "gripper_velocity": "1/s",
    "finger_position": "rad",
    "base_velocity": "m/s",
}
_FRAMES = {"eef_position": "base", "eef_rotation": "base", "base_velocity": "base", "gripper": "fraction"}
_VELOCITIES = {"joint_velocity", "gripper_velocity", "base_velocity"}
_BY_NAME = {"mcap", "rosbag"}
"""Formats whose columns come in any order and have names."""
_WHOLE_VIEW = re.compile(r"base|top|high|front|head|ego|primary|main|exterior|image_0")


def draft(discovery: Discovery) -> str:
    """The TOML of an embodiment, valid for `parse_embodiment`, with `# check:` at each guess."""
    guesses = guesses_of(discovery.fields)
    signals = dict(zip(unique([guess.signal_name for guess in guesses]), guesses, strict=True))
    cameras = _cameras([camera.path for camera in discovery.cameras])
    lines = [*_head(discovery, cameras)]
    for name, guess in signals.items():
        lines += _signal(name, guess)
    lines += _action_space(signals)
    lines += _binding(discovery, signals, cameras)
    return "\n".join([*lines, ""])


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _head(discovery: Discovery, cameras: Mapping[str, str]) -> Iterator[str]:
    robot = discovery.robot or discovery.name
    yield f"name = {_text(clean(robot) or 'my_robot')}"
    yield f"title = {_text(robot)}"
    if discovery.rate_hz and 0 < discovery.rate_hz <= 1000:
        yield f"rate_hz = {discovery.rate_hz:g}"
    else:
        yield f"rate_hz = {_DEFAULT_RATE_HZ:g}  # check: the log does not say how often it recorded a frame"
    yield 'default_action_space = "recorded"'
    yield "cameras = ["
    for name in cameras:
        role = "wrist" if "wrist" in name else "exterior"
        yield f'  {{ name = "{name}", role = "{role}" }},  # check: exterior or wrist'
    yield "]"


def _cameras(keys: list[str]) -> dict[str, str]:
    """Camera name → the log's key: wrists by side, the first whole view is `base`, others by their own names."""
    plain = {key: clean(re.split(r"[/.]", key)[-1]) or "camera" for key in keys}
    wrists = {key: "right_wrist" if "right" in name else "left_wrist" for key, name in plain.items() if "wrist" in name}
    others = [key for key in keys if key not in wrists]
    base = next((key for key in others if _WHOLE_VIEW.search(plain[key])), others[0] if others else None)
    names = [wrists.get(key) or ("base" if key == base else plain[key]) for key in keys]
    return dict(zip(unique(names), keys, strict=True))


def _signal(name: str, guess: Guess) -> Iterator[str]:
    quantity = guess.quantity
    mode = "velocity" if quantity in _VELOCITIES else "absolute"
    yield ""
    yield "[[signals]]"
    yield f'name = "{name}"'
    yield f'part = "{guess.part}"' + ("" if guess.is_sided else "  # check: left, right, base or torso")
    yield f'quantity = "{quantity}"  # check: guessed from {guess.because}'
    yield f'unit = "{_UNITS[quantity]}"' + ("" if quantity == "gripper" else "  # check: the log does not say")
    yield f'frame = "{_FRAMES.get(quantity, "joint")}"'
    yield f'mode = "{mode}"' + ("  # check: absolute or delta" if name.startswith("action") else "")
    if quantity == "eef_rotation":
        yield 'rotation = "euler_xyz"  # check: the order of the angles'
    yield f"dims = [{', '.join(_text(dim) for dim in guess.dims)}]"


def _action_space(signals: Mapping[str, Guess]) -> Iterator[str]:
    """One space of every action signal, and of the state signals that are positions where there are any."""
    states = [name for name in signals if name.startswith("state.")]
    moving = {*_VELOCITIES, "joint_effort"}
    states = [name for name in states if signals[name].quantity not in moving] or states
    yield ""
    yield "[[action_spaces]]"
    yield 'name = "recorded"'
    for role, names in (("state", states), ("action", [name for name in signals if name.startswith("action.")])):
        yield f"{role} = [{', '.join(_text(name) for name in names)}]  # check: what a policy should see and give"


def _binding(discovery: Discovery, signals: Mapping[str, Guess], cameras: Mapping[str, str]) -> Iterator[str]:
    yield ""
    yield f"[sources.{discovery.format}]"
    yield f"match = [{_text(discovery.robot or discovery.name)}]"
    yield f"[sources.{discovery.format}.signals]"
    names = {item.path: item.names for item in discovery.fields if discovery.format in _BY_NAME}
    for name, guess in signals.items():
        stop = guess.start + len(guess.dims)
        told = names.get(guess.path, ())[guess.start : stop]
        field = f"{guess.path}[{','.join(told) or f'{guess.start}:{stop}'}]"
        note = "  # check: 0 = open, 1 = closed; else `| invert_gripper`" if guess.quantity == "gripper" else ""
        if guess.is_borrowed:
            note = f"  # check: the log names no {name.split('.')[0]} stream, this one stands in"
        yield f"{_text(name)} = {_text(field)}{note}"
    if cameras:
        yield f"[sources.{discovery.format}.cameras]"
        for name, key in cameras.items():
            yield f"{_key(name)} = {_text(key)}"
