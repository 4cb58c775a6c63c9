"""A worker that is stopped anywhere goes on to the very same weights; its parts of a batch are the whole batch's."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from schema.errors import ConfigError, RobomixError
from training.batch import Batch
from training.checkpoint import checkpoints, read
from training.fixed_samples import SampleReader, spread
from training.loader import Loader
from training.step import Learner
from training.worker import METRICS, Seat, keep_rows, last_row, run


class KilledError(Exception):
    """Stands for whatever stops a worker."""


def rows_of(out: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "samples_per_s"} for row in rows]


def assert_same_weights(one: Path, other: Path) -> None:
    (head, ours), (other_head, theirs) = read(one), read(other)
    assert head == other_head
    for part in ("model", "ema", "optimizer"):
        tensors, others = getattr(ours, part), getattr(theirs, part)
        assert tensors.keys() == others.keys()
        assert all(torch.equal(tensors[name], others[name]) for name in tensors), part


@pytest.mark.parametrize("stop", [1, 3, 4, 5])
def test_a_run_killed_at_a_step_and_resumed_has_the_same_weights_and_rows(job, trained, tmp_path, stop):
    def kill(step: int, *_: object) -> None:
        if step == stop:
            raise KilledError

    with pytest.raises(KilledError):
        run(job(tmp_path), Seat(), watch=kill)
    seen: list[int] = []
    run(job(tmp_path), Seat(), watch=lambda step, *_: seen.append(step))

    assert seen == list(range(stop // 2 * 2 + 1, 7))
    assert_same_weights(checkpoints(trained)[-1], checkpoints(tmp_path)[-1])
    assert rows_of(tmp_path) == rows_of(trained)


def test_a_run_that_is_over_does_nothing_more(job, trained):
    run(job(trained), Seat(), watch=lambda *_: pytest.fail("a step was done"))


def test_metrics_have_a_row_for_every_step(trained, config):
    rows = rows_of(trained)

    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["position"] for row in rows] == [4, 8, 12, 16, 20, 24]
    assert [row["lr"] for row in rows] == [config.learning_rate(step) for step in range(6)]
    assert last_row(trained / METRICS)["step"] == 6


def test_rows_after_the_checkpoint_and_half_a_row_are_dropped(tmp_path):
    metrics = tmp_path / METRICS
    metrics.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')

    assert last_row(metrics) == {"step": 3}
    keep_rows(metrics, steps=2)

    assert metrics.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_checkpoint_of_another_config_is_refused_before_any_step(job, trained, tmp_path):
    other = replace(job(trained), config=replace(job(trained).config, peak_lr=1.0))

    with pytest.raises(ConfigError, match="peak_lr"):
        run(other, Seat(), watch=lambda *_: pytest.fail("a step was done"))


def parts(batch: Batch, world_size: int) -> list[Batch]:
    """What each rank would read of a batch."""
    fields = {name: getattr(batch, name) for name in Batch.__slots__}
    return [Batch(**{name: value[rank::world_size] for name, value in fields.items()}) for rank in range(world_size)]


def test_the_loss_of_a_batch_is_the_mean_of_its_parts(lock, config):
    learner = Learner(lock, config)
    with Loader(lock, batch_size=8, threads=0) as loader:
        batch = next(loader)

    whole = learner.losses(learner.inputs(batch))
    halves = [learner.losses(learner.inputs(part)) for part in parts(batch, 2)]

    torch.testing.assert_close(torch.stack(halves, dim=1).flatten(), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.stack([half.mean() for half in halves]).mean(), whole.mean())


def test_every_weight_has_a_gradient(lock, config):
    learner = Learner(lock, config)
    with Loader(lock, batch_size=8, threads=0) as loader:
        learner.losses(learner.inputs(next(loader))).mean().backward()

    assert [name for name, weight in learner.model.named_parameters() if weight.grad is None] == []


def test_the_moving_average_lags_behind_the_weights(trained):
    _, state = read(checkpoints(trained)[-1])
    name = "action_out_proj.weight"
    (_, before) = read(checkpoints(trained)[0])

    assert (state.model[name] - before.model[name]).norm() > (state.ema[name] - before.ema[name]).norm() > 0


def test_a_loss_that_is_not_finite_stops_with_the_step_and_leaves_the_weights(lock, config):
    learner = Learner(lock, config)
    before = learner.model.action_out_proj.weight.clone()
    with Loader(lock, batch_size=4, threads=0) as loader:
        batch = next(loader)
    batch.actions[:] = np.nan

    with pytest.raises(RobomixError, match="the loss of step 0 is nan"):
        learner.step(batch)

    assert torch.equal(learner.model.action_out_proj.weight, before)
    assert learner.step_number == 0


def test_held_out_samples_are_those_of_the_held_out_runs(lock, lake):
    batch = SampleReader(lock, lock.held_out, lake=lake).read(spread(lock.held_out, per_run=2))
    trained_on = set(lock.runs["episode_id"].to_pylist())

    assert len(batch) == 2 * len(lock.held_out)
    assert {sample.split("-")[0] for sample in batch.sample_ids} == set(lock.held_out["episode_id"].to_pylist())
    assert not {sample.split("-")[0] for sample in batch.sample_ids} & trained_on
