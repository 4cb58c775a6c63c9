"""Tensors of safetensors files, whole or in shards; nothing else is read."""

import json

import pytest
import torch
from safetensors.torch import save_file

from model.weight_files import TensorFiles
from model.weight_misfits import WeightsError

ONE, TWO = {"a": torch.arange(6.0).view(2, 3)}, {"b": torch.ones(2, dtype=torch.bfloat16)}


def _shards(folder, **shards):
    for name, tensors in shards.items():
        save_file(tensors, folder / f"{name}.safetensors")
    names = {tensor: f"{name}.safetensors" for name, tensors in shards.items() for tensor in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def test_a_file_and_a_folder_with_one_are_read(tmp_path):
    save_file({**ONE, **TWO}, tmp_path / "model.safetensors")
    save_file({"mean": torch.zeros(1)}, tmp_path / "normalizer.safetensors")  # LeRobot keeps such files beside
    for path in (tmp_path, str(tmp_path / "model.safetensors")):
        tensors = TensorFiles(path)
        assert set(tensors) == {"a", "b"}
        assert torch.equal(tensors["a"], ONE["a"])
        assert tensors["b"].dtype == torch.bfloat16


def test_shards_are_read_by_their_index(tmp_path):
    _shards(tmp_path, first=ONE, second=TWO)
    tensors = TensorFiles(tmp_path)
    assert len(tensors) == 2
    assert torch.equal(tensors["b"], TWO["b"])


def test_a_missing_shard_is_named(tmp_path):
    _shards(tmp_path, first=ONE, second=TWO)
    (tmp_path / "second.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"index.json lists second.safetensors, which is not in"):
        TensorFiles(tmp_path)


def test_a_name_in_two_shards_is_refused(tmp_path):
    _shards(tmp_path, first=ONE, second={**ONE, **TWO})
    names = {"a": "first.safetensors", "b": "second.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(WeightsError, match=r"a is in first.safetensors and in second.safetensors"):
        TensorFiles(tmp_path)


def test_a_cut_file_is_refused(tmp_path):
    save_file(ONE, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-5])
    with pytest.raises(WeightsError, match=r"model.safetensors is not a whole safetensors file .* fetch it again"):
        TensorFiles(tmp_path)


def test_pickles_are_not_opened(tmp_path):
    torch.save(ONE, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"is \.bin, expected \.safetensors: .* can run code"):
        TensorFiles(tmp_path / "pytorch_model.bin")


def test_a_folder_without_weights_is_told_what_is_expected(tmp_path):
    with pytest.raises(WeightsError, match=r"expected a .safetensors file or a folder with model.safetensors"):
        TensorFiles(tmp_path)
