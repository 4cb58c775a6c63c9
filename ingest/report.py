"""What an ingest did, or would do, in lines for a person."""

from collections.abc import Iterator

from ingest.align import rule_lines as clock_rules
from ingest.detect import find_embodiment
from ingest.draft import draft
from ingest.job import Report, Request, discover, prepare
from ingest.plan import known_keys, source_keys
from ingest.record import Discovery
from ingest.source_rules import rule_lines
from schema.commit import OUTCOMES
from schema.errors import ConfigError
from schema.lake import Lake


def report_lines(report: Report) -> Iterator[str]:
    """The account of an ingest, closed by its sum."""
    yield f"{report.source}: {report.format} logs of {report.embodiment} → {report.lake}"
    yield from (f"  note: {note}" for note in report.notes)
    parts = " + ".join(f"{report.outcomes[outcome]} {outcome}" for outcome in OUTCOMES)
    yield f"  {report.discovered} discovered = {parts}; {report.frames:,} frames committed"
    yield from (f"  quarantine: {count} × {reason}" for reason, count in report.quarantine.items())
    if not report.outcomes["committed"] + report.outcomes["superseded"]:
        yield "  nothing new to commit"
    if report.quarantine:
        yield f"  `robomix lake info {report.lake}` shows why; mend the logs and run the same command again"


def dry_run_report(request: Request, *, lake_uri: str | None) -> Iterator[str]:
    """What an ingest would do; a draft of the embodiment table where no table describes the robot."""
    _, discovery = discover(request)
    try:
        find_embodiment(discovery, request.embodiment)
    except ConfigError as error:
        yield f"# {error}".replace("\n", "\n# ")
        yield "# A draft: save it as my_robot.toml, settle each `check:`, and ingest with --embodiment my_robot.toml"
        yield draft(discovery)
        return
    yield from _plan_lines(request, lake_uri)


def _plan_lines(request: Request, lake_uri: str | None) -> Iterator[str]:
    prepared = prepare(request)
    found = prepared.discovery
    keys = set(source_keys(prepared.location, found.records))
    yield f"source {prepared.source}: {len(keys)} records, {found.format}, robot {found.robot!r}"
    yield f"embodiment {prepared.embodiment.name}: {prepared.embodiment.title}, {prepared.embodiment.rate_hz:g} Hz"
    yield f"conversion {prepared.conversion}"
    yield from (f"note: {note}" for note in found.notes)
    binding = prepared.embodiment.sources[found.format]
    yield f"licence: {found.licence or binding.licence or 'not known, neither the log nor the table says'}"
    yield from (f"rule: {line}" for line in rule_lines(binding))
    if found.has_own_clocks:
        yield from (f"rule: {line}" for line in clock_rules(prepared.embodiment, binding))
    yield from (f"doubt: {doubt}" for doubt in binding.doubt)
    yield from _stream_lines(found)
    broken = [record for record in found.records if record.problem is not None]
    yield from (f"broken: {record.problem.reason}: {record.problem.message}" for record in broken if record.problem)
    size = sum(record.stored_bytes for record in found.records)
    yield f"would take about {size / 2**20:,.0f} MiB"
    if lake_uri is not None and Lake(lake_uri).is_lake():
        known = keys & known_keys(Lake(lake_uri), prepared.source, prepared.conversion)
        yield f"of these, {len(known)} are in {lake_uri} or its quarantine already, {len(keys) - len(known)} are new"


def _stream_lines(discovery: Discovery) -> Iterator[str]:
    for stream in discovery.fields:
        yield f"  field {stream.path}: {stream.dtype} {list(stream.shape)}"
    for camera in discovery.cameras:
        yield f"  camera {camera.path}: {'×'.join(map(str, camera.shape))}"
