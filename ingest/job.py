"""The driver of an ingest: discover, plan, run bundles as Ray tasks, commit their rows in groups, account for all.

Only the driver commits. It may be killed at any moment: the plan is in the lake, what is committed stays, and the
same command again does the rest. The account always closes: discovered = committed + duplicate + superseded +
quarantined.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import polars as pl

from ingest.bundle import Job, run_bundle
from ingest.conventions.probe import probe
from ingest.conventions.verdict import check_accepted, hold_to_table, oddities
from ingest.detect import detect, find_embodiment, format_named
from ingest.location import Location
from ingest.plan import Plan, conversion_of, make_plan
from ingest.record import Discovery
from ingest.standardize import parse_expression
from ingest.tasks import run_all
from schema.cluster import start_ray
from schema.commit import Bundle, Outcome, commit, compact, done_bundles, tally
from schema.embodiment import Embodiment
from schema.errors import ConfigError, SourceError
from schema.lake import Lake
from schema.picture import ImageSettings

GROUP_BUNDLES = 64
GROUP_SECONDS = 30.0
"""How many bundles, or how long, a driver waits at most before it commits."""

Progress = Callable[[int, int], None]
"""Called with (records done, records discovered)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What an ingest was asked for."""

    uri: str
    source: str | None = None
    embodiment: str | None = None
    """A built-in name or the path of a TOML file; None finds it by what the log calls its robot."""
    format: str | None = None
    limit: int | None = None
    """Take the first so many records only."""
    retry: str | None = None
    """Take nothing but the records that are in quarantine for this reason."""
    accept: tuple[str, ...] = ()
    """Checks of `ingest.conventions` whose contradictions do not stop the source."""
    settings: ImageSettings = field(default_factory=ImageSettings)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What became of a source's records; `discovered` is the sum of the four outcomes."""

    lake: str
    source: str
    format: str
    embodiment: str
    ingest_run: str
    discovered: int
    outcomes: dict[Outcome, int]
    frames: int
    """Frames of the episodes that this run committed."""
    quarantine: dict[str, int]
    """Records now in quarantine, by reason."""
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A source that was found, recognised and matched with a robot; nothing has been written yet."""

    request: Request
    location: Location
    discovery: Discovery
    embodiment: Embodiment
    source: str
    conversion: str


def discover(request: Request) -> tuple[Location, Discovery]:
    """List a source's records by whatever format it is of; SourceError where there is none."""
    location = Location.of(request.uri)
    _, discovery = detect(location, request.format)
    if not discovery.records:
        told = "; ".join(["expected at least one: is the copy complete?", *discovery.notes])
        raise SourceError(f"found no episode at {location.uri} ({discovery.format}), {told}")
    return location, discovery


def prepare(request: Request) -> Prepared:
    """Everything that can be known before anything is written; every mistake of the request is found here."""
    check_accepted(request.accept)
    location, discovery = discover(request)
    embodiment = find_embodiment(discovery, request.embodiment)
    for expression in embodiment.sources[discovery.format].signals.values():
        parse_expression(expression)
    reader = format_named(discovery.format)
    source = request.source or _clean(discovery.name)
    if source != _clean(source):
        raise ConfigError(f"source name {source!r}: expected a-z, 0-9 and _ only; {_clean(source)!r} would do")
    return Prepared(
        request=request,
        location=location,
        discovery=_limited(discovery, request.limit),
        embodiment=embodiment,
        source=source,
        conversion=conversion_of(reader.NAME, reader.VERSION, embodiment, settings=request.settings),
    )


def ingest(
    request: Request, *, lake_uri: str, progress: Progress | None = None, ray_address: str | None = None
) -> Report:
    """Take a source into a lake; goes on where an earlier run of the same request stopped.

    `ray_address` names a running cluster; by default the one of RAY_ADDRESS, else one of this machine's own.
    """
    prepared = prepare(request)
    lake = Lake.open_or_create(lake_uri)
    lake.keep_embodiment(prepared.embodiment)
    plan = make_plan(
        lake,
        prepared.location,
        prepared.discovery,
        source=prepared.source,
        conversion=prepared.conversion,
        retry=request.retry,
    )
    job = Job(
        lake_uri=lake.uri,
        location=prepared.location,
        source=prepared.source,
        format=prepared.discovery.format,
        embodiment=prepared.embodiment,
        conversion=prepared.conversion,
        settings=request.settings,
        ingest_run=plan.plan_id,
        licence=prepared.discovery.licence,
    )
    fresh = _run(lake, job, plan, request=request, progress=progress or (lambda *_: None), ray_address=ray_address)
    return _account(lake, prepared, plan, fresh=fresh)


