"""Filling a batch: which frame of which episode in each row becomes pixels, numbers, masks and text.

Safe for many threads that fill different rows. Pictures are decoded straight into their squares of the batch.
"""
# Legend: R runs, S state and A action dimensions of a robot, H steps of a chunk.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.chunks import ChunkRule, to_delta, write_chunk
from curation.instruction import chosen
from curation.lock import Lock, whole
from curation.shown import ShownCameras
from schema.arrays import Bytes, as_numpy
from schema.errors import EpisodeError, SchemaError
from schema.picture import Pixels
from training.batch import Batch
from training.shard_cache import EpisodeFrames, Place, ShardCache, Wanted, check_bytes
from training.square_picture import decode_centred

_RUNS_AT_HAND = 1 << 14


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _View:
    """How one component's episodes are read and padded."""

    wanted: Wanted
    state_at: slice | list[int]
    """Where the state's dimensions stand in the padded vector; a slice where they stand together, which is faster."""
    action_at: slice | list[int]
    rule: ChunkRule
    is_delta: bool
    prefix: str


class Sample(NamedTuple):
    """One row of a batch to fill: which frame of which run's episode, and for which position."""

    row: int
    run: int
    frame: int
    component: int
    position: int


_Picture: TypeAlias = tuple[Pixels, Bytes, Place, Sample, str | None]
"""A square, the JPEG to decode into it, and for what comes of it: where it stands, whose it is, its camera."""


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
        self.start_R, self.stop_R, self.component_R, self._row_group_R = (
            as_numpy(whole(runs[name])) for name in ("start", "stop", "component", "row_group")
        )
        self._chunk_stop_R = as_numpy(whole(runs["chunk_stop" if "chunk_stop" in runs.column_names else "stop"]))
        self._shard_R, self._shards = _dictionary(whole(runs["shard"]))
        self._episodes, self._instructions = whole(runs["episode_id"]), whole(runs["instructions"])
        self._recent = lru_cache(maxsize=_RUNS_AT_HAND)(self._read)

    def __getitem__(self, run: int) -> Run:
        """The row of this number."""
        return self._recent(run)

    def _read(self, run: int) -> Run:
        return Run(
            shard=str(self._shards[self._shard_R.item(run)]),
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
        self._shown = ShownCameras(lock, drops=runs is None)
        self._prompt_dropout = lock.prompt_dropout if runs is None else 0.0
        cameras = tuple(dict.fromkeys(name for names in lock.cameras.values() for name in names))
        self._views = [_view(lock, index, cameras=cameras) for index in range(len(lock.components))]
        slots = [lock.slots(component) for component in lock.components]
        self._state_mask_CW = np.stack([state.mask for state, _ in slots])
        self._action_mask_CW = np.stack([action.mask for _, action in slots])
        self.runs = RunColumns(lock.runs if runs is None else runs)

    def fill(self, batch: Batch, samples: Sequence[Sample]) -> None:
        """Fill these rows; SchemaError that names shard and sample where bytes are gone or broken.

        All pictures are found before the first is decoded: a decoder fills the core's caches, and Python that runs
        after it takes more than twice as long.
        """
        episodes = self.fill_numbers(batch, samples)
        pairs = zip(samples, episodes, strict=True)
        for picture in [picture for pair in pairs for picture in self._pictures(batch, *pair)]:
            self._decode(picture)

    def fill_numbers(self, batch: Batch, samples: Sequence[Sample]) -> list[EpisodeFrames]:
        """Fill these rows but for their pictures; gives back the episodes that they are of."""
        if not samples:
            return []
        row_P, _, _, *columns = zip(*samples, strict=True)
        component_P, position_P = map(np.array, columns)
        rows = _evenly(row_P)
        batch.state[rows], batch.actions[rows], batch.image_mask[rows] = 0, 0, True
        batch.state_mask[rows] = self._state_mask_CW[component_P]
        batch.action_mask[rows] = self._action_mask_CW[component_P]
        batch.positions[rows], batch.components[rows] = position_P, component_P
        episodes = [self.episode(sample) for sample in samples]
        recorded = [self._fill_row(batch, *pair) for pair in zip(samples, episodes, strict=True)]
        batch.step_mask[rows] = np.arange(batch.step_mask.shape[1]) < np.array(recorded)[:, None]
        return episodes

    def episode(self, sample: Sample) -> EpisodeFrames:
        """The numbers of a sample's episode and its pictures' places."""
        run = self.runs[sample.run]
        try:
            return self._shards.episode(run.shard, run.row_group, self._views[sample.component].wanted)
        except (pa.ArrowException, OSError) as error:
            where = f"{run.episode_id}-{sample.frame:06d} in {run.shard}.parquet"
            raise SchemaError(
                f"the numbers of sample {where} are broken ({error}); run `robomix lake verify`"
            ) from error

    def _fill_row(self, batch: Batch, sample: Sample, episode: EpisodeFrames) -> int:
        """Write a row's state, chunk and texts; how many steps of the chunk were recorded."""
        row, run_number, frame, component, position = sample
        view, run = self._views[component], self.runs[run_number]
        state_S = episode.state_TS[frame]
        batch.state[row, view.state_at] = state_S
        actions_HA = (
            batch.actions[row, :, view.action_at]
            if isinstance(view.action_at, slice)
            else np.empty((batch.actions.shape[1], len(view.action_at)), np.float32)
        )
        recorded = write_chunk(actions_HA, episode.action_TA, frame, stop=run.stop, rule=view.rule)
        if view.is_delta:
            actions_HA[:] = to_delta(actions_HA[None], state_S[None], view.rule)[0]
        if not isinstance(view.action_at, slice):
            batch.actions[row][:, view.action_at] = actions_HA
        text = chosen(run.instructions, seed=self._seed, position=position, dropout=self._prompt_dropout)
        batch.prompts[row] = view.prefix + text
        batch.sample_ids[row] = f"{run.episode_id}-{frame:06d}"
        return recorded

    def shown(self, sample: Sample, episode: EpisodeFrames) -> tuple[str | None, ...]:
        """The camera that each slot shows of a sample."""
        return self._shown(episode.cameras, sample.position)

    def _pictures(self, batch: Batch, sample: Sample, episode: EpisodeFrames) -> Iterator[_Picture]:
        """The pictures that this sample shows; where there is none, its square is made black."""
        row, run, frame, _, _ = sample
        shown = self.shown(sample, episode)
        found = self._shards.pictures(self.runs[run].shard, episode, frame, cameras=shown)
        for slot, here in enumerate(found):
            if here is None:
                batch.images[row, slot], batch.image_mask[row, slot] = 0, False
                continue
            jpeg, place = here
            picture = batch.images[row, slot], jpeg, place, sample, shown[slot]
            try:
                check_bytes(jpeg, place)
            except EpisodeError as error:
                raise self._broken(picture, error) from error
            yield picture

    def _decode(self, picture: _Picture) -> None:
        square, jpeg, (_, _, height, width, _), _, _ = picture
        try:
            decode_centred(jpeg, height, width, out=square)
        except EpisodeError as error:
            raise self._broken(picture, error) from error

    def _broken(self, picture: _Picture, error: EpisodeError) -> SchemaError:
        *_, sample, camera = picture
        run = self.runs[sample.run]
        where = f"{run.episode_id}-{sample.frame:06d}.{camera} in {run.shard}.tar"
        return SchemaError(
            f"the picture of sample {where} is broken ({error}); run `robomix lake verify`, and copy the "
            "shard again or ingest its episodes anew"
        )


def _view(lock: Lock, index: int, *, cameras: tuple[str, ...]) -> _View:
    component = lock.components[index]
    space = lock.embodiments[component.embodiment_table].action_space(component.action_space)
    state, action = lock.slots(component)
    rule = lock.chunk_rule(component)
    return _View(
        wanted=Wanted(state=space.state, action=space.action, cameras=cameras),
        state_at=_together(state.places),
        action_at=_together(action.places),
        rule=rule,
        is_delta=bool(rule.is_delta.any()),
        prefix=component.prompt_prefix,
    )


def _evenly(rows: tuple[int, ...]) -> slice | list[int]:
    """The rows as a slice where they stand at even distances, which numpy goes through ten times as fast."""
    first, last = rows[0], rows[-1]
    step = max(1, (last - first) // max(1, len(rows) - 1))
    return slice(first, last + 1, step) if rows == tuple(range(first, last + 1, step)) else list(rows)


def _together(places: tuple[int, ...]) -> slice | list[int]:
    """The places as a slice where they follow one another."""
    first, count = places[0], len(places)
    return slice(first, first + count) if places == tuple(range(first, first + count)) else list(places)


def _dictionary(column: pa.Array) -> tuple[NDArray[np.int32], pa.StringArray]:
    """A column of few different texts as indices into them."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return as_numpy(encoded.indices), encoded.dictionary
