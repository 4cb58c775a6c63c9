"""A plain PyTorch loop reads the loader's batches as tensors."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from schema.errors import ConfigError
from training.loader import Loader
from training.torch_dataset import TorchBatches


def test_a_torch_data_loader_passes_the_batches_on(lock):
    with Loader(lock, batch_size=4) as loader, Loader(lock, batch_size=4, threads=0) as plain:
        for tensors in DataLoader(TorchBatches(loader), batch_size=None):
            batch = next(plain)
            assert tensors["images"].dtype == torch.uint8
            np.testing.assert_array_equal(tensors["images"].numpy(), batch.images)
            np.testing.assert_array_equal(tensors["actions"].numpy(), batch.actions)
            assert tensors["prompts"] == batch.prompts
            if loader.state() >= 12:
                break


def test_processes_of_a_torch_data_loader_are_refused(lock, monkeypatch):
    monkeypatch.setattr("training.torch_dataset.get_worker_info", object)
    with Loader(lock, batch_size=4) as loader, pytest.raises(ConfigError, match="num_workers=0"):
        iter(TorchBatches(loader))
