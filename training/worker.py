"""One worker of a training run: from the newest checkpoint to the last step, in Ray or in a plain process.

Everything that matters is a function of (lock, config, position), so a worker that starts again goes on as if it had
never stopped. Worker 0 writes checkpoints and `metrics.jsonl`; a row is there for every step, once.
"""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from curation.lock import Lock
from schema.lake import Lake
from training import checkpoint
from training.batch import Batch
from training.checkpoint import Head
from training.config import TrainingConfig
from training.loader import Loader
from training.sampling_log import SamplingLog
from training.shard_cache import ShardCache
from training.spec import PolicySpec
from training.step import Learner, Wrap

METRICS = "metrics.jsonl"
SAMPLING = "sampling"
_CPU = torch.device("cpu")
_TAIL_BYTES = 4096
_THREADS = 1
"""Of a CPU worker, each: one for torch, so that sums are taken in one order on any machine, and one to decode."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What all workers of a training run are told."""

    lock: str
    lake: str | None
    """Where the lake is now, if not where the lock says."""
    out: str
    config: TrainingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """A worker's place among its equals; by default there is one only."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = _CPU
    wrap: Wrap | None = None
    mean: Callable[[Tensor], Tensor] = lambda loss: loss
    """The mean of a number over all workers."""


Watch = Callable[[int, Batch, float], None]
"""Told of each step done: its number, this worker's part of the batch, the loss over the global batch."""


def run(job: Job, seat: Seat, *, watch: Watch = lambda *_: None) -> None:
    """Train to the last step of the config."""
    if seat.device.type == "cpu":
        torch.set_num_threads(_THREADS)
    out, config, lock = Path(job.out), job.config, Lock.load(job.lock)
    lake = Lake(job.lake or lock.lake)
    learner = Learner(lock, config, device=seat.device, wrap=seat.wrap)
    if there := checkpoint.checkpoints(out):
        head, state = checkpoint.read(there[-1])
        checkpoint.refuse_others(head, lock=lock.digest, config=config, where=there[-1])
        learner.restore(state)
    with ExitStack() as stack:
        book = stack.enter_context(_Book(lock, job, lake=lake, learner=learner, seat=seat)) if seat.rank == 0 else None
        loader = stack.enter_context(
            Loader(
                lock,
                batch_size=config.global_batch // seat.world_size,
                rank=seat.rank,
                world_size=seat.world_size,
                position=learner.position,
                threads=_THREADS,
                lake=lake.uri,
            )
        )
        while learner.step_number < config.steps:
            batch = next(loader)
            loss = seat.mean(learner.step(batch)).item()
            if book is not None:
                book.enter(learner, loss, batch)
            watch(learner.step_number, batch, loss)


class _Book:
    """What worker 0 writes: a row of metrics for each step, and checkpoints when they are due."""

    def __init__(self, lock: Lock, job: Job, *, lake: Lake, learner: Learner, seat: Seat) -> None:
        self._out, self._config, self._lock = Path(job.out), job.config, lock
        self._out.mkdir(parents=True, exist_ok=True)
        checkpoint.sweep(self._out)
        self._policy = PolicySpec.of(lock, job.config, shards=ShardCache(lake, cache_bytes=2**26))
        self._sampling = SamplingLog(self._out / SAMPLING, lock, world_size=seat.world_size)
        keep_rows(self._out / METRICS, steps=learner.step_number)
        self._stream = (self._out / METRICS).open("a", encoding="utf-8")
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def enter(self, learner: Learner, loss: float, batch: Batch) -> None:
        """Count the batch, write the row of the step that was done last, and a checkpoint where one is due."""
        config, step, now = self._config, learner.step_number, time.monotonic()
        row = {
            "step": step,
            "position": learner.position,
            "loss": loss,
            "lr": config.learning_rate(step - 1),
            "samples_per_s": round(config.global_batch / max(1e-9, now - self._since), 2),
        }
        self._stream.write(json.dumps(row) + "\n")
        self._stream.flush()
        self._sampling.enter(batch, learner.position)
        if step % config.checkpoint_every == 0 or step == config.steps:
            self._sampling.flush()
            head = Head(
                position=learner.position,
                step=step,
                lock=self._lock.digest,
                config=config.as_json(),
                policy=self._policy,
            )
            checkpoint.write(self._out, head=head, state=learner.state(), keep=config.keep_checkpoints)
        self._since = time.monotonic()


def keep_rows(metrics: Path, *, steps: int) -> None:
    """Drop the rows of steps after these, which will be done again, and a row that was cut in half."""
    if not metrics.exists():
        return
    kept = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= steps:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    part = metrics.with_suffix(".part")
    part.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    part.replace(metrics)


def last_row(metrics: Path) -> dict[str, float] | None:
    """The row of the newest step, read from the file's end; None before the first."""
    if not metrics.exists():
        return None
    with metrics.open("rb") as stream:
        stream.seek(max(0, metrics.stat().st_size - _TAIL_BYTES))
        lines = stream.read().split(b"\n")
    for line in reversed(lines[:-1]):
        try:
            row: dict[str, float] = json.loads(line)
        except ValueError:
            continue
        return row
    return None
