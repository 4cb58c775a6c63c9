"""A checkpoint is there whole or not at all, and what is not what was written is refused by name."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from schema.errors import ConfigError
from training import checkpoint
from training.checkpoint import checkpoints, read, read_head, read_weights, refuse_others, sweep, write

FILES = ("model.safetensors", "ema.safetensors", "optimizer.safetensors", "checkpoint.json")


@pytest.fixture
def copy(newest: Path, tmp_path: Path) -> Path:
    """A checkpoint that may be harmed."""
    target = tmp_path / newest.name
    shutil.copytree(newest, target)
    return target


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_a_checkpoint_holds_the_files_that_it_says(newest):
    assert sorted(path.name for path in newest.iterdir()) == sorted(FILES)


def test_reading_gives_back_what_was_written(newest, tmp_path):
    head, state = read(newest)
    again_head, again = read(write(tmp_path, head=head, state=state, keep=1))

    assert again_head == head
    assert again.step == state.step
    for part in ("model", "ema", "optimizer"):
        ours, theirs = getattr(state, part), getattr(again, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", [cut, flip, Path.unlink])
def test_a_harmed_file_is_refused_in_one_message_that_names_it(copy, file, harm):
    harm(copy / file)

    with pytest.raises(ConfigError) as caught:
        read_head(copy)

    assert file in str(caught.value)
    assert copy.name in str(caught.value)


def test_all_harmed_files_are_told_at_once(copy):
    cut(copy / "model.safetensors")
    (copy / "ema.safetensors").unlink()

    with pytest.raises(ConfigError) as caught:
        read_weights(copy)

    assert "model.safetensors has" in str(caught.value)
    assert "ema.safetensors is missing" in str(caught.value)


def test_a_folder_that_is_no_checkpoint_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no checkpoint there"):
        read_head(tmp_path)


def test_a_newer_format_is_told(copy):
    head = json.loads((copy / "checkpoint.json").read_text())
    (copy / "checkpoint.json").write_text(json.dumps(head | {"format_version": 99}))

    with pytest.raises(ConfigError, match="format version 99"):
        read_head(copy)


def test_another_lock_and_config_are_told_with_every_difference(newest, config):
    other = replace(config, peak_lr=0.5, global_batch=8)

    with pytest.raises(ConfigError) as caught:
        refuse_others(read_head(newest), lock="f" * 32, config=other, where=newest)

    for expected in ("its lock is", f"peak_lr {config.peak_lr:g}, this one has 0.5", "global_batch 4, this one has 8"):
        assert expected in str(caught.value)


def test_the_newest_are_kept(newest, tmp_path):
    head, state = read(newest)
    for position in (4, 8, 12):
        write(tmp_path, head=replace(head, position=position), state=state, keep=2)

    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-000000000008", "checkpoint-000000000012"]


def test_the_positions_of_a_locks_checkpoints_are_told(newest, tmp_path):
    head, state = read(newest)
    for position in (12, 4):
        write(tmp_path, head=replace(head, position=position), state=state, keep=9)
    write(tmp_path, head=replace(head, position=8, lock="another"), state=state, keep=9)

    found = checkpoint.positions(tmp_path, lock=head.lock)
    assert found == [(str(tmp_path / f"checkpoint-{position:012d}"), position) for position in (4, 12)]


def test_what_a_killed_writer_leaves_is_no_checkpoint_and_is_swept(newest, tmp_path, monkeypatch):
    head, state = read(newest)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "_sync_folder", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, head=head, state=state, keep=1)
    assert checkpoints(tmp_path) == []
    assert list(tmp_path.iterdir())

    sweep(tmp_path)
    assert not list(tmp_path.iterdir())
