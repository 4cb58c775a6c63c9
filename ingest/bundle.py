"""One bundle of records becomes one shard in the lake: the work of a Ray task.

The worker spools the shard locally, uploads it under its digest and hands back rows only. A record that cannot be
taken becomes a quarantine row and the others go on; a bug stops the job. Nothing is committed here.
"""

import os
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from ingest.detect import format_named
from ingest.location import Location
from ingest.plan import UNFORESEEN, PlannedBundle
from ingest.record import RawEpisode, Record, spelled
from ingest.standard_pictures import See
from ingest.standardize import source_frames, source_values, standardize
from ingest.witness import Witness
from schema.commit import Bundle, Row
from schema.credentials import masked
from schema.digest import digest_json
from schema.embodiment import Embodiment
from schema.episode import Episode
from schema.errors import EpisodeError, RobomixError
from schema.lake import Lake
from schema.picture import ImageSettings
from schema.receipt import EXTENSION, Claim, Receipt, make_receipt
from schema.shards import SHARD_BYTES, Shard, ShardWriter
from schema.tables import FORMAT_VERSION

Stage = Literal["discover", "read", "standardize", "write"]
_SPOOL = "robomix-spool-"
_BUGS = (TypeError, KeyError, AttributeError, NameError, AssertionError, NotImplementedError)
"""Faults of robomix, not of a log: they stop the job. A log's own faults are EpisodeError, OSError, ValueError, or
MemoryError where it claims more than there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What every bundle of an ingest shares."""

    lake_uri: str
    location: Location
    source: str
    format: str
    embodiment: Embodiment
    conversion: str
    settings: ImageSettings
    ingest_run: str
    licence: str | None = None


@dataclass(kw_only=True, slots=True)
class _Progress:
    """Which stage of which record a worker is at, to say so when it fails."""

    stage: Stage = "discover"


def run_bundle(job: Job, bundle: PlannedBundle) -> Bundle:
    """Read, standardize and store a bundle's records; the rows to commit."""
    lake = Lake(job.lake_uri)
    known = _known_episodes(lake, job.conversion)
    keys: dict[str, list[str]] = {}  # episode_id → the records that hold it; the first one is stored
    annotations: list[Row] = []
    quarantine: list[Row] = []
    duplicates: list[str] = []
    claims: list[Claim] = []
    with _spool() as folder, ShardWriter(folder) as writer:
        for record, key in zip(bundle.records, bundle.source_keys, strict=True):
            progress = _Progress()
            try:
                episode, claim = _take(job, record, progress)
                if episode.episode_id in known:
                    duplicates.append(key)
                    continue
                if episode.episode_id not in keys:
                    progress.stage = "write"
                    writer.add(episode)
                    claims.append(claim)
                    annotations += _annotations(episode, job.conversion)
                keys.setdefault(episode.episode_id, []).append(key)
            except _BUGS as error:
                error.add_note(f"while at stage {progress.stage!r} of record {record.index} ({record.files[0]})")
                raise
            except (RobomixError, OSError, ValueError, ArithmeticError, EOFError, MemoryError) as error:
                if progress.stage == "write" and isinstance(error, MemoryError):
                    raise  # the shard may be half written
                if progress.stage == "write" and isinstance(error, OSError):
                    raise RobomixError(_no_room(folder, error)) from error
                quarantine.append(quarantine_row(job, record, key=key, stage=progress.stage, error=error))
        shard = writer.finish()
        if shard is not None:
            _upload(lake, job.source, shard, receipt=make_receipt(shard, claims))
    rows = [] if shard is None else _rows(job, shard, keys)
    return Bundle(
        bundle_id=bundle.bundle_id,
        episodes=tuple(rows),
        annotations=tuple(annotations),
        quarantine=tuple(quarantine),
        duplicates=tuple(duplicates),
    )


def _take(job: Job, record: Record, progress: _Progress) -> tuple[Episode, Claim]:
    """The episode, and what its source says that it must read back as."""
    if record.problem is None:
        progress.stage = "read"
    raw = read(job, record)
    progress.stage = "standardize"
    witness = Witness(episode_id=raw.digest)
    frames = _frames(job, raw)
    episode = _convert_frames(job, frames, record, see=witness.see)
    values = source_values(frames, embodiment=job.embodiment, binding=job.embodiment.sources[job.format])
    return episode, witness.claim(frames, episode, signals=values)


def read(job: Job, record: Record) -> RawEpisode:
    """A record as it was logged; EpisodeError where it is known to be unreadable already."""
    if record.problem is not None:
        raise EpisodeError(record.problem.reason, record.problem.message)
    return format_named(job.format).read(job.location, record)


