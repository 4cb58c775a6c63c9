"""The whole product once over: logs → lake → lock → π0 in tiny → checkpoint → chunks to look at. `./run demo` is this.

By default two simulated robots record the logs; given logs of one's own, these take their place. Everything goes
through the same calls that the command line's other verbs make, and may be stopped and run again.
"""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation.lock import Lock, register
from curation.make_lock import make_lock
from curation.select import open_recipe
from fleet.record import record
from ingest.job import Report, Request, ingest
from schema.lake import Lake
from training import checkpoint
from training.config import named
from training.contact_sheet import save_contact_sheet
from training.loader import Loader
from training.policy import Policy
from training.predict import predict
from training.train import train
from training.validate import Validation, validate

Bar = Callable[[str, str], AbstractContextManager[Callable[[int, int], None]]]
"""Given a title and what is counted, a context that gives a function of (done, total)."""

IMAGE_SIZE = 64
"""What the tiny model takes; the fleet's cameras are set to it."""
FLEET = ("bimanual_trossen", "ur5e")
"""The simulated robots that it learns from."""
_RECIPE = """\
name: demo
sources:
{sources}
weighting: {{alpha: 0.43}}
chunk: {{steps: {steps}}}
action_form: delta      # joints are told from the state at the chunk's start; grippers and velocities as they are
image_size: {image_size}
prompt: {{tag: true}}     # robots share slots at different rates, so the prompt says which one it is
held_out: {held_out}
"""
_BATCH, _BATCHES = 16, 128
_PREDICTED_EPISODES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to show it on. The defaults are what learns in about a minute on two CPU cores."""

    folder: Path
    logs: tuple[str, ...] = ()
    """Logs of one's own; none means the simulated fleet's."""
    episodes: int = 48
    """Of each simulated robot."""
    training_steps: int | None = None
    """None means as many as the config has."""
    chunk_steps: int = 25
    held_out: float = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What came out, as rows to print and places to go to."""

    reports: tuple[Report, ...]
    shares: tuple[dict[str, Any], ...]
    drawn: int
    """Samples over which the shares were realised."""
    losses: tuple[float, float]
    """Means over the first and the last twentieth of the steps."""
    validation: Validation
    places: dict[str, str] = field(default_factory=dict)


def show(plan: Plan, bar: Bar) -> Shown:
    """Do it all; what is there from an earlier call is used again."""
    lake_uri = str(plan.folder / "lake")
    reports = []
    for source, logs in (_own(plan) if plan.logs else _fleet(plan, bar)).items():
        with bar(f"ingest {source}", "episodes") as progress:
            reports.append(ingest(Request(uri=logs, source=source), lake_uri=lake_uri, progress=progress))
    lake = Lake.open(lake_uri)
    lock, locked = _locked(plan, lake, [report.source for report in reports])
    shares = _draw(lock, plan.folder / "batch.png", bar)
    out = plan.folder / "training" / lock.digest
    with bar("train", "steps") as progress:
        result = train(
            f"{lake_uri}/{locked}",
            config=named("tiny_cpu", steps=plan.training_steps),
            out=out,
            resume=bool(checkpoint.checkpoints(out)),
            progress=progress,
        )
    policy = Policy.load(result.checkpoint)
    with bar("validate", "chunks") as progress:
        validation = validate(policy, lock, progress=progress)
    shown = tuple(dict.fromkeys(lock.held_out["episode_id"].to_pylist()))[:_PREDICTED_EPISODES]
    with bar("predict", "chunks") as progress:
        predict(policy, lock, checkpoint_uri=str(Path(result.checkpoint).resolve()), episodes=shown, progress=progress)
    return Shown(
        reports=tuple(reports),
        shares=shares,
        drawn=_BATCH * _BATCHES,
        losses=_losses(out / "metrics.jsonl"),
        validation=validation,
        places={
            "lake": lake_uri,
            "recipe": str(plan.folder / "recipe.yaml"),
            "lock": f"{lake_uri}/{locked}",
            "checkpoint": result.checkpoint,
            "a batch to look at": str(plan.folder / "batch.png"),
        },
    )


def _own(plan: Plan) -> dict[str, str]:
    """The user's logs by a source name of their folder."""
    names = [Path(logs).resolve().name.lower().replace("-", "_").replace(".", "_") for logs in plan.logs]
    return dict(zip(names, plan.logs, strict=True))


def _fleet(plan: Plan, bar: Bar) -> dict[str, str]:
    """The logs of both simulated robots, recorded if they are not there."""
    logs = plan.folder / f"logs_{plan.episodes}"
    for robot in FLEET:
        if not (logs / robot).exists():
            with bar(f"record {robot}", "episodes") as progress:
                record(robot, out=logs, num_episodes=plan.episodes, seed=0, image_size=IMAGE_SIZE, progress=progress)
    return {f"fleet_{robot}": str(logs / robot) for robot in FLEET}


def _locked(plan: Plan, lake: Lake, sources: list[str]) -> tuple[Lock, str]:
    """The lock of the demo's recipe, and its path in the lake."""
    recipe = plan.folder / "recipe.yaml"
    text = _RECIPE.format(
        sources="\n".join(f"  - source: {source}" for source in sources),
        steps=plan.chunk_steps,
        image_size=IMAGE_SIZE,
        held_out=plan.held_out,
    )
    recipe.write_text(text, encoding="utf-8")
    lock = make_lock(open_recipe(recipe, lake), lake)
    return lock, register(lock, lake)


def _draw(lock: Lock, sheet: Path, bar: Bar) -> tuple[dict[str, Any], ...]:
    """Draw batches, keep a picture of the first, and set what came beside what was planned."""
    names = tuple(component.name for component in lock.components)
    drawn: Counter[int] = Counter()
    with Loader(lock, batch_size=_BATCH) as loader, bar("draw", "batches") as progress:
        for number in range(_BATCHES):
            batch = next(loader)
            drawn.update(batch.components.tolist())
            if number == 0:
                save_contact_sheet(batch, sheet, slots=tuple(lock.cameras), titles=names)
            progress(number + 1, _BATCHES)
    return tuple(
        {
            "component": component.name,
            "episodes": component.episodes,
            "frames": component.frames,
            "planned %": 100 * component.share,
            "realised %": 100 * drawn[index] / (_BATCH * _BATCHES),
        }
        for index, component in enumerate(lock.components)
    )


def _losses(metrics: Path) -> tuple[float, float]:
    losses = [json.loads(line)["loss"] for line in metrics.read_text(encoding="utf-8").splitlines()]
    part = max(1, len(losses) // 20)
    return sum(losses[:part]) / part, sum(losses[-part:]) / part
