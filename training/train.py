"""Lock → weights: training workers under Ray Train, watched from here.

The driver checks everything that can be checked before any work, starts the workers and waits. They hold no state that
is not in the folder `out`: checkpoints and `metrics.jsonl`. It must be one that all machines share.
"""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer

from curation.lock import Lock
from schema.errors import ConfigError, RobomixError
from schema.lake import Lake
from training import checkpoint
from training.config import TrainingConfig
from training.preflight import preflight
from training.ray_cluster import has_gpus, start_ray
from training.ray_worker import forget, noted, work
from training.worker import METRICS, Job, last_row

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""
MAX_FAILURES = 3
"""How often lost workers are started anew from the newest checkpoint before training gives up."""
_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult:
    """What came of training."""

    checkpoint: str
    step: int
    position: int
    loss: float
    """Over the global batch of the last step."""


def train(
    lock_path: str | Path,
    *,
    config: TrainingConfig,
    out: str | Path,
    resume: bool = False,
    workers: int = 2,
    lake: str | None = None,
    progress: Progress = lambda *_: None,
) -> TrainingResult:
    """Train on a lock to the config's last step, from the newest checkpoint in `out` where `resume` is asked for.

    Args:
        lock_path: The lock's folder or URI.
        config: How to train.
        out: Folder for checkpoints and metrics, on a disk that all workers share.
        resume: Go on from what is there; without it a folder that holds checkpoints is refused.
        workers: Processes that share the global batch, one CPU (or GPU, where there are any) each.
        lake: Where the lake is now, if not where the lock says.
        progress: Told of steps done.

    Raises:
        ConfigError: something does not fit together; every problem, before any work.
        RobomixError: workers were lost more often than is put up with; what the last one said.
    """
    lock = Lock.load(lock_path)
    folder = Path(out).resolve()
    where = Lake(lake or lock.lake)
    preflight(lock, config, world_size=workers, lake=where)
    _look(folder, lock=lock, config=config, resume=resume)
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(lock=_absolute(lock_path), lake=where.uri, out=str(folder), config=config)
    with _watched(folder / METRICS, total=config.steps, progress=progress):
        _fit(job, workers=workers)
    head = checkpoint.read_head(newest := checkpoint.checkpoints(folder)[-1])
    row = last_row(folder / METRICS) or {}
    return TrainingResult(
        checkpoint=str(newest), step=head.step, position=head.position, loss=float(row.get("loss", float("nan")))
    )


def _look(out: Path, *, lock: Lock, config: TrainingConfig, resume: bool) -> None:
    """ConfigError where the folder holds what must not be written over, or what cannot be gone on from."""
    there = checkpoint.checkpoints(out) if out.is_dir() else []
    if there and not resume:
        raise ConfigError(
            f"the folder holds checkpoints already: add --resume to go on from the newest ({there[-1].name}), or "
            f"choose another --out ({out})"
        )
    if there:
        head = checkpoint.read_head(there[-1])
        checkpoint.refuse_others(head, lock=lock.digest, config=config, where=there[-1])


def _absolute(path: str | Path) -> str:
    """A local path as workers, which start elsewhere, find it; URIs as they are."""
    return str(path) if "://" in str(path) else str(Path(path).resolve())


def _fit(job: Job, *, workers: int) -> None:
    """Run the workers under Ray Train and wait; a lost worker has all of them start anew from the newest checkpoint."""
    start_ray(workers=workers)
    forget(job.out)
    storage = Path(job.out) / ".ray"
    trainer = TorchTrainer(
        work,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=has_gpus()),
        run_config=RunConfig(
            name=uuid4().hex,  # a name that was used before would bring back that run's state
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        noted(job.out)
        raise RobomixError(
            f"the workers failed {MAX_FAILURES + 1} times; mend what they tell of, then the same command with "
            f"--resume goes on from the newest checkpoint. What they told: {str(error).strip()}"
        ) from error
    finally:
        shutil.rmtree(storage, ignore_errors=True)


@contextmanager
def _watched(metrics: Path, *, total: int, progress: Progress) -> Iterator[None]:
    """Tell of the steps that the metrics show, while the block runs."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_POLL_S):
            tell()

    def tell() -> None:
        row = last_row(metrics)
        if row is not None:
            progress(int(row["step"]), total)

    watcher = threading.Thread(target=watch, name="robomix-training-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
        tell()
