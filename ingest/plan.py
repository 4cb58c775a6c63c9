"""The plan: what an ingest set out to do, written to the lake before its first task.

Records in source order are cut into bundles, each of which becomes one shard. The plan's identity covers the source's
files and the conversion, so the same command on the same files finds its plan again and makes the same shards.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from ingest.location import Location
from ingest.record import Discovery, Problem, Record
from ingest.standardize import STANDARDIZE_VERSION
from schema.digest import canonical_json, digest_json
from schema.embodiment import Embodiment
from schema.lake import Lake
from schema.picture import ImageSettings
from schema.shards import SHARD_BYTES
from schema.tables import FORMAT_VERSION

UNFORESEEN = "unexpected_"
"""How the reason of a quarantine row begins where no format named the fault."""
_MIN_BUNDLE_BYTES = 8 * 2**20
_BUNDLES_OF_A_SMALL_SOURCE = 32
"""A source below 32 shards is cut into about as many bundles, so that every core has work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedBundle:
    """Records that become one shard."""

    bundle_id: str
    """Covers the records: drivers that cut one plan differently never take each other's bundles for their own."""
    records: tuple[Record, ...]
    source_keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All bundles of one ingest, and the records that were in the lake before it."""

    plan_id: str
    bundles: tuple[PlannedBundle, ...]
    known: tuple[str, ...]
    """source_key of the records that were committed or quarantined when the plan was made."""


def conversion_of(adapter: str, adapter_version: int, embodiment: Embodiment, *, settings: ImageSettings) -> str:
    """16 hex characters over everything but the log's bytes that decides what is stored."""
    parts = [adapter, adapter_version, STANDARDIZE_VERSION, FORMAT_VERSION, embodiment.digest, asdict(settings)]
    return digest_json(parts)[:16]


def source_key(location: Location, record: Record) -> str:
    """What tells a record that was taken before without reading it: its files' names, sizes and versions."""
    return location.stamp_key(record.files, record.index, record.byte_start, record.byte_stop)


def make_plan(lake: Lake, location: Location, discovery: Discovery, *, source: str, conversion: str) -> Plan:
    """The plan of this ingest: the one in the lake where the same ingest was begun before, else a new one."""
    keys = [source_key(location, record) for record in discovery.records]
    failures = {key: count for key, count in _unforeseen(lake, source, conversion).items() if key in set(keys)}
    plan_id = digest_json([source, location.uri, conversion, keys, *([failures] if failures else [])])[:16]
    file = f"plans/{plan_id}.json"
    if not lake.exists(file):
        known = (known_keys(lake, source, conversion) & set(keys)) - failures.keys()
        todo = [(record, key) for record, key in zip(discovery.records, keys, strict=True) if key not in known]
        plan = Plan(plan_id=plan_id, bundles=_cut(plan_id, todo), known=tuple(sorted(known)))
        lake.write(file, canonical_json(asdict(plan)))
    return _parse(json.loads(lake.read(file)))


def known_keys(lake: Lake, source: str, conversion: str) -> set[str]:
    """source_key of every record of this source that was committed or quarantined by this conversion."""
    ours = (pl.col("source") == source) & (pl.col("conversion") == conversion)
    tables = (lake.scan(name).filter(ours).select("source_key") for name in ("episodes", "quarantine"))
    return set(pl.concat(list(tables)).collect()["source_key"])


def _unforeseen(lake: Lake, source: str, conversion: str) -> dict[str, int]:
    """Records in quarantine for a fault that no format foresaw, and how often each met one.

    It may be the machine's (a disk, a network, a permission), which leaves no trace in the files when it is mended:
    each new run tries them once more.
    """
    ours = (pl.col("source") == source) & (pl.col("conversion") == conversion)
    failed = lake.scan("quarantine").filter(ours & pl.col("reason").str.starts_with(UNFORESEEN))
    taken = lake.scan("episodes").filter(ours).select("source_key")
    counted = failed.join(taken, on="source_key", how="anti").group_by("source_key").len().collect()
    return dict(counted.iter_rows())


def _cut(plan_id: str, todo: Sequence[tuple[Record, str]]) -> tuple[PlannedBundle, ...]:
    total = sum(record.stored_bytes for record, _ in todo)
    limit = min(SHARD_BYTES, max(_MIN_BUNDLE_BYTES, total // _BUNDLES_OF_A_SMALL_SOURCE))
    groups: list[list[tuple[Record, str]]] = []
    size = 0
    for record, key in todo:
        if not groups or size + record.stored_bytes > limit:
            groups.append([])
            size = 0
        groups[-1].append((record, key))
        size += record.stored_bytes
    return tuple(
        PlannedBundle(
            bundle_id=f"{plan_id}-{digest_json([key for _, key in group])[:16]}",
            records=tuple(record for record, _ in group),
            source_keys=tuple(key for _, key in group),
        )
        for group in groups
    )


def _parse(plan: dict[str, Any]) -> Plan:
    bundles = (
        PlannedBundle(
            bundle_id=bundle["bundle_id"],
            records=tuple(map(_parse_record, bundle["records"])),
            source_keys=tuple(bundle["source_keys"]),
        )
        for bundle in plan["bundles"]
    )
    return Plan(plan_id=plan["plan_id"], bundles=tuple(bundles), known=tuple(plan["known"]))


def _parse_record(record: dict[str, Any]) -> Record:
    problem = record["problem"]
    return Record(
        **{**record, "files": tuple(record["files"]), "problem": Problem(**problem) if problem is not None else None}
    )
