"""Filling a batch: which frame of which episode in each row becomes pixels, numbers, masks and text.

Safe for many threads that fill different rows. Pictures are decoded straight into their squares of the batch.
"""
# Legend: R runs, S state and A action dimensions of a robot, H steps of a chunk.

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.chunks import ChunkRule, gather, to_delta
from curation.feistel import key
from curation.lock import Lock
from schema.errors import EpisodeError, SchemaError
from schema.layout import Slots
from training.batch import Batch
from training.shard_cache import EpisodeFrames, ShardCache
from training.square_picture import decode_centred

_INSTRUCTION = 11
"""The purpose, in keys of randomness, of choosing among several instructions."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _View:
    """How one component's episodes are read and padded."""

    state: tuple[str, ...]
    action: tuple[str, ...]
    state_slots: Slots
    action_slots: Slots
    rule: ChunkRule
    prefix: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """One row of a batch to fill: which frame of which run's episode, and for which position."""

    row: int
    run: int
    frame: int
    component: int
    position: int


class Filler:
    """Fills rows of batches from a lock's episodes."""

    def __init__(self, lock: Lock, shards: ShardCache, *, runs: pa.Table | None = None) -> None:
        """Read how components are padded, and a table of runs: the lock's own, or another such as `lock.held_out`."""
        self._seed, self._shards = lock.seed, shards
        self._views = [_view(lock, index) for index in range(len(lock.components))]
        self._choices = tuple(lock.cameras.values())
        self._cameras = tuple(dict.fromkeys(name for names in self._choices for name in names))
        self.runs = RunColumns(lock.runs if runs is None else runs)

    def fill(self, batch: Batch, samples: list[Sample]) -> None:
        """Fill these rows; SchemaError that names shard and sample where bytes are gone or broken."""
        for sample in samples:
            episode = self._episode(sample)
            self._fill_numbers(batch, sample, episode=episode)
            for slot in range(len(self._choices)):
                self._fill_slot(batch, sample, slot=slot, episode=episode)

    def fill_numbers(self, batch: Batch, samples: list[Sample]) -> None:
        """Fill these rows but for their pictures."""
        for sample in samples:
            self._fill_numbers(batch, sample, episode=self._episode(sample))

    def _episode(self, sample: Sample) -> EpisodeFrames:
        view = self._views[sample.component]
        shard, row_group = self.runs.place(sample.run)
        return self._shards.episode(shard, row_group, state=view.state, action=view.action, cameras=self._cameras)

    def _fill_numbers(self, batch: Batch, sample: Sample, *, episode: EpisodeFrames) -> None:
        row, frame, view = sample.row, sample.frame, self._views[sample.component]
        state_1S = episode.state_TS[frame : frame + 1]
        action_1HA, step_mask_1H = gather(
            episode.action_TA,
            np.array([frame]),
            steps=batch.step_mask.shape[1],
            stop=self.runs.stop_R[sample.run],
            rule=view.rule,
        )
        if view.rule.is_delta.any():
            action_1HA = to_delta(action_1HA, state_1S, view.rule)
        batch.state[row] = view.state_slots.pad(state_1S[0])
        batch.actions[row] = view.action_slots.pad(action_1HA[0])
        batch.state_mask[row] = view.state_slots.mask
        batch.action_mask[row] = view.action_slots.mask
        batch.step_mask[row] = step_mask_1H[0]
        batch.prompts[row] = view.prefix + self._instruction(sample)
        batch.sample_ids[row] = f"{self.runs.episode(sample.run)}-{frame:06d}"
        batch.positions[row] = sample.position
        batch.components[row] = sample.component

    def _instruction(self, sample: Sample) -> str:
        """One of the episode's instructions, chosen by the position alone."""
        texts = self.runs.instructions(sample.run)
        if len(texts) == 1:
            return texts[0]
        return texts[int(key(self._seed, sample.position, _INSTRUCTION)) % len(texts)]

    def _fill_slot(self, batch: Batch, sample: Sample, *, slot: int, episode: EpisodeFrames) -> None:
        """The first camera that the slot names and the episode has; black where it has none."""
        camera = next((name for name in self._choices[slot] if name in episode.cameras), None)
        batch.image_mask[sample.row, slot] = camera is not None
        square = batch.images[sample.row, slot]
        if camera is None:
            square[:] = 0
            return
        places = episode.cameras[camera]
        shard, _ = self.runs.place(sample.run)
        jpeg = self._shards.picture(shard, places, sample.frame)
        try:
            decode_centred(jpeg, int(places.height_T[sample.frame]), int(places.width_T[sample.frame]), out=square)
        except EpisodeError as error:
            where = f"{batch.sample_ids[sample.row]}.{camera} in {shard}.tar"
            raise SchemaError(
                f"the picture of sample {where} is broken ({error}); run `robomix lake verify`"
            ) from error


class RunColumns:
    """A table of runs as arrays to index: strings stay in their dictionaries."""

    def __init__(self, runs: pa.Table) -> None:
        self.start_R: NDArray[np.int64] = runs["start"].to_numpy().astype(np.int64)
        self.stop_R: NDArray[np.int64] = runs["stop"].to_numpy().astype(np.int64)
        self.component_R: NDArray[np.int64] = runs["component"].to_numpy().astype(np.int64)
        self._row_group_R = runs["row_group"].to_numpy()
        self._shard_R, self._shards = _dictionary(runs["shard"])
        self._episodes, self._instructions = runs["episode_id"].combine_chunks(), runs["instructions"].combine_chunks()

    def place(self, run: int) -> tuple[str, int]:
        """Shard and row group of the run's episode."""
        return self._shards[self._shard_R[run]], int(self._row_group_R[run])

    def episode(self, run: int) -> str:
        """The run's episode_id."""
        return str(self._episodes[run].as_py())

    def instructions(self, run: int) -> list[str]:
        """The instructions that hold for the run; one at least."""
        return list(self._instructions[run].as_py())


def _view(lock: Lock, index: int) -> _View:
    component = lock.components[index]
    space = lock.embodiments[component.embodiment_table].action_space(component.action_space)
    state_slots, action_slots = lock.slots(component)
    return _View(
        state=space.state,
        action=space.action,
        state_slots=state_slots,
        action_slots=action_slots,
        rule=lock.chunk_rule(component),
        prefix=component.prompt_prefix,
    )


def _dictionary(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """A column of few different texts as indices into them."""
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()
