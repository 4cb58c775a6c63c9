"""Which files are one recording: a file by itself, or those that the `metadata.yaml` of a rosbag2 folder lists."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from ingest.location import Location
from ingest.record import Problem

METADATA = "metadata.yaml"
_MAX_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """The files of one episode."""

    files: tuple[str, ...]
    """In order; only the metadata.yaml where it names none that can be taken."""
    problem: Problem | None = None
    """Why they cannot be read."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What the recorder's user said of it (`custom_data`)."""


def recordings_of(location: Location) -> list[Recording]:
    """What each metadata.yaml lists."""
    return [_recording(location, file) for file in location.files if PurePosixPath(file).name == METADATA]


def _recording(location: Location, file: str) -> Recording:
    uri, parent = location.file_uri(file), PurePosixPath(file).parent

    def refused(reason: str, message: str) -> Recording:
        return Recording(files=(file,), problem=Problem(reason=reason, message=f"{message}: {uri}"))

    if location.files[file].size_bytes > _MAX_BYTES:
        return refused("too_large", f"larger than {_MAX_BYTES} bytes, expected a description of a bag")
    try:
        info = yaml.safe_load(location.read_bytes(file))["rosbag2_bagfile_information"]
        listed = [_word(name).removeprefix(f"{parent.name}/") for name in info["relative_file_paths"]]
        mode = _word(info.get("compression_mode") or "").lower()
        told = _told(info.get("custom_data"))
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return refused("unreadable_bag", f"not a rosbag2 description ({error!r:.200}), expected what `ros2 bag` writes")
    if outside := [name for name in listed if PurePosixPath(name).name != name]:
        return refused("outside_source", f"it names {outside[0]!r}, expected files beside it only")
    files = tuple(str(parent / name) for name in listed)
    if missing := [name for name in files if name not in location.files]:
        return refused("missing_data", f"found no {missing[0]!r}; fetch it, it is listed in")
    if mode in {"file", "message"}:
        return refused("packed_bag", f"the files are packed ({mode!r}): unpack them with `ros2 bag convert`")
    if not files:
        return refused("unreadable_bag", "it lists no file")
    return Recording(files=files, told=told)


def _told(custom: Any) -> dict[str, str]:
    return {_word(key): _word(value) for key, value in custom.items()} if isinstance(custom, dict) else {}


def _word(value: Any) -> str:
    """A plain value as text; ValueError for containers, which a few aliases in YAML make as large as one likes."""
    if not isinstance(value, str | int | float | bool | None):
        raise ValueError(f"a {type(value).__name__}, expected a word or a number")
    return str(value)
