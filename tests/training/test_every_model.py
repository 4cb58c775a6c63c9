"""Whatever model a training config names is trained by the same job, kept in the same checkpoints, and acts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.by_cameras import ByCameras
from model.models import NAMED as MODELS
from schema.lake import Lake
from tests.lakes import make_lake
from tests.training.test_policy import ur5e
from training.checkpoint import checkpoints
from training.config import NAMED
from training.fixed_samples import SampleReader, spread
from training.loader import Loader
from training.policy import Policy
from training.predict import predict
from training.step import Learner
from training.validate import validate
from training.worker import METRICS, Job, Seat, run

SMALL = ("pi0_small_cpu", "openvla_style", "octo_style")


def short(name: str):
    """A config for some seconds."""
    return replace(NAMED[name], steps=24, warmup_steps=4, global_batch=8, checkpoint_every=12)


@pytest.fixture(scope="module", params=SMALL)
def trained(request, lock_path, tmp_path_factory) -> Path:
    """A folder in which a model was trained for a few steps."""
    out = tmp_path_factory.mktemp(request.param)
    run(Job(lock=lock_path, lake=None, out=str(out), config=short(request.param)), Seat())
    return out


def test_its_loss_falls(trained):
    losses = [json.loads(line)["loss"] for line in (trained / METRICS).read_text().splitlines()]

    assert len(losses) == 24
    assert np.mean(losses[-6:]) < 0.95 * np.mean(losses[:4])


def test_its_checkpoint_acts(trained):
    policy = Policy.load(checkpoints(trained)[-1])

    chunks = policy.act(ur5e(), seed=0)

    assert {name: chunk.values.shape for name, chunk in chunks.items()} == {
        "action.joint_position": (5, 6),
        "action.gripper": (5, 1),
    }
    assert all(np.isfinite(chunk.values).all() for chunk in chunks.values())
    assert type(policy.model).__name__ in {"Pi0Small", "OpenVlaStyle", "OctoStyle"}


def test_it_is_validated_and_its_chunks_are_put_into_the_lake(trained, lock, tmp_path):
    policy, lake = Policy.load(checkpoints(trained)[-1]), make_lake(tmp_path)

    found = validate(policy, lock, lake=lake)
    predicted = predict(policy, lock, checkpoint_uri="file:///runs/one/checkpoint", lake=lake)

    assert all(np.isfinite(row.loss) for row in found.losses)
    assert all(np.isfinite(row.policy) for row in found.errors)
    assert predicted.chunks > 0
    assert Lake(lake.uri).scan("predictions").collect().height > 0


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_has_a_gradient(name, lock):
    learner = Learner(lock, short(name))
    with Loader(lock, batch_size=8, threads=0) as loader:
        learner.losses(learner.inputs(next(loader))).mean().backward()

    assert [weight for weight, one in learner.model.named_parameters() if one.grad is None] == []


@pytest.mark.parametrize("name", ["tiny_cpu", *SMALL])
def test_a_batch_of_mixed_cameras_has_the_losses_of_the_whole(name, lock, lake):
    learner = Learner(lock, short(name))
    batch = SampleReader(lock, lock.runs, lake=lake).read(spread(lock.runs, per_run=1))
    given = learner.inputs(batch)

    whole = learner.model.loss(
        given.observation,
        given.actions,
        noise=given.noise,
        time=given.time,
        action_mask_BW=given.action_mask,
        step_mask_BH=given.step_mask,
    )

    assert len(torch.unique(given.observation.image_mask, dim=0)) == 2
    torch.testing.assert_close(learner.losses(given), whole, rtol=1e-4, atol=1e-5)
    assert isinstance(learner._wrapped, ByCameras)


@pytest.mark.parametrize("name", NAMED)
def test_configs_name_models_that_there_are_and_take_the_locks_sizes(name, lock):
    config = NAMED[name]

    assert config.model in MODELS
    sizes = config.model_config(lock)
    assert getattr(sizes, "chunk_steps", 5) == 5
    assert getattr(sizes, "num_cameras", 3) == 3
