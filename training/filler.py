"""Filling a batch: which frame of which episode in each row becomes pixels, numbers, masks and text.

Safe for many threads that fill different rows. Pictures are decoded straight into their squares of the batch.
"""
# Legend: R runs, S state and A action dimensions of a robot, H steps of a chunk.

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.chunks import ChunkRule, to_delta, write_chunk
from curation.feistel import fraction
from curation.instruction import chosen
from curation.lock import Lock
from schema.errors import EpisodeError, SchemaError
from training.batch import Batch
from training.shard_cache import EpisodeFrames, ShardCache
from training.square_picture import decode_centred

_CAMERA, _CAMERA_DROPOUT = 12, 13
"""The purposes, in keys of randomness, of choosing among several cameras, and of leaving pictures away."""
_RUNS_AT_HAND = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _View:
    """How one component's episodes are read and padded."""

    state: tuple[str, ...]
    action: tuple[str, ...]
    state_at: slice | list[int]
    """Where the state's dimensions stand in the padded vector; a slice where they stand together, which is faster."""
    action_at: slice | list[int]
    state_mask: NDArray[np.bool_]
    action_mask: NDArray[np.bool_]
    rule: ChunkRule
    is_delta: bool
    prefix: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """One row of a batch to fill: which frame of which run's episode, and for which position."""

    row: int
    run: int
    frame: int
    component: int
    position: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One row of a table of runs: where the episode lies, where its chunks end, what holds for it."""

    shard: str
    row_group: int
    stop: int
    episode_id: str
    instructions: tuple[str, ...]
    """One at least."""


class RunColumns:
    """A table of runs to index; strings stay in their dictionaries, and only what is in use is Python's."""

    def __init__(self, runs: pa.Table) -> None:
        self.start_R: NDArray[np.int64] = runs["start"].to_numpy().astype(np.int64)
        self.stop_R: NDArray[np.int64] = runs["stop"].to_numpy().astype(np.int64)
        end_R = runs["chunk_stop" if "chunk_stop" in runs.column_names else "stop"]
        self._chunk_stop_R: NDArray[np.int64] = end_R.to_numpy().astype(np.int64)
        self.component_R: NDArray[np.int64] = runs["component"].to_numpy().astype(np.int64)
        self._row_group_R = runs["row_group"].to_numpy()
        self._shard_R, self._shards = _dictionary(runs["shard"])
        self._episodes, self._instructions = runs["episode_id"].combine_chunks(), runs["instructions"].combine_chunks()
        self._recent = lru_cache(maxsize=_RUNS_AT_HAND)(self._read)

    def __getitem__(self, run: int) -> Run:
        """The row of this number."""
        return self._recent(run)

    def _read(self, run: int) -> Run:
        return Run(
            shard=self._shards[self._shard_R[run]],
            row_group=int(self._row_group_R[run]),
            stop=int(self._chunk_stop_R[run]),
            episode_id=str(self._episodes[run].as_py()),
            instructions=tuple(self._instructions[run].as_py()),
        )


