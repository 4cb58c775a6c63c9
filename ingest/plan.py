"""The plan: what an ingest set out to do, written to the lake before its first task.

Records in source order are cut into bundles, each of which becomes one shard. The plan's identity covers the source's
files and the conversion, so the same command on the same files finds its plan again and makes the same shards.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import polars as pl

from ingest.location import Location
from ingest.record import Discovery, Problem, Record
from ingest.standardize import STANDARDIZE_VERSION
from schema.digest import canonical_json, digest_json
from schema.embodiment import Embodiment
from schema.errors import ConfigError
from schema.lake import Lake
from schema.picture import ImageSettings
from schema.shards import SHARD_BYTES
from schema.tables import CONVERSION_FORMAT

UNFORESEEN = "unexpected_"
"""How the reason of a quarantine row begins where no format named the fault."""
_RECORD_FIELDS = fields(Record)
_MIN_BUNDLE_BYTES = 8 * 2**20
_NUMBERS_BYTES, _FRAMES_UNKNOWN = 2048, 32
"""What a frame's numbers take in a tar, and how many frames to expect of a record that does not say."""
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

    @property
    def source_keys(self) -> tuple[str, ...]:
        """Of every record that the plan accounts for."""
        return (*self.known, *(key for bundle in self.bundles for key in bundle.source_keys))


def conversion_of(adapter: str, adapter_version: int, embodiment: Embodiment, *, settings: ImageSettings) -> str:
    """16 hex characters over everything but the log's bytes that decides what is stored."""
    parts = [adapter, adapter_version, STANDARDIZE_VERSION, CONVERSION_FORMAT, embodiment.digest, asdict(settings)]
    return digest_json(parts)[:16]


