"""A process that damages logs and ingests them as a driver and its workers would: what `test_fuzz` runs.

It reads lines of `<log> TAB <number>` and answers each with a line of JSON, a `Fate`. It dies where a decoder does.
By hand: `echo -e 'mcap\t17' | python -m tests.ingest.fuzz_worker /tmp/fuzz`.
"""

import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import traceback
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from ingest import bundle as bundles
from ingest.bundle import Job, run_bundle
from ingest.conventions.checks import judge
from ingest.conventions.probe import measures_of, probe
from ingest.detect import find_embodiment, format_named
from ingest.draft import draft
from ingest.job import Request, discover
from ingest.location import Location
from ingest.plan import UNFORESEEN, PlannedBundle, _parse_record, _told_record, source_keys
from ingest.record import Discovery, Record
from schema.commit import Bundle, _stamped
from schema.digest import canonical_json, digest_json
from schema.embodiment import Embodiment
from schema.errors import ConfigError, RobomixError
from schema.picture import ImageSettings
from schema.tables import TABLES
from tests.ingest.fuzz_logs import LOGS

MAX_BYTES = 2 << 30
"""More memory than this and a case has failed."""
LONGEST_S = 5
"""So many seconds of work on one case end the process, by SIGXCPU."""
_ELSEWHERE = ("raw_uri", "source_key", "record_index", "byte_start", "byte_stop", "notes", "not_stored", "bundle_id")
"""What a row says of the record's place and of what was odd about it, not of the episode."""
_DESCRIPTIONS = (".json", ".jsonl", ".yaml", ".txt", ".zarray", ".zattrs", ".zgroup", "meta")


@dataclass(kw_only=True, slots=True)
class Fate:
    """What became of a damaged log."""

    file: str
    refused: list[str] = field(default_factory=list)
    """Reasons of records, or "source" where there is no record left to refuse."""
    same: int = 0
    """Episodes of the undamaged log, taken as they are."""
    others: int = 0
    """Episodes with a digest of their own."""
    failures: list[str] = field(default_factory=list)
    """What must not be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What a log came to."""

    episodes: dict[str, str]
    """episode_id → a digest of all that the lake would hold of it."""
    refused: tuple[tuple[str, str], ...]
    """(reason, what its row in quarantine says)"""
    records: int
    notes: tuple[str, ...]


def ingested(folder: Path, robot: Embodiment) -> Taken:
    """A folder's log taken the way of `ingest.job`, without a lake; whatever would stop the driver is raised."""
    location, discovery = discover(Request(uri=str(folder)))
    reader = format_named(discovery.format)
    _look_at(discovery)
    job = Job(
        lake_uri=str(folder / "lake"),
        location=location,
        source="test",
        format=reader.NAME,
        embodiment=robot,
        conversion="0" * 16,
        settings=ImageSettings(),
        ingest_run="0" * 16,
        licence=discovery.licence,
    )
    done = [
        (planned, probe(job, planned), run_bundle(job, planned)) for planned in _planned(location, discovery.records)
    ]
    judge(measures_of([(planned, said) for planned, said, _ in done]), robot)
    found = [_committed(bundle) for _, _, bundle in done]
    return Taken(
        episodes={key: content for bundle in found for key, content in bundle.items()},
        refused=tuple(
            (row["reason"], f"{row['message']} {row['raw_uri']}") for _, _, bundle in done for row in bundle.quarantine
        ),
        records=len(discovery.records),
        notes=discovery.notes,
    )


def _look_at(discovery: Discovery) -> None:
    """What a driver does with a discovery before it plans: the robot is looked for, a table is drafted."""
    try:
        find_embodiment(discovery, None)
    except ConfigError:
        draft(discovery)
    canonical_json([discovery.name, discovery.notes, discovery.licence])


def _planned(location: Location, records: tuple[Record, ...]) -> Iterator[PlannedBundle]:
    """A bundle for each record, as a plan in a lake brings it to a worker."""
    for record, key in zip(records, source_keys(location, records), strict=True):
        told = json.loads(canonical_json(_told_record(record)))
        yield PlannedBundle(bundle_id=key, records=(_parse_record(told),), source_keys=(key,))


def _committed(bundle: Bundle) -> dict[str, str]:
    """The bundle's rows as they would be committed: every episode with a digest of its shard and rows."""
    for name, rows in (("quarantine", bundle.quarantine), ("annotations", bundle.annotations)):
        digest_json(rows)
        _stamped(list(rows), name)
    table = _stamped(list(bundle.episodes), "episodes").drop_columns(["committed_at"])
    return {
        row["episode_id"]: digest_json(
            repr([{k: v for k, v in row.items() if k not in _ELSEWHERE}, bundle.annotations])
        )
        for row in table.to_pylist()
    }


