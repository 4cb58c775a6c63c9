"""Batches for a plain PyTorch loop, without Ray and without a torch DataLoader's processes.

    loader = Loader(Lock.load("my_lock"), batch_size=32)
    for batch in DataLoader(TorchBatches(loader, pin=True), batch_size=None):
        loss = policy(batch["images"].to("cuda", non_blocking=True), …)

The loader has threads of its own: leave `num_workers` at 0. Other processes would decode everything once more each.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from schema.errors import ConfigError
from training.batch import Batch
from training.loader import Loader


class TorchBatches(IterableDataset[dict[str, Any]]):
    """A loader's batches as dictionaries: tensors under the names of `Batch`, and lists of text."""

    def __init__(self, loader: Loader, *, pin: bool = False) -> None:
        """Wrap a loader.

        Args:
            loader: Where batches come from; its `position` is what to keep in a checkpoint.
            pin: Copy into page-locked memory, from which a GPU takes them while the next ones are made. Otherwise a
                batch's tensors are the loader's own arrays and hold until the next batch is asked for.
        """
        self._loader, self._pin = loader, pin

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if get_worker_info() is not None:
            raise ConfigError("the loader decodes in threads of its own, found a DataLoader's worker: num_workers=0")
        return map(self._tensors, self._loader)

    def _tensors(self, batch: Batch) -> dict[str, Any]:
        return {field.name: self._tensor(getattr(batch, field.name)) for field in fields(batch)}

    def _tensor(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return list(value)
        tensor = torch.from_numpy(value)
        return tensor.pin_memory() if self._pin else tensor
