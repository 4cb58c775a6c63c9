"""Training under Ray Train: any number of workers, killed workers and killed drivers all give the one training run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import torch
from ray.train import WorkerGroupError

from curation.lock import Lock
from schema.errors import ConfigError, SchemaError
from schema.lake import Lake
from training import ray_worker
from training import train as train_module
from training.checkpoint import checkpoints, read
from training.config import TrainingConfig
from training.loader import Loader
from training.train import train
from training.worker import METRICS, Job, Seat, run

ROOT = Path(__file__).parents[2]
STEPS = 18
PATIENCE_S = 500
"""A worker imports torch for a minute where other processes want the cores too."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """A local Ray, and the environment by which another process joins it."""
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_ADDRESS")}
    os.environ["RAY_AUTH_MODE"] = "disabled"  # no token in the home folder of who runs the tests
    os.environ.pop("RAY_ADDRESS", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves its log files to the garbage collector
        context = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield {**os.environ, "RAY_ADDRESS": context.address_info["gcs_address"], "RAY_AUTH_MODE": "disabled"}
    ray.shutdown()
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture(scope="module")
def longer(config: TrainingConfig) -> TrainingConfig:
    """Long enough to be killed on the way."""
    return replace(config, steps=STEPS, warmup_steps=5, checkpoint_every=6)


@pytest.fixture(scope="module")
def alone(lock_path: str, longer: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run by one worker without Ray, never interrupted."""
    out = tmp_path_factory.mktemp("alone")
    run(Job(lock=lock_path, lake=None, out=str(out), config=longer), Seat())
    return out


def losses(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["loss"] for row in rows]


def wait_for_steps(out: Path, steps: int) -> None:
    """Until the metrics have so many rows."""
    end = time.monotonic() + PATIENCE_S
    while not (out / METRICS).exists() or (out / METRICS).read_text().count("\n") < steps:
        assert time.monotonic() < end, "training does not get on"
        time.sleep(0.05)


def workers_of_this_process() -> list[int]:
    """Ray Train's workers among the processes that this one has started, by Linux's /proc."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            names[int(folder.name)] = (folder / "cmdline").read_text()
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # it has ended meanwhile

    def is_ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and is_ours(parents[pid]))

    return [pid for pid, name in names.items() if "RayTrainWorker" in name and is_ours(pid)]


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_global_batches_of_one_worker(lock: Lock, world_size: int):
    def ids(batch_size: int, **words: int) -> list[list[str]]:
        with Loader(lock, batch_size=batch_size, threads=0, **words) as loader:
            return [list(next(loader).sample_ids) for _ in range(5)]

    whole = ids(8)
    ranks = [ids(8 // world_size, rank=rank, world_size=world_size) for rank in range(world_size)]

    for step in range(5):
        assert sorted(whole[step]) == sorted(sample for rank in ranks for sample in rank[step])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_one_of_them_killed_give_the_losses_of_one(cluster, lock_path, longer, alone, tmp_path):
    killed: list[int] = []

    def kill() -> None:
        wait_for_steps(tmp_path / "out", 9)
        killed.append(workers_of_this_process()[-1])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    told: list[tuple[int, int]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, from several threads
        result = train(
            lock_path, config=longer, out=tmp_path / "out", workers=2, progress=lambda *words: told.append(words)
        )
    killer.join()

    assert killed
    assert (result.step, result.position) == (STEPS, 4 * STEPS)
    assert told[-1] == (STEPS, STEPS)
    assert losses(tmp_path / "out") == pytest.approx(losses(alone), rel=2e-3)
    _, ours = read(checkpoints(tmp_path / "out")[-1])
    _, theirs = read(checkpoints(alone)[-1])
    for name, weight in ours.model.items():
        torch.testing.assert_close(weight, theirs.model[name], rtol=0, atol=2e-2)


WORKER = """
import json, sys
from dataclasses import replace
from training.config import TINY_CPU
from training.worker import Job, Seat, run
lock, out, words = sys.argv[1:]
run(Job(lock=lock, lake=None, out=out, config=replace(TINY_CPU, **json.loads(words))), Seat())
"""
COMMAND = """
import json, sys
from dataclasses import replace
from training import config
config.NAMED["longer"] = replace(config.TINY_CPU, **json.loads(sys.argv.pop()))
sys.argv = ["robomix", "train", *sys.argv[1:], "--config", "longer", "--workers", "1"]
import robomix
robomix.main()
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_was_killed_and_resumed_by_the_command_has_the_very_same_weights(
    cluster, lock_path, longer, alone, tmp_path
):
    out = str(tmp_path / "out")
    words = json.dumps({key: value for key, value in longer.as_json().items() if key not in {"betas", "name"}})
    with subprocess.Popen([sys.executable, "-c", WORKER, lock_path, out, words], cwd=ROOT) as first:
        wait_for_steps(tmp_path / "out", 15)
        first.send_signal(signal.SIGKILL)

    resumed = subprocess.run(
        [sys.executable, "-c", COMMAND, lock_path, "--out", out, "--resume", "--json", words],
        env=cluster,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout.splitlines()[-1])["step"] == STEPS
    assert losses(tmp_path / "out") == losses(alone)
    ours, theirs = (read(checkpoints(out)[-1])[1] for out in (tmp_path / "out", alone))
    for part in ("model", "ema", "optimizer"):
        for name, tensor in getattr(ours, part).items():
            assert torch.equal(tensor, getattr(theirs, part)[name]), name


