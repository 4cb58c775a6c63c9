"""Tensors in safetensors files, memory-mapped: each is read when it is asked for, and let go when nobody has it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.weight_misfits import WeightsError

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


class TensorFiles(Mapping[str, Tensor]):
    """The tensors of one file, or of the shards that an index beside them lists.

    A file is mapped anew for each tensor, so that pages of those that were read do not stay in memory.
    """

    def __init__(self, path: str | Path) -> None:
        """Of a `.safetensors` file, or of a folder with `model.safetensors` or `model.safetensors.index.json`.

        WeightsError where there is none, where a shard is missing or damaged, or where a name is in two shards.
        """
        self._file_of: dict[str, Path] = {}
        twice = []
        for file in _files(Path(path)):
            names = _names(file)
            twice += [f"{name} is in {self._file_of[name].name} and in {file.name}" for name in names & self.keys()]
            self._file_of |= dict.fromkeys(names, file)
        if twice:
            raise WeightsError(twice)

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self._file_of[name], "pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)


def _files(path: Path) -> list[Path]:
    if path.is_dir() and (path / _INDEX).is_file():
        shards = sorted({path / name for name in json.loads((path / _INDEX).read_text())["weight_map"].values()})
        missing = [f"{_INDEX} lists {shard.name}, which is not in {path}" for shard in shards if not shard.is_file()]
        if missing:
            raise WeightsError(missing)
        return shards
    file = path / _SINGLE if path.is_dir() else path
    if not file.is_file():
        raise WeightsError([f"there is no file {file}, expected a .safetensors file or a folder with {_SINGLE}"])
    if file.suffix != ".safetensors":
        advice = "convert it: other formats are pickles, which can run code"
        raise WeightsError([f"{file.name} is {file.suffix or 'without suffix'}, expected .safetensors: {advice}"])
    return [file]


def _names(file: Path) -> set[str]:
    try:
        with safe_open(file, "pt") as opened:
            return set(opened.keys())
    except SafetensorError as error:
        raise WeightsError([f"{file.name} is not a whole safetensors file ({error}): fetch it again"]) from error