class _NoLake:
    """Has no episode yet, and keeps nothing: a shard's name is the digest of its content."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def scan(self, name: str) -> pl.LazyFrame:
        return _empty(name)

    def upload(self, local: Path, file: str, *, may_move: bool = False) -> None:
        assert local.stat().st_size

    def write(self, file: str, data: bytes) -> None:
        assert data


@cache
def _empty(name: str) -> pl.LazyFrame:
    return pl.DataFrame(pl.from_arrow(TABLES[name].empty_table())).lazy()


class Fuzz:
    """Cases below a folder, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._whole: dict[str, tuple[Path, Taken]] = {}

    def whole(self, name: str) -> tuple[Path, Taken]:
        """The undamaged log, and what it comes to; every record of it is taken."""
        if name not in self._whole:
            folder = self._folder / name.replace(" ", "_") / "log"
            if not folder.exists():
                partial = folder.with_name("partial")
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
                LOGS[name].write(partial)
                partial.rename(folder)
            taken = ingested(folder, LOGS[name].robot())
            assert len(taken.episodes) == taken.records, taken
            self._whole[name] = folder, taken
        return self._whole[name]

    def case(self, name: str, number: int) -> Fate:
        """The fate of one damaged log; the same number always damages the same way."""
        whole, clean = self.whole(name)
        log, random = LOGS[name], np.random.default_rng([zlib.crc32(name.encode()), number])
        files = sorted(file for file in whole.glob(log.kinds[number % len(log.kinds)]) if file.is_file())
        file = files[random.integers(len(files))].relative_to(whole)
        copy = whole.parent / f"case-{os.getpid()}" / "log"
        shutil.copytree(whole, copy)
        try:
            (copy / file).write_bytes(log.mutate((whole / file).read_bytes(), random))
            return _fate(copy, file, robot=log.robot(), clean=clean)
        finally:
            shutil.rmtree(copy.parent)


def _fate(folder: Path, file: Path, *, robot: Embodiment, clean: Taken) -> Fate:
    fate = Fate(file=str(file))
    try:
        taken = ingested(folder, robot)
    except RobomixError as error:
        fate.refused.append("source")
        fate.failures += _unnamed(str(error), file, folder=folder)
        return fate
    except Exception as error:  # noqa: BLE001 - recorded
        place = " < ".join(
            f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[:-7:-1]
        )
        fate.failures.append(f"the driver would stop: {type(error).__name__}: {error!s:.300} in {place}")
        return fate
    for key, content in taken.episodes.items():
        fate.same += clean.episodes.get(key) == content
        fate.others += key not in clean.episodes
        if clean.episodes.get(key, content) != content:
            fate.failures.append(f"another content under the episode_id {key}")
    for reason, told in taken.refused:
        fate.refused.append(reason)
        fate.failures += _unnamed(told, file, folder=folder)
        if reason.startswith(UNFORESEEN):
            fate.failures.append(f"nobody foresaw {reason}: {told:.300}")
    if taken.records < clean.records and taken.notes == clean.notes and not taken.refused:
        fate.failures.append(f"{clean.records - taken.records} of {clean.records} records vanished without a word")
    return fate


def _unnamed(told: str, file: Path, *, folder: Path) -> Iterator[str]:
    """Whether a message fails to name the damaged file: by its name or folder, of descriptions any file of the log."""
    words = [file.name, file.parent.name] if file.parent.name else [file.name]
    if file.name.endswith(_DESCRIPTIONS) or "meta" in file.parts:
        words.append(str(folder))
    if not any(word in told for word in words):
        yield f"does not name {file}: {told:.300}"


def main() -> None:
    """Answer lines of standard input until it ends, or until memory has grown too large."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (8 * MAX_BYTES, 8 * MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    vars(bundles)["Lake"] = _NoLake
    vars(bundles)["sweep_spools"] = lambda: None
    faulthandler.enable()
    faulthandler.register(signal.SIGXCPU, chain=True)
    fuzz = Fuzz(Path(sys.argv[1]))
    print("ready", file=answers)
    for line in sys.stdin:
        name, number = line.rstrip("\n").split("\t")
        fuzz.whole(name)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        spent = int(usage.ru_utime + usage.ru_stime) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (spent + LONGEST_S, resource.RLIM_INFINITY))
        fate = fuzz.case(name, int(number))
        resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if peak > MAX_BYTES:
            fate.failures.append(f"took {peak >> 20} MiB of memory")
        print(json.dumps(asdict(fate)), file=answers)
        if peak > MAX_BYTES:
            return


if __name__ == "__main__":
    main()