def _run(
    lake: Lake, job: Job, plan: Plan, *, request: Request, progress: Progress, ray_address: str | None
) -> dict[str, Outcome]:
    """Do what is not done yet; what became of the records that this run touched, by source_key."""
    done = done_bundles(lake, [bundle.bundle_id for bundle in plan.bundles])
    todo = [bundle for bundle in plan.bundles if bundle.bundle_id not in done]
    total = len(plan.known) + sum(len(bundle.records) for bundle in plan.bundles)
    finished = total - sum(len(bundle.records) for bundle in todo)
    progress(finished, total)
    outcomes: dict[str, Outcome] = {}
    if not todo:
        return outcomes
    start_ray(ray_address)
    hold_to_table(lake, job, plan, accept=request.accept, run=lambda probed: run_all(probe, job, probed))
    group: list[Bundle] = []
    since = time.monotonic()
    for wave in run_all(run_bundle, job, todo):
        group += [bundle for _, bundle in wave]
        finished += sum(len(planned.records) for planned, _ in wave)
        progress(finished, total)
        if len(group) >= GROUP_BUNDLES or (group and time.monotonic() - since >= GROUP_SECONDS):
            outcomes |= commit(lake, group)
            group, since = [], time.monotonic()
    if group:
        outcomes |= commit(lake, group)
    compact(lake)
    return outcomes


def _account(lake: Lake, prepared: Prepared, plan: Plan, *, fresh: dict[str, Outcome]) -> Report:
    """Give every planned record its one outcome, from this run's commits and from what was in the lake before."""
    keys = plan.source_keys
    ours = (pl.col("source") == prepared.source) & (pl.col("conversion") == prepared.conversion)
    in_lake = set(lake.scan("episodes").filter(ours).select("source_key").collect()["source_key"])
    held = lake.scan("quarantine").filter(ours).sort("committed_at").select("source_key", "reason").collect()
    reasons = {key: reason for key, reason in held.iter_rows() if key not in in_lake}
    outcomes = {key: fresh.get(key, "quarantined" if key in reasons else "duplicate") for key in keys}
    taken = [key for key, outcome in outcomes.items() if outcome in {"committed", "superseded"}]
    frames = lake.scan("episodes").filter(ours & pl.col("source_key").is_in(taken)).select(pl.col("num_frames").sum())
    by_reason = [reasons.get(key, "unknown") for key, outcome in outcomes.items() if outcome == "quarantined"]
    report = Report(
        lake=lake.uri,
        source=prepared.source,
        format=prepared.discovery.format,
        embodiment=prepared.embodiment.name,
        ingest_run=plan.plan_id,
        discovered=len(keys),
        outcomes=tally(outcomes.values()),
        frames=int(frames.collect().item() or 0),
        quarantine={reason: by_reason.count(reason) for reason in sorted(set(by_reason))},
        notes=(*prepared.discovery.notes, *_left_alone(prepared, plan), *oddities(lake, plan.plan_id)),
    )
    assert report.discovered == sum(report.outcomes.values()), "two records share a source_key"
    return report


def _left_alone(prepared: Prepared, plan: Plan) -> Iterator[str]:
    """What a retry did not look at; nothing is left out in silence."""
    others = len(prepared.discovery.records) - len(plan.source_keys)
    if prepared.request.retry is not None and others:
        yield f"--retry {prepared.request.retry}: {others} other records of the source were left alone"


def _limited(discovery: Discovery, limit: int | None) -> Discovery:
    if limit is None or limit >= len(discovery.records):
        return discovery
    left = f"--limit {limit}: {len(discovery.records) - limit} of {len(discovery.records)} records were left alone"
    return replace(discovery, records=discovery.records[:limit], notes=(*discovery.notes, left))


def _clean(name: str) -> str:
    """A name of a-z, 0-9 and _ that still reads like the given one."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name.lower())
    return kept.strip("_") or "source"
