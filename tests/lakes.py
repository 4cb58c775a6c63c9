"""Tiny real lakes for tests: two robots, real JPEGs, real shards and Delta tables, made in a fraction of a second."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schema.commit import Bundle, Row, commit
from schema.digest import digest_json
from schema.embodiment import load_embodiment
from schema.episode import Episode, Instruction, Picture, Provenance
from schema.lake import Lake
from schema.picture import encode_jpeg
from schema.shards import Shard, ShardWriter, file_digest, shard_digest


def make_episode(
    number: int = 0,
    *,
    embodiment: str = "ur5e",
    task: str = "put block on plate",
    num_frames: int = 12,
    source: str = "tiny",
    image_size: int = 32,
    instruction: str | None = None,
) -> Episode:
    """An episode whose every number follows from `number`; all cameras of the robot present."""
    table = load_embodiment(embodiment)
    random = np.random.default_rng([number, len(embodiment), len(task)])
    signals = {
        signal.name: random.uniform(0.0, 1.0, (num_frames, signal.width)).astype(np.float32) for signal in table.signals
    }
    cameras = {
        camera.name: tuple(
            Picture(
                jpeg=encode_jpeg(random.integers(0, 255, (image_size, image_size, 3)).astype(np.uint8)),
                width=image_size,
                height=image_size,
            )
            for _ in range(num_frames)
        )
        for camera in table.cameras
    }
    return Episode(
        episode_id=digest_json([number, embodiment, task, num_frames, source]),
        source=source,
        embodiment=table,
        task=task,
        instructions=(Instruction(text=instruction or f"{task} number {number}"),),
        timestamp_T=np.arange(num_frames) / table.rate_hz,
        signals=signals,
        cameras=cameras,
        provenance=Provenance(raw_uri="memory://", record_index=number, adapter="tiny", adapter_version=1),
        is_simulated=True,
    )


def in_format_1(shard: Shard) -> Shard:
    """The shard as format version 1 had it, without checksums."""
    file = pq.ParquetFile(shard.parquet)
    groups = [_without_checksums(file.read_row_group(group)) for group in range(file.num_row_groups)]
    with pq.ParquetWriter(shard.parquet, groups[0].schema, compression="zstd") as sink:
        for group in groups:
            sink.write_table(group)
    digest = shard_digest(file_digest(shard.tar), file_digest(shard.parquet))
    return replace(shard, digest=digest, rows=tuple(row | {"format_version": 1} for row in shard.rows))


def _without_checksums(table: pa.Table) -> pa.Table:
    for index, name in enumerate(table.column_names):
        if name.startswith("camera."):
            whole = table[name].combine_chunks()
            kept = [field for field in whole.type if field.name != "crc32c"]
            arrays = [whole.field(field.name) for field in kept]
            column = pa.StructArray.from_arrays(arrays, fields=kept, mask=whole.is_null())
            table = table.set_column(index, name, column)
    return table


def store(
    lake: Lake,
    folder: Path,
    episodes: list[Episode],
    *,
    bundle_id: str = "tiny-0",
    conversion: str = "c1",
    made: Callable[[Shard], Shard] = lambda shard: shard,
) -> dict[str, str]:
    """Write one shard of these episodes and commit it, as an ingest does; what became of each, by source_key."""
    with ShardWriter(folder / bundle_id) as writer:
        for episode in episodes:
            writer.add(episode)
        shard = writer.finish()
    assert shard is not None
    shard = made(shard)
    name = f"shards/{episodes[0].source}/{shard.digest}"
    lake.upload(shard.parquet, f"{name}.parquet")
    lake.upload(shard.tar, f"{name}.tar")
    for table in {episode.embodiment.name: episode.embodiment for episode in episodes}.values():
        lake.keep_embodiment(table)
    rows = [
        row
        | {
            "conversion": conversion,
            "source_key": f"{row['episode_id']}/{conversion}",
            "shard": name,
            "ingest_run": "test",
        }
        for row in shard.rows
    ]
    texts = [
        {
            "annotation_id": digest_json([episode.episode_id, instruction.text]),
            "episode_id": episode.episode_id,
            "start": instruction.start,
            "stop": instruction.stop,
            "text": instruction.text,
            "kind": "instruction",
            "author": "adapter:tiny",
            "conversion": conversion,
            "supersedes": None,
            "format_version": 1,
        }
        for episode in episodes
        for instruction in episode.instructions
    ]
    return dict(commit(lake, [Bundle(bundle_id=bundle_id, episodes=tuple(rows), annotations=tuple(texts))]))


def make_lake(
    folder: Path, *, num_episodes: int = 3, num_frames: int = 12, made: Callable[[Shard], Shard] = lambda shard: shard
) -> Lake:
    """A lake of two robots × two tasks, `num_episodes` each, in one shard that mixes them all."""
    lake = Lake.open_or_create(str(folder / "lake"))
    episodes = [
        make_episode(number, embodiment=embodiment, task=task, num_frames=num_frames)
        for number in range(num_episodes)
        for embodiment in ("ur5e", "bimanual_trossen")
        for task in ("put block on plate", "push block")
    ]
    store(lake, folder, episodes, made=made)
    return lake


def catalogue_row(episode_id: str, *, conversion: str = "c1", source: str = "tiny", shard: str | None = None) -> Row:
    """A row of `episodes` with what a commit looks at, for lakes whose frames nobody reads."""
    return {
        "episode_id": episode_id,
        "conversion": conversion,
        "source_key": f"{source}/{episode_id}/{conversion}",
        "source": source,
        "raw_uri": f"memory://{source}/{episode_id}",
        "record_index": 0,
        "embodiment": "ur5e",
        "task": "put block on plate",
        "num_frames": 10,
        "duration_s": 0.5,
        "shard": shard or f"shards/{source}/{episode_id}",
        "format_version": 1,
    }


def annotation_row(episode_id: str, text: str, *, supersedes: str | None = None, conversion: str | None = None) -> Row:
    """An instruction for the whole of an episode, by a person or by one conversion."""
    row = {"episode_id": episode_id, "start": 0, "text": text, "kind": "instruction", "supersedes": supersedes}
    row |= {"conversion": conversion}
    return row | {"annotation_id": digest_json(row), "author": "test", "format_version": 1}


def quarantine_row(record: str, *, conversion: str = "c1", source: str = "tiny", reason: str = "bad_jpeg") -> Row:
    """A record that could not be taken; its source_key is that of `catalogue_row` for the same name."""
    return {
        "source_key": f"{source}/{record}/{conversion}",
        "conversion": conversion,
        "source": source,
        "raw_uri": f"memory://{source}/{record}",
        "record_index": 0,
        "stage": "read",
        "reason": reason,
        "message": f"{record} is broken",
        "format_version": 1,
    }
