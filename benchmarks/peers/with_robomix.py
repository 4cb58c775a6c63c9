"""Ours: a lake of the common frames, locked, read by `training.loader` with as many decoding threads."""

import shutil
from pathlib import Path

import numpy as np
from frames import DIMS, SIZE, Frames, Steps
from serve import BATCH, serve

from curation.lock import Lock
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from schema.commit import Bundle, commit
from schema.digest import digest_json
from schema.embodiment import Embodiment, load_embodiment
from schema.episode import Episode, Instruction, Picture, Provenance
from schema.lake import Lake
from schema.shards import ShardWriter
from training.batch import Batch
from training.loader import Loader

EPISODES_A_SHARD = 16
RECIPE = "{name: peers, sources: [{source: frames}], chunk: {steps: 50}}"


def write(frames: Frames, to: Path) -> None:
    """Shards, one commit and the lock, with all digests that the lake asks for."""
    lake = Lake.open_or_create(str(to / "lake"))
    table = load_embodiment("bimanual_trossen")
    lake.keep_embodiment(table)
    rows = []
    for first in range(0, len(frames), EPISODES_A_SHARD):
        with ShardWriter(to / "spool") as writer:
            for number in range(first, min(first + EPISODES_A_SHARD, len(frames))):
                writer.add(_episode(number, frames[number], table=table))
            shard = writer.finish()
        assert shard is not None
        name = f"shards/frames/{shard.digest}"
        lake.upload(shard.parquet, f"{name}.parquet")
        lake.upload(shard.tar, f"{name}.tar")
        keys = {"conversion": "peers", "shard": name, "ingest_run": "peers"}
        rows += [row | keys | {"source_key": row["episode_id"]} for row in shard.rows]
    shutil.rmtree(to / "spool")
    commit(lake, [Bundle(bundle_id="peers", episodes=tuple(rows))])
    make_lock(parse_recipe(RECIPE, where="peers"), lake).save(to / "lock")


def _episode(number: int, steps: Steps, *, table: Embodiment) -> Episode:
    """The first 14 dimensions of the robot's state signals, and of its action signals, are the frames'."""
    signals, left = {}, {"state": DIMS, "action": DIMS}
    for signal in table.signals:
        kind = signal.name.partition(".")[0]
        values = steps.action_TD if kind == "action" else steps.state_TD
        first = DIMS - left.get(kind, 0)
        if first + signal.width <= DIMS:
            left[kind] -= signal.width
            signals[signal.name] = np.ascontiguousarray(values[:, first : first + signal.width])
        else:
            signals[signal.name] = np.zeros((len(values), signal.width), np.float32)
    return Episode(
        episode_id=digest_json(["peers", number]),
        source="frames",
        embodiment=table,
        task="move",
        instructions=(Instruction(text="move the square"),),
        timestamp_T=np.arange(len(steps.jpegs)) / table.rate_hz,
        signals=signals,
        cameras={
            camera.name: tuple(Picture(jpeg=jpegs[slot], width=SIZE, height=SIZE) for jpegs in steps.jpegs)
            for slot, camera in enumerate(table.cameras)
        },
        provenance=Provenance(raw_uri="memory://", record_index=number, adapter="peers", adapter_version=1),
    )


class LoaderReader:
    """The loader; its state is its position."""

    def __init__(self, data: Path, workers: int, position: int | None) -> None:
        lock = Lock.load(data / "lock")
        self._loader = Loader(lock, batch_size=BATCH, threads=workers, position=position or 0)

    def __next__(self) -> Batch:
        return next(self._loader)

    def state(self) -> int:
        """The position of the next batch."""
        return self._loader.position

    def numbers(self, batch: Batch) -> bytes:
        """The states, to tell batches apart."""
        return batch.state.tobytes()

    def close(self) -> None:
        """Stop the threads."""
        self._loader.close()


if __name__ == "__main__":
    serve(write=write, open_reader=LoaderReader)
