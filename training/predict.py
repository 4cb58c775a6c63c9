"""A checkpoint's chunks for recorded episodes, put into the lake beside what was recorded, for people to look at."""
# Legend: H steps of a chunk, A action dimensions of a robot.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake
from numpy.typing import NDArray

from curation.lock import Lock
from schema.digest import digest_json
from schema.errors import ConfigError
from schema.lake import Lake
from schema.tables import FORMAT_VERSION, TABLES
from training.filler import RunColumns, Sample
from training.fixed_samples import SampleReader
from training.inputs import observe
from training.normalize import Normalizer
from training.policy import Policy
from training.preflight import missing_shards
from training.randomness import SAMPLING, normal
from training.spec import robot_name

Row = dict[str, Any]
_BATCH = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """What was written."""

    training_run_id: str
    episodes: int
    chunks: int


def predict(
    policy: Policy,
    lock: Lock,
    *,
    checkpoint_uri: str,
    episodes: Sequence[str] = (),
    every: int = 10,
    lake: Lake | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Predicted:
    """Write the policy's chunk at every `every`-th frame of these episodes, by default of all held-out ones.

    Values are in the stored form and the robot's own units, as the episode's actions are. The lake's `training_runs`
    gets a row that says what the checkpoint is of.

    Raises:
        ConfigError: the policy is of another lock, an episode is not in the lock, or its shards are gone.
    """
    lake = lake or Lake(lock.lake)
    runs = _runs(policy, lock, lake, episodes=episodes)
    now = datetime.now(UTC)
    samples = list(_samples(runs, every=every))
    rows: list[Row] = []
    chunks = _Chunks(policy, lock, SampleReader(lock, runs, lake=lake))
    for first in range(0, len(samples), _BATCH):
        part = samples[first : first + _BATCH]
        rows += (row | {"checkpoint_uri": checkpoint_uri, "created_at": now} for row in chunks(part))
        progress(first + len(part), len(samples))
    _append(lake, "predictions", rows)
    training_run = _training_run(policy, checkpoint_uri) | {"created_at": now}
    _append(lake, "training_runs", [training_run])
    return Predicted(
        training_run_id=training_run["training_run_id"], episodes=len(set(_ids(runs))), chunks=len(samples)
    )


def _runs(policy: Policy, lock: Lock, lake: Lake, *, episodes: Sequence[str]) -> pa.Table:
    """The runs to predict for."""
    if policy.head.lock != lock.digest:
        raise ConfigError(
            f"the checkpoint was trained on lock {policy.head.lock}, found lock {lock.digest}: name the lock of the "
            "training"
        )
    if gone := missing_shards(lock, lake):
        raise ConfigError(gone[0])
    if not episodes:
        if len(lock.held_out) == 0:
            raise ConfigError("the lock holds no episode out: name the episodes to predict for with --episode")
        return lock.held_out
    everything = pa.concat_tables([lock.held_out, lock.runs]).unify_dictionaries()
    if unknown := sorted(set(episodes) - set(_ids(everything))):
        raise ConfigError(f"the lock has no episode {', '.join(unknown)}: see `episode_id` in its held_out.arrow")
    wanted = everything.filter(pa.array([one in set(episodes) for one in _ids(everything)]))
    places = list(zip(_ids(wanted), *(wanted[name].to_pylist() for name in ("component", "start")), strict=True))
    return wanted.take([places.index(one) for one in dict.fromkeys(places)])  # each once, whatever its weight


def _ids(runs: pa.Table) -> list[str]:
    found: list[str] = runs["episode_id"].to_pylist()
    return found


def _samples(runs: pa.Table, *, every: int) -> Iterator[Sample]:
    columns = RunColumns(runs)
    for run, (start, stop) in enumerate(zip(columns.start_R.tolist(), columns.stop_R.tolist(), strict=True)):
        for frame in range(start, stop, every):
            yield Sample(row=0, run=run, frame=frame, component=int(columns.component_R[run]), position=frame)


class _Chunks:
    """Rows of `predictions` for samples."""

    def __init__(self, policy: Policy, lock: Lock, reader: SampleReader) -> None:
        self._policy, self._lock, self._reader = policy, lock, reader
        self._normalizer = Normalizer.of(lock)

    def __call__(self, samples: Sequence[Sample]) -> Iterator[Row]:
        policy, batch = self._policy, self._reader.read(samples)
        seen = observe(batch, normalizer=self._normalizer, tokenizer=policy.tokenizer, device=policy.device)
        noise_BHW = normal(self._lock.seed, batch.positions, purpose=SAMPLING, shape=policy.chunk_shape)
        chunks_BHW = policy.sample(seen, noise_BHW, batch.action_mask)
        for row, one in enumerate(samples):
            codec = policy.robots[robot_name(self._lock.components[one.component])]
            state_1S = codec.state_slots.unpad(batch.state[row])[None]
            chunk_HA: NDArray[np.float32] = codec.decode_actions(chunks_BHW[row][None], state_1S)[0]
            episode_id = batch.sample_ids[row].rpartition("-")[0]
            for place, dimension in enumerate(codec.action_dimensions):
                yield {
                    "episode_id": episode_id,
                    "frame": one.frame,
                    "dimension": dimension.name,
                    "values": chunk_HA[:, place],
                    "format_version": FORMAT_VERSION,
                }


def _training_run(policy: Policy, checkpoint_uri: str) -> Row:
    head = policy.head
    return {
        "training_run_id": digest_json([head.lock, head.config, checkpoint_uri.rpartition("/")[0]]),
        "lock": head.lock,
        "config": str(head.config["name"]),
        "checkpoint_uri": checkpoint_uri,
        "position": head.position,
        "format_version": FORMAT_VERSION,
    }


def _append(lake: Lake, name: str, rows: list[Row]) -> None:
    """Append rows; many can do so at once, since appends never conflict."""
    write_deltalake(lake.create_table(name), pa.Table.from_pylist(rows, schema=TABLES[name]), mode="append")