def source_keys(location: Location, records: Iterable[Record]) -> list[str]:
    """What tells each record that was taken before without reading it: its files' names, sizes and versions.

    Records of the same files are told apart by bytes and order, never by their number in the source, which moves when
    the source grows in its midst.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    keys = []
    for record in records:
        keys.append(location.stamp_key(record.files, seen[record.files], record.byte_start, record.byte_stop))
        seen[record.files] += 1
    return keys


def make_plan(
    lake: Lake, location: Location, discovery: Discovery, *, source: str, conversion: str, retry: str | None = None
) -> Plan:
    """The plan of this ingest: the one in the lake where the same ingest was begun before, else a new one.

    With `retry` it holds nothing but the records in quarantine for that reason, whether their files were mended since
    or not; ConfigError where there are none.
    """
    keys = source_keys(location, discovery.records)
    held = _held(lake, source, conversion)
    if retry is not None:
        reasons = _reasons(lake, source, conversion)
        asked = (
            (held[key].reason if key in held else reasons.get((location.file_uri(record.files[0]), record.index)))
            == retry
            for record, key in zip(discovery.records, keys, strict=True)
        )
        keys = [key if is_asked else "" for key, is_asked in zip(keys, asked, strict=True)]
        if not any(keys):
            raise ConfigError(_nothing_to_retry(retry, reasons.values()))
    again = {key: held[key].times for key in keys if key in held and held[key].is_tried_again(retry)}
    plan_id = digest_json([source, location.uri, conversion, keys, *([again] if again else [])])[:16]
    file = f"plans/{plan_id}.json"
    if not lake.exists(file):
        known = (known_keys(lake, source, conversion) & set(keys)) - again.keys()
        pairs = zip(discovery.records, keys, strict=True)
        todo = [(record, key) for record, key in pairs if key and key not in known]
        plan = Plan(plan_id=plan_id, bundles=_cut(plan_id, todo), known=tuple(sorted(known)))
        lake.write(file, canonical_json(_told(plan)))
    return read_plan(lake, plan_id)


def read_plan(lake: Lake, plan_id: str) -> Plan:
    """The plan of that name, as the ingest that made it wrote it; SchemaError where it is gone."""
    return _parse(json.loads(lake.read(f"plans/{plan_id}.json")))


def known_keys(lake: Lake, source: str, conversion: str) -> set[str]:
    """source_key of every record of this source that was committed or quarantined by this conversion."""
    ours = (pl.col("source") == source) & (pl.col("conversion") == conversion)
    tables = (lake.scan(name).filter(ours).select("source_key") for name in ("episodes", "quarantine"))
    return set(pl.concat(list(tables)).collect()["source_key"])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """A record in quarantine: why, as it was last found, and how often it came there."""

    reason: str
    times: int

    def is_tried_again(self, retry: str | None) -> bool:
        """Asked for by its reason; else where no format foresaw the fault.

        Such a one may be the machine's (a disk, a network, a permission), which leaves no trace in the files when it
        is mended: each new run tries them once more.
        """
        return self.reason == retry if retry else self.reason.startswith(UNFORESEEN)


def _held(lake: Lake, source: str, conversion: str) -> dict[str, _Held]:
    """Records in quarantine that were not taken since, by source_key."""
    ours = (pl.col("source") == source) & (pl.col("conversion") == conversion)
    failed = lake.scan("quarantine").filter(ours).sort("committed_at")
    taken = lake.scan("episodes").filter(ours).select("source_key")
    left = failed.join(taken, on="source_key", how="anti", maintain_order="left")
    rows = left.group_by("source_key").agg(pl.col("reason").last(), pl.len()).collect()
    return {key: _Held(reason=reason, times=times) for key, reason, times in rows.iter_rows()}


def _reasons(lake: Lake, source: str, conversion: str) -> dict[tuple[str, int], str]:
    """Why each record is in quarantine, by its place in the log, which it keeps when its files are mended."""
    ours = (pl.col("source") == source) & (pl.col("conversion") == conversion)
    rows = lake.quarantine().filter(ours).select("raw_uri", "record_index", "reason").collect()
    return {(uri, index): reason for uri, index, reason in rows.iter_rows()}


def _nothing_to_retry(retry: str, reasons: Iterable[str]) -> str:
    told = ", ".join(f"{count} × {reason}" for reason, count in sorted(Counter(reasons).items())) or "nothing"
    return f"no record of this source is in quarantine for {retry!r}, to be tried again; it holds {told}"


def _weight(record: Record) -> int:
    """About the bytes that a record takes in a shard: its pictures, or its numbers where they are more."""
    frames = _FRAMES_UNKNOWN if record.num_frames is None else record.num_frames
    return max(record.stored_bytes, frames * _NUMBERS_BYTES)


def _cut(plan_id: str, todo: Sequence[tuple[Record, str]]) -> tuple[PlannedBundle, ...]:
    total = sum(_weight(record) for record, _ in todo)
    limit = min(SHARD_BYTES, max(_MIN_BUNDLE_BYTES, total // _BUNDLES_OF_A_SMALL_SOURCE))
    groups: list[list[tuple[Record, str]]] = []
    size = 0
    for record, key in todo:
        if not groups or size + _weight(record) > limit:
            groups.append([])
            size = 0
        groups[-1].append((record, key))
        size += _weight(record)
    return tuple(
        PlannedBundle(
            bundle_id=f"{plan_id}-{digest_json([key for _, key in group])[:16]}",
            records=tuple(record for record, _ in group),
            source_keys=tuple(key for _, key in group),
        )
        for group in groups
    )


def _told(plan: Plan) -> dict[str, Any]:
    """JSON of a plan; `asdict` would copy what a hundred thousand records hold, for longer than all else takes."""
    return {
        "plan_id": plan.plan_id,
        "known": plan.known,
        "bundles": [
            {
                "bundle_id": bundle.bundle_id,
                "source_keys": bundle.source_keys,
                "records": [_told_record(record) for record in bundle.records],
            }
            for bundle in plan.bundles
        ],
    }


def _told_record(record: Record) -> dict[str, Any]:
    told = {item.name: getattr(record, item.name) for item in _RECORD_FIELDS}
    return told if record.problem is None else {**told, "problem": asdict(record.problem)}


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