class Filler:
    """Fills rows of batches from a lock's episodes."""

    def __init__(self, lock: Lock, shards: ShardCache, *, runs: pa.Table | None = None) -> None:
        """Read how components are padded, and a table of runs: the lock's own, or another such as `lock.held_out`.

        Pictures and instructions are left away, as the lock says how often, only of the lock's own.
        """
        self._seed, self._shards = lock.seed, shards
        self._views = [_view(lock, index) for index in range(len(lock.components))]
        self._choices = tuple(lock.cameras.values())
        self._is_any = tuple(slot in lock.any_cameras for slot in lock.cameras)
        self._camera_dropout = lock.camera_dropout if runs is None else ()
        self._prompt_dropout = lock.prompt_dropout if runs is None else 0.0
        self._cameras = tuple(dict.fromkeys(name for names in self._choices for name in names))
        self.runs = RunColumns(lock.runs if runs is None else runs)

    def fill(self, batch: Batch, samples: list[Sample]) -> None:
        """Fill these rows; SchemaError that names shard and sample where bytes are gone or broken."""
        for sample in samples:
            episode = self._episode(sample)
            self._fill_numbers(batch, sample, episode=episode)
            for slot, camera in enumerate(self._shown(sample, episode)):
                self._fill_slot(batch, sample, slot=slot, camera=camera, episode=episode)

    def fill_numbers(self, batch: Batch, samples: list[Sample]) -> None:
        """Fill these rows but for their pictures."""
        for sample in samples:
            self._fill_numbers(batch, sample, episode=self._episode(sample))

    def _episode(self, sample: Sample) -> EpisodeFrames:
        view = self._views[sample.component]
        run = self.runs[sample.run]
        return self._shards.episode(
            run.shard, run.row_group, state=view.state, action=view.action, cameras=self._cameras
        )

    def _fill_numbers(self, batch: Batch, sample: Sample, *, episode: EpisodeFrames) -> None:
        row, frame, view, run = sample.row, sample.frame, self._views[sample.component], self.runs[sample.run]
        state_S = episode.state_TS[frame]
        actions_HA = np.empty((batch.step_mask.shape[1], episode.action_TA.shape[1]), np.float32)
        recorded = write_chunk(actions_HA, episode.action_TA, frame, stop=run.stop, rule=view.rule)
        if view.is_delta:
            actions_HA = to_delta(actions_HA[None], state_S[None], view.rule)[0]
        batch.state[row], batch.actions[row] = 0, 0
        batch.state[row][view.state_at] = state_S
        batch.actions[row][:, view.action_at] = actions_HA
        batch.state_mask[row], batch.action_mask[row] = view.state_mask, view.action_mask
        batch.step_mask[row, :recorded], batch.step_mask[row, recorded:] = True, False
        text = chosen(run.instructions, seed=self._seed, position=sample.position, dropout=self._prompt_dropout)
        batch.prompts[row] = view.prefix + text
        batch.sample_ids[row] = f"{run.episode_id}-{frame:06d}"
        batch.positions[row], batch.components[row] = sample.position, sample.component

    def _fraction(self, position: int, *purpose: int) -> float:
        """A number in [0, 1) that is the position's own for this purpose."""
        return fraction(self._seed, position, *purpose)

    def _shown(self, sample: Sample, episode: EpisodeFrames) -> list[str | None]:
        """The camera that each slot shows: the first that it names and the episode has, or any one of these."""
        shown: list[str | None] = []
        for slot, names in enumerate(self._choices):
            there = [name for name in names if name in episode.cameras]
            number = int(self._fraction(sample.position, _CAMERA, slot) * len(there)) if self._is_any[slot] else 0
            shown.append(there[number] if there else None)
        if not self._camera_dropout:
            return shown
        kept = [
            camera if self._fraction(sample.position, _CAMERA_DROPOUT, slot) >= share else None
            for slot, (camera, share) in enumerate(zip(shown, self._camera_dropout, strict=True))
        ]
        return kept if any(kept) else shown

    def _fill_slot(
        self, batch: Batch, sample: Sample, *, slot: int, camera: str | None, episode: EpisodeFrames
    ) -> None:
        """The picture of this camera; black where there is none."""
        batch.image_mask[sample.row, slot] = camera is not None
        square = batch.images[sample.row, slot]
        if camera is None:
            square[:] = 0
            return
        shard = self.runs[sample.run].shard
        jpeg, height, width = self._shards.picture(shard, episode.cameras[camera], sample.frame)
        try:
            decode_centred(jpeg, height, width, out=square)
        except EpisodeError as error:
            where = f"{batch.sample_ids[sample.row]}.{camera} in {shard}.tar"
            raise SchemaError(
                f"the picture of sample {where} is broken ({error}); run `robomix lake verify`"
            ) from error


def _view(lock: Lock, index: int) -> _View:
    component = lock.components[index]
    space = lock.embodiments[component.embodiment_table].action_space(component.action_space)
    state, action = lock.slots(component)
    rule = lock.chunk_rule(component)
    return _View(
        state=space.state,
        action=space.action,
        state_at=_together(state.places),
        action_at=_together(action.places),
        state_mask=state.mask,
        action_mask=action.mask,
        rule=rule,
        is_delta=bool(rule.is_delta.any()),
        prefix=component.prompt_prefix,
    )


def _together(places: tuple[int, ...]) -> slice | list[int]:
    """The places as a slice where they follow one another."""
    first, count = places[0], len(places)
    return slice(first, first + count) if places == tuple(range(first, first + count)) else list(places)


def _dictionary(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """A column of few different texts as indices into them."""
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()
