"""What a robomimic file says of all its demos, by `env_args`: JSON, which robosuite and IsaacLab fill differently."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest.formats.hdf5 import word_of

LANGUAGE_ATTRIBUTES = ("language_instruction", "language", "lang", "instruction", "task_description")
"""Where a demo says in words what was to be done."""
_SIMULATED_TYPES = (1, 2, 3)
"""The `type` of robosuite, of gym and IsaacLab, and of iGibson."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """Where a file's demos were recorded."""

    name: str | None = None
    robot: str | None = None
    """robosuite's robots, controller and its output range, since the same action means another motion by another
    range ("Panda OSC_POSE 0.05 0.5"); elsewhere the environment's name, which is all there is."""
    rate_hz: float | None = None
    is_simulated: bool | None = None
    words: str | None = None
    """What was to be done, where the file says it for all its demos (LIBERO)."""

    def words_for(self, demo: Mapping[str, Any]) -> tuple[str | None, list[str]]:
        """(instruction, notes) of a demo with these attributes; the environment's name stands in for words."""
        told = next((word for name in LANGUAGE_ATTRIBUTES if (word := word_of(demo.get(name)))), self.words)
        if told is not None or self.name is None:
            return told, []
        guess = re.sub(r"(?<=[a-z])(?=[A-Z])|[-_\s]+", " ", self.name).strip().lower()
        return guess, [f"the file has no words: its environment's name {self.name!r} is taken as the instruction"]


def environment_of(attrs: Mapping[str, Any]) -> Environment:
    """By the attributes of the group `data`; what they do not say is None."""
    told = _json(attrs.get("env_args"))
    kwargs = _table(told.get("env_kwargs"))
    name = told.get("env_name")
    name = name.strip() or None if isinstance(name, str) else None
    kind = told.get("type")
    problem = _json(attrs.get("problem_info"))
    words = problem.get("language_instruction") or told.get("env_lang") or told.get("lang")
    return Environment(
        name=name,
        robot=_robot(kwargs) or name,
        rate_hz=_rate(kwargs, _table(told.get("sim_args"))),
        is_simulated=True if kind in _SIMULATED_TYPES else None,
        words=words.strip() or None if isinstance(words, str) else None,
    )


def _robot(kwargs: Mapping[str, Any]) -> str | None:
    robots = kwargs.get("robots")
    names = [robots] if isinstance(robots, str) else robots if isinstance(robots, list) else []
    controller = _table(kwargs.get("controller_configs"))
    reach = controller.get("output_max")
    numbers = reach if isinstance(reach, list) else [reach]
    ranges = dict.fromkeys(f"{value:g}" for value in numbers if isinstance(value, int | float))
    return " ".join([*map(str, names), *([str(controller["type"])] if "type" in controller else []), *ranges]) or None


def _rate(kwargs: Mapping[str, Any], simulation: Mapping[str, Any]) -> float | None:
    """The control rate, or in IsaacLab the time step and how many of them an action lasts."""
    told = kwargs.get("control_freq")
    if told is None and simulation.get("dt") and simulation.get("decimation"):
        step, times = simulation["dt"], simulation["decimation"]
        told = 1 / (step * times) if isinstance(step, float) and isinstance(times, int) else None
    return float(told) if isinstance(told, int | float) and 0 < told <= 1000 else None


def _json(value: Any) -> dict[str, Any]:
    try:
        return _table(json.loads(word_of(value) or "{}"))
    except (ValueError, RecursionError):
        return {}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
