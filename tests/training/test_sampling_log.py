"""The sampling log says what was drawn of each component, once, whatever happens to the training that writes it."""

import pytest

from curation.mixture import BLOCK
from training.loader import Loader
from training.sampling_log import SamplingLog, read


def logged(folder, lock, *, stop: int, start: int = 0, every: int = 48, **words: int) -> None:
    log = SamplingLog(folder, lock, every=every, world_size=words.get("world_size", 1))
    with Loader(lock, batch_size=8, threads=0, position=start, **words) as loader:
        while loader.position < stop:
            batch = next(loader)
            log.enter(batch, loader.position)
    log.flush()


def test_every_sample_is_counted_in_its_interval(lock, tmp_path):
    logged(tmp_path, lock, stop=120)
    table = read(tmp_path)

    assert sorted(set(zip(table["start"].to_pylist(), table["stop"].to_pylist(), strict=True))) == [
        (0, 48),
        (48, 96),
        (96, 120),
    ]
    assert sum(table["realised"].to_pylist()) == 120
    assert sum(table["planned"].to_pylist()) == pytest.approx(120)
    assert max(table["valid_steps"].to_pylist()) > 0


def test_planned_and_realised_are_a_sample_or_two_apart(lock, tmp_path):
    logged(tmp_path, lock, stop=1024, every=BLOCK)
    table = read(tmp_path)
    shares = {component.name: component.quota / BLOCK for component in lock.components}

    for name, planned, realised in zip(
        *(table[name].to_pylist() for name in ("name", "planned", "realised")), strict=True
    ):
        assert planned == pytest.approx(1024 * shares[name])
        assert abs(planned - realised) <= 2


def test_what_was_drawn_again_after_a_resume_counts_once(lock, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    logged(whole, lock, stop=120)
    logged(broken, lock, stop=64)  # a checkpoint at 64, and on: lost at 80
    logged(broken, lock, start=64, stop=80)
    logged(broken, lock, start=64, stop=120)

    counts = [
        read(folder).group_by("name").aggregate([("realised", "sum")]).sort_by("name") for folder in (whole, broken)
    ]
    assert counts[0].equals(counts[1])


def test_one_reader_of_several_counts_its_own_part(lock, tmp_path):
    logged(tmp_path, lock, stop=96, rank=1, world_size=2)
    table = read(tmp_path)

    assert sum(table["realised"].to_pylist()) == 48
    assert sum(table["planned"].to_pylist()) == pytest.approx(48)


def test_a_log_that_is_not_there_is_empty(tmp_path):
    assert read(tmp_path).num_rows == 0
