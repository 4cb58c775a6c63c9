"""The arrays of a checkpoint folder of orbax, as openpi releases and saves its JAX parameters; for `load_jax`.

Both of orbax's layouts are read, all arrays in one OCDBT database and a folder for each, of either version of zarr.
tensorstore does it, which `./run`'s environment has (elsewhere `pip install tensorstore`); neither JAX nor orbax is
needed. Zarr means zeros by a chunk that is not there; where the checkpoint says that it holds its zeros too, a lost
chunk is an error.
"""

import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from model.jax_weights import StoredArray
from model.weight_misfits import WeightsError

_DRIVERS = {"/.zarray": "zarr", "/zarr.json": "zarr3"}
"""What ends the name of an array's description, and who reads such arrays."""


class OrbaxArrays(Mapping[str, StoredArray]):
    """Paths, like `params/state_proj/bias`, to arrays whose numbers are read when they are asked for."""

    def __init__(self, path: str | Path) -> None:
        """Of the folder that orbax wrote, or of a checkpoint of openpi, which has it as `params`.

        ModuleNotFoundError where tensorstore is not installed, WeightsError where there are no such arrays.
        """
        self._tensorstore = _tensorstore()
        path = Path(path).absolute()
        folder = path / "params" if (path / "params").is_dir() else path
        self._folder, self._is_database = folder, (folder / "manifest.ocdbt").is_file()
        metadata = folder / "_METADATA"
        told = json.loads(metadata.read_text()) if metadata.is_file() else {}
        self._has_zeros = bool(told.get("store_array_data_equal_to_fill_value", False))
        self._found = {name.replace(".", "/"): (name, driver) for name, driver in self._list()}
        if not self._found:
            raise WeightsError(
                [f"there are no arrays of orbax in {folder}, expected manifest.ocdbt or params.*/.zarray"]
            )

    def __getitem__(self, path: str) -> StoredArray:
        name, driver = self._found[path]
        spec = {"driver": driver, "kvstore": self._place(f"{name}/"), "fill_missing_data_reads": not self._has_zeros}
        array: StoredArray = self._tensorstore.open(spec, read=True).result()
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def _place(self, name: str = "") -> dict[str, Any]:
        """Where tensorstore finds the keys that begin so."""
        files = {"driver": "file", "path": f"{self._folder}/{'' if self._is_database else name}"}
        return {"driver": "ocdbt", "base": files, "path": name} if self._is_database else files

    def _list(self) -> Iterator[tuple[str, str]]:
        """(name, driver) of each array."""
        folder = self._folder
        if not folder.is_dir():
            raise WeightsError([f"there is no folder {folder}, expected a checkpoint of orbax"])
        try:
            keys = self._tensorstore.KvStore.open(self._place()).result().list().result()
        except ValueError as error:
            raise WeightsError([f"{folder} is not a whole checkpoint of orbax ({error}): fetch it again"]) from error
        for key in sorted(key.decode() for key in keys):
            for end, driver in _DRIVERS.items():
                if key.endswith(end):
                    yield key.removesuffix(end), driver


def _tensorstore() -> Any:
    try:
        return import_module("tensorstore")
    except ModuleNotFoundError as error:
        error.add_note("checkpoints of orbax are read by tensorstore: pip install tensorstore")
        raise
