"""Lakes of Parquet alone, which is all that statistics read."""

import pyarrow as pa
import pyarrow.parquet as pq

from curation.signals import Run
from schema.lake import Lake


def write(folder, episodes, *, shards=2, source="tiny"):
    """A lake of Parquet alone; its runs, whole episodes."""
    lake, runs = Lake(str(folder)), []
    for shard in range(shards):
        mine = [(number, values) for number, values in enumerate(episodes) if number % shards == shard]
        if mine:
            path = folder / "shards" / source / f"{shard}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            runs += _write_shard(path, mine, shard=f"shards/{source}/{shard}")
    return lake, tuple(sorted(runs, key=lambda run: run.episode_id))


def _write_shard(path, episodes, *, shard):
    runs, tables = [], []
    for row_group, (number, signals) in enumerate(episodes):
        columns = {
            name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
            for name, values in signals.items()
        }
        frames = len(next(iter(signals.values())))
        tables.append(pa.table({"episode_id": pa.array([f"{number:03d}"] * frames), **columns}))
        runs.append(Run(episode_id=f"{number:03d}", shard=shard, row_group=row_group, start=0, stop=frames))
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    return runs
