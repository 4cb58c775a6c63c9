"""One episode: its row of the catalogue, its instructions, its numbers, and where all of it came from."""

from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schema.embodiment import Embodiment
from schema.errors import SchemaError
from schema.lake import Lake

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What a shard's Parquet holds of an episode, and the table of its robot."""

    frames: pa.Table
    """One row per frame: timestamp, signals, extras, and per camera where its pictures stand."""
    embodiment: Embodiment


def row(lake: Lake, episode_id: str, *, version: int | None = None) -> Row:
    """The episode's row of the catalogue; SchemaError where there is none."""
    found = lake.episodes(version=version).filter(pl.col("episode_id") == episode_id).collect()
    if found.is_empty():
        raise SchemaError(f"no episode {episode_id!r} in {lake.uri}: choose one from the list of episodes")
    return found.row(0, named=True)


def instructions(lake: Lake, episode_id: str) -> pl.DataFrame:
    """What the robot was told, from when to when (in frames; a null stop means to the end)."""
    return (
        lake.annotations()
        .filter(pl.col("episode_id") == episode_id)
        .select("text", pl.col("start").fill_null(0), "stop", "kind", "author")
        .sort("start", "stop", "text", nulls_last=True)
        .collect()
    )


def recorded(lake: Lake, episode: Row) -> Recorded:
    """The episode's frames; SchemaError where its shard is gone or is not what the catalogue says."""
    file = f"{episode['shard']}.parquet"
    for name in (file, f"{episode['shard']}.tar"):
        if not lake.exists(name):
            raise SchemaError(
                f"{name} is missing from {lake.uri}: the catalogue expects this episode in it; "
                "bring the file back, or ingest the source again"
            )
    try:
        with lake.fs.open(lake.path(file), "rb") as stream, pq.ParquetFile(stream) as shard:
            names = [name for name in shard.schema_arrow.names if not name.startswith("padded_")]
            table = shard.read_row_group(episode["row_group"], columns=names)
    except (pa.ArrowInvalid, OSError, IndexError) as error:
        raise SchemaError(f"{file} of {lake.uri} cannot be read: {error}; `robomix lake verify` tells more") from error
    if table.num_rows != episode["num_frames"] or table["episode_id"][0].as_py() != episode["episode_id"]:
        raise SchemaError(
            f"row group {episode['row_group']} of {file} is not this episode, as the catalogue says: "
            "`robomix lake verify` tells what is damaged"
        )
    kept = [name for name in table.schema.names if not table[name].null_count]
    return Recorded(frames=table.select(kept), embodiment=lake.embodiment(episode["embodiment_table"]))


def provenance(episode: Row) -> pl.DataFrame:
    """Where an episode came from and where it lies, as (fact, value); what is not known is left out."""
    record = f"record {episode['record_index']}"
    if episode["byte_start"] is not None:
        record += f", bytes {episode['byte_start']:,} to {episode['byte_stop']:,}"
    facts = {
        "Episode": episode["episode_id"],
        "Raw log": episode["raw_uri"],
        "Place in log": record,
        "Adapter": f"{episode['adapter']}, version {episode['adapter_version']}",
        "Conversion": episode["conversion"],
        "Embodiment table": episode["embodiment_table"],
        "Ingest run": episode["ingest_run"],
        "Shard": episode["shard"],
        "Place in shard": f"row group {episode['row_group']}; tar bytes {episode['tar_start']:,} to "
        f"{episode['tar_stop']:,} ({(episode['tar_stop'] - episode['tar_start']) / 1e6:,.1f} MB)",
        "Pictures": ", ".join(f"{one['camera']} {one['value'] / 1e6:,.1f} MB" for one in episode["camera_bytes"] or []),
        "Action spaces": ", ".join(episode["action_spaces"] or []),
        "Recorded": f"{episode['recorded_at']:%Y-%m-%d %H:%M:%S} UTC" if episode["recorded_at"] else None,
        "Scene": episode["scene"],
        "Operator": episode["operator"],
        "Licence": episode["licence"],
        "Consent": episode["consent"],
    }
    return _pairs([(fact, value) for fact, value in facts.items() if value])


def in_words(told: pl.DataFrame) -> pl.DataFrame:
    """Instructions as (frames, text), with who said so where it is no plain instruction of the log."""
    found = []
    for one in told.iter_rows(named=True):
        by = (
            ""
            if one["kind"] == "instruction" and one["author"].startswith("adapter:")
            else f" ({one['kind']}, {one['author']})"
        )
        stop = "the end" if one["stop"] is None else f"{one['stop'] - 1:,}"
        found.append((f"Frames {one['start']:,} to {stop}", one["text"] + by))
    return _pairs(found or [("None", "nobody said what to do")])


def missing(episode: Row) -> pl.DataFrame:
    """Cameras that the robot has and the episode lacks, and streams of the log that the lake does not take."""
    absent = [(f"Camera {one['camera']}", f"absent: {one['value']}") for one in episode["absent_cameras"] or []]
    skipped = [
        (f"Stream {one['stream']}", f"not stored: {one['value']:,} frames") for one in episode["not_stored"] or []
    ]
    return _pairs(absent + skipped or [("Nothing", "every camera of the robot and every stream of the log is here")])


def notes(episode: Row) -> pl.DataFrame:
    """What the adapter noted, as (where or number, note)."""
    return _pairs([(str(number), note) for number, note in enumerate(episode["notes"] or [], 1)])


def _pairs(found: list[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(found, schema={"fact": pl.String, "value": pl.String}, orient="row")
