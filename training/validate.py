"""How good a policy is on the runs that its lock holds out: flow-matching loss, and errors of sampled chunks.

Chunk starts, noise and times are fixed, so two checkpoints of one lock are told apart by their weights alone. Errors
are in the robots' own units beside two baselines and beside the same policy with the pictures of other samples: one
that is no worse with these does not look.
"""
# Legend: B samples, H steps of a chunk, W padded width.

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray

from curation.lock import Lock
from schema.errors import ConfigError
from schema.lake import Lake
from training.baselines import hold_still, mean_chunks
from training.batch import Batch
from training.filler import Sample
from training.fixed_samples import SampleReader, spread
from training.inputs import inputs, observe
from training.normalize import Normalizer
from training.policy import Policy
from training.preflight import missing_shards
from training.randomness import SAMPLING, normal
from training.spec import robot_name

Floats = NDArray[np.float32]
_BATCH = 64
STARTS_PER_RUN = 12
ALL_TASKS = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class LossRow:
    """The loss of one embodiment at one task: of flow matching, but for models that are trained in another way."""

    embodiment: str
    task: str
    samples: int
    loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorRow:
    """Root mean square errors of chunks over their valid steps, for the dimensions of one unit."""

    embodiment: str
    task: str
    """"all" over the tasks of this embodiment."""
    unit: str
    samples: int
    policy: float
    shuffled: float
    """The policy with the pictures of other samples of this embodiment."""
    hold_still: float
    """The current state, repeated."""
    mean_chunk: float
    """The mean of the task's training chunks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """What was measured, as plain rows."""

    lock: str
    position: int
    held_out_episodes: int
    losses: tuple[LossRow, ...]
    errors: tuple[ErrorRow, ...]


def validate(
    policy: Policy, lock: Lock, *, lake: Lake | None = None, progress: Callable[[int, int], None] = lambda *_: None
) -> Validation:
    """Measure a policy on the runs that its lock holds out.

    Raises:
        ConfigError: the policy was trained on another lock, the lock holds nothing out, or its shards are gone.
    """
    lake = lake or Lake(lock.lake)
    _check(policy, lock, lake)
    samples = spread(lock.held_out, per_run=STARTS_PER_RUN)
    measure = _Measure(policy, lock, lake)
    done = 0
    for mine in _by_robot(lock, samples).values():
        partners = mine[len(mine) // 2 :] + mine[: len(mine) // 2]
        for first in range(0, len(mine), _BATCH):
            part = mine[first : first + _BATCH]
            measure(part, partners[first : first + _BATCH])
            done += len(part)
            progress(done, len(samples))
    return Validation(
        lock=lock.digest,
        position=policy.head.position,
        held_out_episodes=len(lock.held_out),
        losses=tuple(measure.losses.rows()),
        errors=tuple(measure.errors.rows()),
    )


def _check(policy: Policy, lock: Lock, lake: Lake) -> None:
    if policy.head.lock != lock.digest:
        raise ConfigError(
            f"the checkpoint was trained on lock {policy.head.lock}, found lock {lock.digest}: what this one holds out "
            "may have been trained on; name the lock of the training"
        )
    if len(lock.held_out) == 0:
        raise ConfigError("the lock holds no episode out: add `held_out: 0.1` to its recipe, lock it and train again")
    if gone := missing_shards(lock, lake):
        raise ConfigError(gone[0])


def _by_robot(lock: Lock, samples: list[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[robot_name(lock.components[sample.component])].append(sample)
    return dict(sorted(found.items()))


class _Measure:
    """Measures samples of one robot at a time and adds up."""

    def __init__(self, policy: Policy, lock: Lock, lake: Lake) -> None:
        self._policy, self._lock = policy, lock
        self._reader = SampleReader(lock, lock.held_out, lake=lake)
        self._normalizer = Normalizer.of(lock)
        self._mean_CHW = mean_chunks(lock, lake)
        self.losses, self.errors = _Losses(lock), _Errors(lock)

    def __call__(self, samples: list[Sample], partners: list[Sample]) -> None:
        """Add these samples; `partners` lend their pictures."""
        batch, other = self._reader.read(samples), self._reader.read(partners)
        self.losses.add(batch, self._loss(batch))
        chunks = {"policy": self._sample(batch)}
        batch.images, batch.image_mask = other.images, other.image_mask
        chunks["shuffled"] = self._sample(batch)
        chunks["hold_still"] = hold_still(self._lock, batch)
        chunks["mean_chunk"] = self._mean_CHW[batch.components]
        self.errors.add(batch, chunks)

    @torch.no_grad()
    def _loss(self, batch: Batch) -> Floats:
        policy = self._policy
        given = inputs(
            batch,
            normalizer=self._normalizer,
            tokenizer=policy.tokenizer,
            seed=self._lock.seed,
            device=policy.device,
        )
        loss_B: Floats = (
            policy.by_cameras(
                given.observation,
                given.actions,
                noise=given.noise,
                time=given.time,
                action_mask_BW=given.action_mask,
                step_mask_BH=given.step_mask,
            )
            .cpu()
            .numpy()
        )
        return loss_B

    def _sample(self, batch: Batch) -> Floats:
        """Sampled chunks in the lock's action form and the robots' units."""
        policy = self._policy
        seen = observe(batch, normalizer=self._normalizer, tokenizer=policy.tokenizer, device=policy.device)
        noise_BHW = normal(self._lock.seed, batch.positions, purpose=SAMPLING, shape=policy.chunk_shape)
        normalized_BHW = policy.sample(seen, noise_BHW, batch.action_mask)
        return self._normalizer.native_actions(normalized_BHW, batch.components)


@dataclass(slots=True)
class _Losses:
    """Sums of losses by component."""

    lock: Lock
    found: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, batch: Batch, loss_B: Floats) -> None:
        for component, loss in zip(batch.components.tolist(), loss_B.tolist(), strict=True):
            self.found[component].append(loss)

    def rows(self) -> Iterator[LossRow]:
        for index, losses in sorted(self.found.items()):
            component = self.lock.components[index]
            mean = sum(losses) / len(losses)
            yield LossRow(embodiment=robot_name(component), task=component.task, samples=len(losses), loss=mean)


_Key = tuple[str, str, str]
"""(embodiment, task, unit)."""


@dataclass(slots=True)
class _Errors:
    """Sums of squared errors by embodiment, task and unit."""

    lock: Lock
    squares: dict[_Key, dict[str, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    counts: dict[_Key, int] = field(default_factory=lambda: defaultdict(int))
    samples: dict[_Key, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, batch: Batch, chunks: dict[str, Floats]) -> None:
        for index in np.unique(batch.components).tolist():
            rows = np.flatnonzero(batch.components == index)
            component = self.lock.components[index]
            _, slots = self.lock.slots(component)
            units = np.array([dimension.unit for dimension in self.lock.dimensions(component)[1]])
            errors = {name: slots.unpad(chunk[rows] - batch.actions[rows]) for name, chunk in chunks.items()}
            valid_BH = batch.step_mask[rows]
            for unit in sorted(set(units.tolist())):
                for task in (component.task, ALL_TASKS):
                    key = (robot_name(component), task, unit)
                    self.samples[key] += len(rows)
                    self.counts[key] += int(valid_BH.sum()) * int((units == unit).sum())
                    for name, error_BHA in errors.items():
                        wrong = error_BHA[valid_BH][:, units == unit].astype(np.float64)
                        self.squares[key][name] += float((wrong * wrong).sum())

    def rows(self) -> Iterator[ErrorRow]:
        for key, sums in sorted(self.squares.items(), key=lambda item: (item[0][0], item[0][1] != ALL_TASKS, item[0])):
            embodiment, task, unit = key
            errors = {name: sqrt(total / max(1, self.counts[key])) for name, total in sums.items()}
            yield ErrorRow(embodiment=embodiment, task=task, unit=unit, samples=self.samples[key], **errors)
