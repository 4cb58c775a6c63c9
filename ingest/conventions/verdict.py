"""What an ingest does with findings: keep them in the lake, and stop where one contradicts the embodiment table.

The findings of a plan are made once. The same ingest, killed or run again, finds them in the lake and judges the same;
it goes on only where each contradiction is accepted by name.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
from deltalake import write_deltalake

from ingest.bundle import Job
from ingest.conventions.checks import CHECKS, judge
from ingest.conventions.finding import Finding
from ingest.conventions.probe import measures_of, probes
from ingest.plan import Plan, PlannedBundle
from schema.commit import Bundle
from schema.errors import ConfigError, SourceError
from schema.lake import Lake
from schema.tables import FORMAT_VERSION, TABLES

Waves = Iterator[list[tuple[PlannedBundle, Bundle]]]


class ConventionError(SourceError):
    """A source whose data contradicts the embodiment table that it would be converted by."""


def check_accepted(accept: Collection[str]) -> None:
    """ConfigError where a word of `--accept` names no check."""
    if unknown := sorted(set(accept) - CHECKS.keys()):
        raise ConfigError(f"--accept {unknown[0]!r} names no check: choose from {', '.join(CHECKS)}")


def hold_to_table(
    lake: Lake, job: Job, plan: Plan, *, accept: Collection[str], run: Callable[[list[PlannedBundle]], Waves]
) -> None:
    """Probe a plan's source, once; ConventionError where it contradicts the table and that is not accepted.

    `run` does the probe's bundles by `conventions.probe.probe`. Records that come out of quarantine to be tried again
    are of a source that was judged before.
    """
    findings = findings_of(lake, plan.plan_id)
    if not findings and _is_judged(lake, job, plan):
        return
    if not findings:
        results = [result for wave in run(probes(plan)) for result in wave]
        findings = judge(measures_of(results), job.embodiment)
        _keep(lake, job, findings, accept=())
    contradictions = [finding for finding in findings if finding.status == "contradicts"]
    refused = [finding for finding in contradictions if finding.check not in accept]
    if refused:
        raise ConventionError(_report(job, refused))
    _keep(lake, job, _newly_accepted(lake, plan.plan_id, contradictions), accept=accept)


def _is_judged(lake: Lake, job: Job, plan: Plan) -> bool:
    """Whether all that the plan takes was in quarantine before, and some check could tell of the source then."""
    ours = (pl.col("source") == job.source) & (pl.col("conversion") == job.conversion)
    told = lake.scan("findings").filter(ours & (pl.col("episodes") > 0)).limit(1).collect()
    held = set(lake.scan("quarantine").filter(ours).select("source_key").collect()["source_key"])
    return told.height > 0 and held.issuperset(key for bundle in plan.bundles for key in bundle.source_keys)


def findings_of(lake: Lake, ingest_run: str) -> tuple[Finding, ...]:
    """What was found when this plan's source was probed, in the order of the checks."""
    names = list(Finding.__dataclass_fields__)
    rows = lake.scan("findings").filter(pl.col("ingest_run") == ingest_run)
    kept = rows.sort("committed_at", maintain_order=True).select(names).unique(maintain_order=True).collect()
    return tuple(Finding(**row) for row in kept.iter_rows(named=True))


def oddities(lake: Lake, ingest_run: str) -> Iterator[str]:
    """For people: what was noticed, and what was accepted, of a source that is taken."""
    for finding in findings_of(lake, ingest_run):
        if finding.status in {"noticed", "contradicts"}:
            word = "accepted" if finding.status == "contradicts" else "noticed"
            yield f"{word}: {finding.check}, {finding.subject}: {finding.message}"


def _newly_accepted(lake: Lake, ingest_run: str, contradictions: Iterable[Finding]) -> tuple[Finding, ...]:
    rows = lake.scan("findings").filter((pl.col("ingest_run") == ingest_run) & pl.col("accepted"))
    known = set(rows.select("check", "subject").collect().iter_rows())
    return tuple(finding for finding in contradictions if (finding.check, finding.subject) not in known)


def _keep(lake: Lake, job: Job, findings: Sequence[Finding], *, accept: Collection[str]) -> None:
    """Append; a finding that is accepted later is written once more, so."""
    common = {
        "source": job.source,
        "embodiment": job.embodiment.name,
        "conversion": job.conversion,
        "ingest_run": job.ingest_run,
        "committed_at": datetime.now(UTC),
        "format_version": FORMAT_VERSION,
    }
    rows = [asdict(finding) | common | {"accepted": finding.check in accept} for finding in findings]
    if rows:
        write_deltalake(lake.create_table("findings"), pa.Table.from_pylist(rows, TABLES["findings"]), mode="append")


def _report(job: Job, refused: Sequence[Finding]) -> str:
    found = [f"  - {f.check}, {f.subject}: {f.message}; confidence {f.confidence:.2f}" for f in refused]
    words = " ".join(f"--accept {check}" for check in dict.fromkeys(finding.check for finding in refused))
    return "\n".join(
        [
            f"source {job.source!r} contradicts the embodiment table {job.embodiment.name!r}; nothing was taken:",
            *found,
            "correct the table or its [sources] binding and ingest again; or, if the data is right as it is, add:",
            f"  {words}",
        ]
    )
