"""TFDS datasets shaped as an entry of Open X-Embodiment says, written without the code that reads them."""

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ingest.oxe.entry import Entry
from schema.picture import encode_jpeg
from tests.ingest.writers import INSTRUCTION, example, frame_tfrecord, picture

STEPS = 5


def fields_of(entry: Entry, *, steps: int = STEPS) -> dict[str, np.ndarray]:
    """A stream `[T, width]` for each path that the entry binds, as wide as its columns need, or `[T]` without any.

    Values are between 0 and 1 and none is like another.
    """
    widths: dict[str, int] = {}
    for field in entry.signals.values():
        path, _, stop = re.match(r"([^\[|\s]+)(?:\[(\d+):(\d+)\])?", field).groups()
        widths[path] = max(widths.get(path, 0), int(stop or 0))
    random = np.random.default_rng(3)
    return {
        path: random.uniform(0.1, 0.9, (steps, width) if width else steps).astype(np.float32)
        for path, width in widths.items()
    }


def cameras_of(entry: Entry, *, steps: int = STEPS) -> dict[str, list[bytes]]:
    """A JPEG for each frame of each camera that the entry binds."""
    keys = [*entry.cameras.values(), *entry.optional_cameras.values()]
    return {key: [encode_jpeg(picture(step)) for step in range(steps)] for key in keys}


def write_dataset(
    folder: Path,
    name: str,
    *,
    fields: Mapping[str, np.ndarray],
    cameras: Mapping[str, list[bytes]],
    context: Mapping[str, Any] | None = None,
    packed: tuple[str, ...] = (),
    language: str | None = "language_instruction",
) -> Path:
    """A TFDS version folder of one episode; `packed` fields are compressed, `context` is of the whole episode."""
    folder = folder / name / "0.1.0"
    folder.mkdir(parents=True)
    steps = len(next(iter(fields.values())))
    told: dict[str, Any] = {}
    record: dict[str, Any] = {}
    for path, values in fields.items():
        _tell(told, f"steps/{path}", _tensor(values, encoding="zlib" if path in packed else "none"))
        is_packed = path in packed
        record[f"steps/{path}"] = [zlib.compress(row.tobytes()) for row in values] if is_packed else values
    for key, jpegs in cameras.items():
        _tell(told, f"steps/{key}", {"image": {"shape": {"dimensions": ["32", "48", "3"]}, "dtype": "uint8"}})
        record[f"steps/{key}"] = jpegs
    if language is not None:
        _tell(told, f"steps/{language}", {"text": {}})
        record[f"steps/{language}"] = [INSTRUCTION.encode()] * steps
    for key, value in (context or {}).items():
        text = isinstance(value, str)
        _tell(told, key, {"text": {}} if text else {"tensor": {"shape": {}, "dtype": "bool", "encoding": "none"}})
        record[key] = [value.encode()] if text else np.array([value])
    info = {
        "name": name,
        "fileFormat": "tfrecord",
        "splits": [{"name": "train", "shardLengths": ["1"]}],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(_features(told)))
    (folder / f"{name}-train.tfrecord-00000-of-00001").write_bytes(frame_tfrecord(example(record)))
    return folder


def _tensor(values: np.ndarray, *, encoding: str) -> dict[str, Any]:
    shape = {"dimensions": [str(size) for size in values.shape[1:]]}
    return {"tensor": {"shape": shape, "dtype": str(values.dtype), "encoding": encoding}}


def _tell(told: dict[str, Any], key: str, feature: dict[str, Any]) -> None:
    """Put a leaf at its place in nested dicts; a leaf has a "leaf" of its own so that it is told from a dict."""
    *parents, last = key.split("/")
    for parent in parents:
        told = told.setdefault(parent, {})
    told[last] = {"leaf": feature}


def _features(told: Mapping[str, Any]) -> dict[str, Any]:
    def node(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
        if "leaf" in value:
            return value["leaf"]
        inner = {"featuresDict": {"features": {key: node(key, child) for key, child in value.items()}}}
        return {"sequence": {"feature": inner, "length": "-1"}} if name == "steps" else inner

    return node("", told)
