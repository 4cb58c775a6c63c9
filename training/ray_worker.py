"""A worker as Ray Train runs it: its seat among the others, and a note of what cannot be mended by starting again."""

from pathlib import Path
from typing import Any

import ray.train
from ray.train.torch import get_device, prepare_model
from torch import Tensor, distributed, nn

from schema import errors
from schema.errors import RobomixError
from training.worker import Job, Seat, run

_NOTE = ".fault"


def work(settings: dict[str, Any]) -> None:
    """Train; `settings["job"]` is the `Job`.

    A fault of the user's data would be met again from every checkpoint. So it is noted, and workers that Ray starts
    anew raise it at once.
    """
    job: Job = settings["job"]
    noted(job.out)
    try:
        run(job, _seat())
    except RobomixError as error:
        (Path(job.out) / _NOTE).write_text(f"{type(error).__name__}\n{error}", encoding="utf-8")
        raise


def noted(out: str | Path) -> None:
    """Raise the fault that a worker has noted, if one has."""
    note = Path(out) / _NOTE
    if note.is_file():
        kind, _, text = note.read_text(encoding="utf-8").partition("\n")
        raise getattr(errors, kind, RobomixError)(text)


def forget(out: str | Path) -> None:
    """Remove the note of an earlier run."""
    (Path(out) / _NOTE).unlink(missing_ok=True)


def _seat() -> Seat:
    context = ray.train.get_context()
    world_size = context.get_world_size()

    def mean(loss: Tensor) -> Tensor:
        if world_size > 1:
            distributed.all_reduce(loss)
        return loss.div(world_size)

    def wrap(model: nn.Module) -> nn.Module:
        wrapped: nn.Module = prepare_model(model)
        return wrapped

    return Seat(rank=context.get_world_rank(), world_size=world_size, device=get_device(), wrap=wrap, mean=mean)
