"""A tiny lake, its lock and short training runs on it, made once for all tests that only read them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from curation.lock import Lock
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from schema.lake import Lake
from tests.lakes import make_lake
from training.checkpoint import checkpoints
from training.config import TINY_CPU, TrainingConfig
from training.policy import Policy
from training.worker import Job, Seat, run

RECIPE = """
name: tiny
sources: [{source: tiny}]
chunk: {steps: 5}
image_size: 64
action_form: delta
prompt: {tag: true}
held_out: 0.3
"""

CONFIG = replace(
    TINY_CPU, name="test", steps=6, warmup_steps=2, global_batch=4, checkpoint_every=2, keep_checkpoints=10
)


@pytest.fixture(scope="session")
def config() -> TrainingConfig:
    """Six steps of four samples, a checkpoint after every second one."""
    return CONFIG


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two robots × two tasks, three episodes each, all in one shard."""
    return make_lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="session")
def make(lake: Lake) -> Callable[..., Lock]:
    """Makes a lock of the tiny lake, with lines of the recipe replaced."""

    def lock_of(**lines: object) -> Lock:
        words = dict(line.split(": ", 1) for line in RECIPE.strip().splitlines())
        text = "\n".join(f"{key}: {value}" for key, value in (words | lines).items())
        return make_lock(parse_recipe(text), lake)

    return lock_of


@pytest.fixture(scope="session")
def lock(make: Callable[..., Lock]) -> Lock:
    """A lock in the delta form, with four or so episodes held out."""
    return make()


@pytest.fixture(scope="session")
def lock_path(lock: Lock, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The lock as a folder."""
    folder = tmp_path_factory.mktemp("locks") / "tiny"
    lock.save(folder)
    return str(folder)


@pytest.fixture(scope="session")
def job(lock_path: str) -> Callable[[Path], Job]:
    """Makes a job that trains into a folder."""
    return lambda out: Job(lock=lock_path, lake=None, out=str(out), config=CONFIG)


@pytest.fixture(scope="session")
def trained(job: Callable[[Path], Job], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never interrupted."""
    out = tmp_path_factory.mktemp("trained")
    run(job(out), Seat())
    return out


@pytest.fixture(scope="session")
def newest(trained: Path) -> Path:
    """Its last checkpoint."""
    return checkpoints(trained)[-1]


@pytest.fixture(scope="session")
def policy(newest: Path) -> Policy:
    """The policy of that."""
    return Policy.load(newest)
