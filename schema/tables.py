"""The lake's Delta tables, column by column. `episodes` is the catalogue; the rest refer to it by episode_id."""

import pyarrow as pa

FORMAT_VERSION = 2
"""Of the lake's rows and shards. Raised when what they hold changes; older versions stay readable.

2: pictures and the Parquet's pages have checksums.
"""
CONVERSION_FORMAT = 1
"""What a conversion's digest knows of the format: raised only where a sample's bytes would come out differently, since
every lake is then converted anew."""

_TIME = pa.timestamp("us", tz="UTC")
_STRINGS = pa.list_(pa.string())
_FLOATS = pa.list_(pa.float64())

MOMENTS = pa.list_(
    pa.struct(
        [
            ("signal", pa.string()),
            ("count", pa.int64()),
            ("sum", _FLOATS),
            ("sum_sq", _FLOATS),
            ("min", _FLOATS),
            ("max", _FLOATS),
        ]
    )
)
"""Per signal, over an episode's frames and per dimension: exact inputs to pooled statistics."""


def _counts(name: str, value: pa.DataType) -> pa.DataType:
    """A small map as a list of pairs, which every reader of Delta understands."""
    return pa.list_(pa.struct([(name, pa.string()), ("value", value)]))


EPISODES = pa.schema(
    [
        # keys
        ("episode_id", pa.string()),
        ("conversion", pa.string()),
        ("source_key", pa.string()),
        ("supersedes", pa.string()),  # the conversion whose row of this episode is no longer live
        # what it is
        ("source", pa.string()),
        ("embodiment", pa.string()),
        ("embodiment_table", pa.string()),  # digest of the table that it was converted by
        ("action_spaces", _STRINGS),
        ("task", pa.string()),
        ("instructions", _STRINGS),
        ("scene", pa.string()),
        ("operator", pa.string()),
        ("recorded_at", _TIME),
        ("success", pa.bool_()),
        ("is_simulated", pa.bool_()),
        ("num_frames", pa.int32()),
        ("rate_hz", pa.float64()),
        ("duration_s", pa.float64()),
        ("cameras", _STRINGS),
        ("camera_bytes", _counts("camera", pa.int64())),
        ("absent_cameras", _counts("camera", pa.string())),
        ("not_stored", _counts("stream", pa.int64())),
        ("licence", pa.string()),
        ("consent", pa.string()),
        # where it lies
        ("shard", pa.string()),
        ("row_group", pa.int32()),
        ("first_row", pa.int64()),
        ("tar_start", pa.int64()),
        ("tar_stop", pa.int64()),
        ("moments", MOMENTS),
        # where it came from
        ("raw_uri", pa.string()),
        ("record_index", pa.int64()),
        ("byte_start", pa.int64()),
        ("byte_stop", pa.int64()),
        ("adapter", pa.string()),
        ("adapter_version", pa.int32()),
        ("ingest_run", pa.string()),
        ("committed_at", _TIME),  # the driver's clock; for people, and to tell what came later of one record
        ("notes", _STRINGS),
        ("format_version", pa.int32()),
    ]
)

QUARANTINE = pa.schema(
    [
        ("source_key", pa.string()),
        ("conversion", pa.string()),
        ("source", pa.string()),
        ("raw_uri", pa.string()),
        ("record_index", pa.int64()),
        ("stage", pa.string()),  # discover, read, standardize, write
        ("reason", pa.string()),
        ("error_type", pa.string()),
        ("message", pa.string()),
        ("fingerprint", pa.string()),  # the same fault at the same place in the code has the same one
        ("traceback", pa.string()),
        ("ingest_run", pa.string()),
        ("committed_at", _TIME),
        ("format_version", pa.int32()),
    ]
)

ANNOTATIONS = pa.schema(
    [
        ("annotation_id", pa.string()),
        ("episode_id", pa.string()),
        ("start", pa.int32()),
        ("stop", pa.int32()),  # null: to the end
        ("text", pa.string()),
        ("kind", pa.string()),  # instruction, segment
        ("author", pa.string()),
        ("conversion", pa.string()),  # holds for that conversion of the episode; null, as people write it: for all
        ("supersedes", pa.string()),  # annotation_id, or null
        ("format_version", pa.int32()),
    ]
)

VERDICTS = pa.schema(
    [
        ("verdict_id", pa.string()),
        ("episode_id", pa.string()),
        ("start", pa.int32()),  # null with stop: the whole episode
        ("stop", pa.int32()),
        ("keep", pa.bool_()),
        ("reason", pa.string()),
        ("author", pa.string()),
        ("created_at", _TIME),
        ("format_version", pa.int32()),
    ]
)

SCORES = pa.schema(
    [
        ("episode_id", pa.string()),
        ("metric", pa.string()),
        ("metric_version", pa.int32()),
        ("value", pa.float64()),
        ("format_version", pa.int32()),
    ]
)

TRAINING_RUNS = pa.schema(
    [
        ("training_run_id", pa.string()),
        ("lock", pa.string()),
        ("config", pa.string()),
        ("checkpoint_uri", pa.string()),
        ("position", pa.int64()),
        ("created_at", _TIME),
        ("format_version", pa.int32()),
    ]
)

PREDICTIONS = pa.schema(
    [
        ("checkpoint_uri", pa.string()),
        ("episode_id", pa.string()),
        ("frame", pa.int32()),
        ("dimension", pa.string()),
        ("values", pa.list_(pa.float32())),
        ("created_at", _TIME),
        ("format_version", pa.int32()),
    ]
)

FINDINGS = pa.schema(
    [
        ("source", pa.string()),
        ("embodiment", pa.string()),
        ("conversion", pa.string()),
        ("ingest_run", pa.string()),
        ("check", pa.string()),
        ("subject", pa.string()),  # a signal, part, camera or clock
        ("status", pa.string()),  # agrees, contradicts, noticed, unsure
        ("confidence", pa.float64()),  # lower 95 % bound on the share of episodes that say so
        ("episodes", pa.int64()),  # how many could tell
        ("against", pa.int64()),
        ("measured", pa.float64()),  # the check's own statistic; null where nothing could tell
        ("message", pa.string()),
        ("accepted", pa.bool_()),  # a contradiction that the user took upon himself
        ("committed_at", _TIME),
        ("format_version", pa.int32()),
    ]
)

TABLES: dict[str, pa.Schema] = {
    "episodes": EPISODES,
    "quarantine": QUARANTINE,
    "annotations": ANNOTATIONS,
    "verdicts": VERDICTS,
    "scores": SCORES,
    "training_runs": TRAINING_RUNS,
    "predictions": PREDICTIONS,
    "findings": FINDINGS,
}
