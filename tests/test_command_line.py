"""The command line's verbs and options, pinned: adding one means arguing for it here."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from robomix import app

ROOT = Path(__file__).parent.parent

VERBS = {
    "dash": ["--no-browser", "--port", "lake"],
    "demo": ["--episodes", "--out", "--steps", "logs"],
    "fleet record": ["--episodes", "--fault", "--format", "--image-size", "--out", "--seed", "robot"],
    "ingest": [
        "--accept",
        "--dry-run",
        "--embodiment",
        "--format",
        "--json",
        "--lake",
        "--limit",
        "--ray-address",
        "--retry",
        "--source",
        "uri",
    ],
    "lake gc": ["--dry-run", "--older-than-hours", "lake"],
    "lake info": ["--json", "lake"],
    "lake trace": ["--lake", "--out", "sample"],
    "lake verify": ["--json", "lake"],
    "predict": ["--episode", "--every", "--lake", "checkpoint", "lock"],
    "recipe diff": ["--json", "--lake", "first", "second"],
    "recipe lock": ["--json", "--lake", "--out", "recipe"],
    "recipe plan": ["--batch", "--json", "--lake", "--picture", "--steps", "recipe"],
    "recipe replay": [
        "--batch",
        "--count",
        "--episode",
        "--json",
        "--lake",
        "--position",
        "--steps",
        "--training",
        "lock",
    ],
    "train": ["--config", "--json", "--lake", "--out", "--resume", "--steps", "--workers", "lock"],
    "validate": ["--json", "--lake", "checkpoint", "lock"],
}


def verbs_of(group, prefix: str = "") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= verbs_of(command, f"{prefix}{name} ")
        else:
            found[prefix + name] = sorted(parameter.opts[0] for parameter in command.params)
    return found


def test_verbs_and_options_are_those_that_were_argued_for():
    assert verbs_of(typer.main.get_command(app)) == VERBS


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--help"], 0, "A data engine for robot learning"),
        (["ingest"], 2, "uri"),
        (["ingest", "nowhere"], 2, "--lake"),
        (["lake", "info", "/nowhere"], 1, "no lake at"),
        (["lake", "verify", "/nowhere"], 1, "no lake at"),
        (["recipe", "plan", "nowhere.yaml", "--lake", "/nowhere"], 1, "no lake at"),
        (["recipe", "diff", "a.yaml", "b.yaml"], 1, "name it with --lake"),
        (["recipe", "replay", "/nowhere"], 1, "no lock there"),
        (["fleet", "record", "r2d2", "--out", "/tmp/never"], 1, "no simulated robot"),
        (["fleet", "record", "ur5e", "--format", "zarr", "--out", "/tmp/never"], 1, "not recorded as"),
        (["fleet", "record", "ur5e", "--fault", "gremlins", "--out", "/tmp/never"], 1, "no fault"),
    ],
)
def test_a_mistake_is_one_message_and_an_exit_code(words, code, expected):
    done = subprocess.run(
        [sys.executable, str(ROOT / "robomix.py"), *words], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == code
    assert expected in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