def test_a_fault_of_the_data_is_noted_and_met_without_training_again(job, tmp_path, monkeypatch):
    tries: list[int] = []

    def broken(*_: object) -> None:
        tries.append(1)
        raise SchemaError("the picture of sample x is broken")

    monkeypatch.setattr(ray_worker, "run", broken)
    monkeypatch.setattr(ray_worker, "_seat", Seat)
    for _ in range(3):
        with pytest.raises(SchemaError, match="the picture of sample x is broken"):
            ray_worker.work({"job": job(tmp_path)})
    assert len(tries) == 1

    ray_worker.forget(tmp_path)
    ray_worker.noted(tmp_path)


def test_what_a_worker_noted_is_what_the_driver_says(lock_path, config, tmp_path, monkeypatch):
    def fit(_trainer: object) -> None:
        (tmp_path / "out" / ".fault").write_text("SchemaError\nthe picture of sample x is broken")
        raise WorkerGroupError("many words", {})

    monkeypatch.setattr(train_module, "start_ray", lambda **_: None)
    monkeypatch.setattr(train_module, "has_gpus", lambda: False)
    monkeypatch.setattr(train_module.TorchTrainer, "fit", fit)

    with pytest.raises(SchemaError, match="the picture of sample x is broken"):
        train(lock_path, config=config, out=tmp_path / "out")


def test_a_folder_with_checkpoints_is_refused_without_resume(lock_path, config, trained):
    with pytest.raises(ConfigError, match=r"holds checkpoints already: add --resume"):
        train(lock_path, config=config, out=trained)


def test_resuming_with_another_config_or_lock_is_refused_with_every_difference(make, config, trained, tmp_path):
    make(seed=1).save(tmp_path / "lock")

    with pytest.raises(ConfigError) as caught:
        train(tmp_path / "lock", config=replace(config, ema_decay=0.5), out=trained, resume=True)

    assert "its lock is" in str(caught.value)
    assert "its config has ema_decay 0.99, this one has 0.5" in str(caught.value)


def test_a_damaged_newest_checkpoint_is_refused_before_any_work(lock_path, config, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "out")
    newest = checkpoints(tmp_path / "out")[-1]
    (newest / "model.safetensors").write_bytes(b"")

    with pytest.raises(ConfigError, match=rf"(?s)damaged.*{newest.name}.*model.safetensors has 0 bytes"):
        train(lock_path, config=config, out=tmp_path / "out", resume=True)


def test_shards_that_are_gone_are_told_before_any_work(lock_path, config, tmp_path):
    with pytest.raises(ConfigError, match="files of its shards are gone"):
        train(lock_path, config=config, out=tmp_path / "out", lake=Lake(str(tmp_path / "nowhere")).uri)

    assert not (tmp_path / "out").exists()
