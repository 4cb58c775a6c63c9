"""Checkpoints: a folder that is there whole or not at all, and is read back only if every byte is what was written.

`checkpoint-<position>/` holds `model.safetensors`, `ema.safetensors`, `optimizer.safetensors` and `checkpoint.json`
with everything else: how far training is, of which lock and config, what a policy must know, the files' digests.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from schema.digest import digest_bytes, digest_json
from schema.errors import ConfigError, problems
from training.config import TrainingConfig
from training.spec import PolicySpec
from training.step import State

FORMAT_VERSION = 1
_HEAD = "checkpoint.json"
_PARTS = ("model", "ema", "optimizer")
_NAME = "checkpoint-"
_PLAIN = ("position", "step", "lock", "config")


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What checkpoint.json says of itself and its files."""

    position: int
    """The first position that no step has covered."""
    step: int
    lock: str
    """The lock's digest."""
    config: dict[str, Any]
    """`TrainingConfig.as_json`."""
    policy: PolicySpec


def write(out: Path, *, head: Head, state: State, keep: int) -> Path:
    """Write `out/checkpoint-<position>` whole, then remove all but the newest `keep`."""
    target = out / f"{_NAME}{head.position:012d}"
    files = {f"{part}.safetensors": save_tensors(_plain(getattr(state, part))) for part in _PARTS}
    values = {
        "format_version": FORMAT_VERSION,
        **{name: getattr(head, name) for name in _PLAIN},
        "policy": head.policy.as_json(),
        "files": {name: digest_bytes(data) for name, data in files.items()},
    }
    values = json.loads(json.dumps(values))
    files[_HEAD] = json.dumps({"digest": digest_json(values), **values}, indent=1, ensure_ascii=False).encode()
    out.mkdir(parents=True, exist_ok=True)
    part = Path(mkdtemp(prefix=f".{target.name}.", dir=out))
    for name, data in files.items():
        _write_through(part / name, data)
    part.chmod(0o755)
    _sync_folder(part)
    if target.exists():  # the same position again, after going on from an older checkpoint
        shutil.rmtree(target)
    part.replace(target)
    _sync_folder(out)
    for old in checkpoints(out)[:-keep]:
        shutil.rmtree(old)
    return target


def checkpoints(out: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(path for path in out.glob(f"{_NAME}*") if path.is_dir())


def positions(out: Path, *, lock: str) -> list[tuple[str, int]]:
    """(URI, position) of the checkpoints in a folder that are of this lock, oldest first; weights are not read."""
    heads = [(folder, _values(folder)) for folder in checkpoints(out)]
    return [(str(folder.resolve()), int(values["position"])) for folder, values in heads if values["lock"] == lock]


def sweep(out: Path) -> None:
    """Remove what a process that was killed while writing has left; only while no other one writes there."""
    for part in out.glob(f".{_NAME}*"):
        shutil.rmtree(part)


def read_head(folder: Path) -> Head:
    """What a checkpoint says of itself; ConfigError where it is none, or damaged, in its files too."""
    return _read(folder, parts=())[0]


def read(folder: Path) -> tuple[Head, State]:
    """A checkpoint, to go on from."""
    head, tensors = _read(folder, parts=_PARTS)
    return head, State(step=head.step, **tensors)


def read_weights(folder: Path) -> tuple[Head, dict[str, Tensor]]:
    """The averaged weights, to act with."""
    head, tensors = _read(folder, parts=("ema",))
    return head, tensors["ema"]


def refuse_others(head: Head, *, lock: str, config: TrainingConfig, where: Path) -> None:
    """ConfigError that lists all in which a checkpoint is of another lock or config than what is to go on."""
    lines = []
    if head.lock != lock:
        lines.append(f"its lock is {head.lock}, this one is {lock}: name the lock that it was trained on")
    wanted = config.as_json()
    for name in sorted(wanted.keys() | head.config.keys()):
        found, expected = head.config.get(name), wanted.get(name)
        if found != expected:
            lines.append(f"its config has {name} {found!r}, this one has {expected!r}")
    title = f"training cannot go on from this checkpoint; choose another --out for a fresh start ({where}):"
    error = problems(ConfigError, title, lines)
    if error is not None:
        raise error


def _read(folder: Path, *, parts: tuple[str, ...]) -> tuple[Head, dict[str, dict[str, Tensor]]]:
    values = _values(folder)
    lines = []
    tensors: dict[str, dict[str, Tensor]] = {}
    for name, expected in cast(Mapping[str, str], values["files"]).items():
        path = folder / name
        data = path.read_bytes() if path.is_file() else None
        if data is None:
            lines.append(f"{name} is missing")
        elif digest_bytes(data) != expected:
            lines.append(f"{name} has {len(data):,} bytes of digest {digest_bytes(data)}, expected {expected}")
        elif path.stem in parts:
            tensors[path.stem] = _tensors(data, where=path)
    error = problems(ConfigError, _damaged(folder), lines)
    if error is not None:
        raise error
    policy = PolicySpec.from_json(values["policy"])
    return Head(policy=policy, **{name: values[name] for name in _PLAIN}), tensors


def _values(folder: Path) -> dict[str, Any]:
    """checkpoint.json, when it is whole and of a format that this robomix can read."""
    try:
        values = json.loads((folder / _HEAD).read_bytes())
        digest = values.pop("digest")
        version = int(values["format_version"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(
            f"no checkpoint there: expected a folder with {_HEAD}, such as OUT/{_NAME}000000016000 of "
            f"`robomix train LOCK --out OUT` ({folder})"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{_damaged(folder)}\n  - {_HEAD} is not a checkpoint's: {error!r}") from error
    if version > FORMAT_VERSION:
        raise ConfigError(
            f"the checkpoint has format version {version}, this robomix reads up to {FORMAT_VERSION}: "
            f"use a newer robomix ({folder})"
        )
    if digest_json(values) != digest:
        raise ConfigError(f"{_damaged(folder)}\n  - {_HEAD} has digest {digest_json(values)}, expected {digest}")
    return cast(dict[str, Any], values)


def _damaged(folder: Path) -> str:
    return f"the checkpoint is damaged: copy it again, or remove it to use the one before ({folder}):"


def _tensors(data: bytes, *, where: Path) -> dict[str, Tensor]:
    try:
        return load_tensors(data)
    except SafetensorError as error:
        raise ConfigError(f"the file is no safetensors ({error}): written by another robomix? ({where})") from error


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Let the folder's names reach the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