def convert(job: Job, raw: RawEpisode, record: Record, *, see: See) -> Episode:
    """A record that was read, as this job stores it."""
    return _convert_frames(job, _frames(job, raw), record, see=see)


def _frames(job: Job, raw: RawEpisode) -> RawEpisode:
    return source_frames(raw, embodiment=job.embodiment, binding=job.embodiment.sources[job.format])


def _convert_frames(job: Job, frames: RawEpisode, record: Record, *, see: See) -> Episode:
    reader = format_named(job.format)
    return standardize(
        frames,
        embodiment=job.embodiment,
        binding=job.embodiment.sources[job.format],
        source=job.source,
        settings=job.settings,
        record=record,
        location=job.location,
        adapter=(reader.NAME, reader.VERSION),
        licence=job.licence,
        see=see,
    )


def _known_episodes(lake: Lake, conversion: str) -> set[str]:
    """What need not be stored again: the same bytes, converted the same way, from wherever they came."""
    rows = lake.scan("episodes").filter(pl.col("conversion") == conversion).select("episode_id")
    return set(rows.collect()["episode_id"])


def _no_room(folder: Path, error: OSError) -> str:
    return (
        f"cannot write a shard ({error}); expected room for one of about {SHARD_BYTES // 2**20} MiB per core: "
        f"free some or set TMPDIR, and run the same command again; it was spooled in {folder}"
    )


def _upload(lake: Lake, source: str, shard: Shard, *, receipt: Receipt) -> None:
    """Put the shard and its receipt in, also where a killed run left the same ones.

    They must be young again, or a `gc` would take them for garbage before their rows are committed.
    """
    for local, extension in ((shard.parquet, "parquet"), (shard.tar, "tar")):
        lake.upload(local, f"shards/{source}/{shard.digest}.{extension}", may_move=True)
    lake.write(f"shards/{source}/{shard.digest}.{EXTENSION}", receipt.encoded())


def _rows(job: Job, shard: Shard, keys: dict[str, list[str]]) -> list[Row]:
    """One row per record: records that hold the same episode share all but the key, and only the first is kept."""
    common = {
        "conversion": job.conversion,
        "shard": f"shards/{job.source}/{shard.digest}",
        "ingest_run": job.ingest_run,
    }
    return [row | common | {"source_key": key} for row in shard.rows for key in keys[row["episode_id"]]]


def _annotations(episode: Episode, conversion: str) -> Iterator[Row]:
    for instruction in episode.instructions:
        row: dict[str, Any] = {
            "episode_id": episode.episode_id,
            "start": instruction.start,
            "stop": instruction.stop,
            "text": instruction.text,
            "kind": "instruction",
            "author": f"adapter:{episode.provenance.adapter}",
            "conversion": conversion,
            "supersedes": None,
            "format_version": FORMAT_VERSION,
        }
        yield row | {"annotation_id": digest_json(row)}


def quarantine_row(job: Job, record: Record, *, key: str, stage: Stage, error: Exception) -> Row:
    """Why a record could not be taken, where in the code, and where in the log."""
    reason = error.reason if isinstance(error, EpisodeError) else f"{UNFORESEEN}{type(error).__name__.lower()}"
    frames = [(Path(frame.filename).name, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
    return {
        "source_key": key,
        "conversion": job.conversion,
        "source": job.source,
        "raw_uri": job.location.file_uri(record.files[0]),
        "record_index": record.index,
        "stage": stage,
        "reason": reason,
        "error_type": type(error).__name__,
        "message": _told(str(error)),
        "fingerprint": digest_json([reason, type(error).__name__, frames])[:16],
        "traceback": _told("".join(traceback.format_exception(error))),
        "ingest_run": job.ingest_run,
        "format_version": FORMAT_VERSION,
    }


def _told(text: str) -> str:
    return spelled(masked(text))


@contextmanager
def _spool() -> Iterator[Path]:
    """A local folder for a shard in the making, named by its process so that a dead one's can be told and removed."""
    sweep_spools()
    folder = Path(tempfile.mkdtemp(prefix=f"{_SPOOL}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_spools() -> None:
    """Remove the spools that killed workers left on this machine."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SPOOL}*-*"):
        process = Path("/proc") / folder.name.removeprefix(_SPOOL).split("-")[0]
        if Path("/proc/self").exists() and not process.exists():
            shutil.rmtree(folder, ignore_errors=True)
