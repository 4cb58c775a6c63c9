"""Bundles as Ray tasks: a bounded number at once, and what becomes of one whose worker dies.

A worker dies of a decoder that crashes, of memory that runs out, or with its machine. Its bundle is tried again, then
cut in halves, until one record is left that no worker survives: that one goes to quarantine as "crashed", the others
are taken. What comes back is rows, one `Bundle` for each planned one, whatever it was cut into on the way.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace

import ray

from ingest.bundle import Job, quarantine_row
from ingest.plan import PlannedBundle
from schema.cluster import num_cpus
from schema.commit import Bundle
from schema.errors import EpisodeError, RobomixError

CRASHED = "crashed"
"""The reason of a record that no worker survives."""
TRIES, TRIES_OF_ONE = 2, 3
"""How often several records are tried before they are halved, and one record before it is blamed."""
MOST_IN_A_ROW = 16
"""So many crashed records with nothing taken between them are the machines' fault: the ingest stops."""
_IN_FLIGHT_PER_CPU = 2
_DEATHS = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.ObjectLostError,
)

RunBundle = Callable[[Job, PlannedBundle], Bundle]
Wave = list[tuple[PlannedBundle, Bundle]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """Records [start, stop) of a planned bundle, on their `tries`-th try."""

    whole: PlannedBundle
    start: int
    stop: int
    tries: int = 1

    @property
    def bundle(self) -> PlannedBundle:
        """The piece as a bundle of its own."""
        if self.stop - self.start == len(self.whole.records):
            return self.whole
        part = slice(self.start, self.stop)
        return PlannedBundle(
            bundle_id=f"{self.whole.bundle_id}/{self.start}-{self.stop}",
            records=self.whole.records[part],
            source_keys=self.whole.source_keys[part],
        )

    @property
    def is_last_chance(self) -> bool:
        """Runs alone, so that no other bundle takes the memory that it would have needed."""
        return self.stop - self.start == 1 and self.tries == TRIES_OF_ONE

    def after_death(self) -> tuple["_Piece", ...]:
        """What to try next; nothing where one record is to blame."""
        num_records = self.stop - self.start
        if self.tries < (TRIES_OF_ONE if num_records == 1 else TRIES):
            return (replace(self, tries=self.tries + 1),)
        if num_records == 1:
            return ()
        middle = self.start + num_records // 2
        return replace(self, stop=middle, tries=1), replace(self, start=middle, tries=1)


@dataclass(kw_only=True, slots=True)
class _Results:
    """What pieces gave, until their bundle is whole again."""

    parts: dict[str, dict[int, tuple[int, Bundle]]] = field(default_factory=dict)
    """bundle_id → {start of a piece: (its number of records, its rows)}"""
    crashed_in_a_row: int = 0

    def add(self, piece: _Piece, result: Bundle) -> Bundle | None:
        """The planned bundle, where this was the last piece of it."""
        parts = self.parts.setdefault(piece.whole.bundle_id, {})
        parts[piece.start] = piece.stop - piece.start, result
        if sum(num_records for num_records, _ in parts.values()) < len(piece.whole.records):
            return None
        del self.parts[piece.whole.bundle_id]
        results = [part for _, (_, part) in sorted(parts.items())]
        return Bundle(
            bundle_id=piece.whole.bundle_id,
            episodes=tuple(row for part in results for row in part.episodes),
            annotations=tuple(row for part in results for row in part.annotations),
            quarantine=tuple(row for part in results for row in part.quarantine),
            duplicates=tuple(key for part in results for key in part.duplicates),
        )

    def blame(self, job: Job, piece: _Piece, death: Exception) -> Bundle:
        """One record's quarantine row; RobomixError where it is one too many in a row."""
        self.crashed_in_a_row += 1
        record, key, kind = piece.whole.records[piece.start], piece.whole.source_keys[piece.start], type(death).__name__
        uri = job.location.file_uri(record.files[0])
        if self.crashed_in_a_row >= MOST_IN_A_ROW:
            raise RobomixError(
                f"no worker survived any of {self.crashed_in_a_row} records in a row ({kind}), expected the fault of "
                f"one at a time: see whether the machines are sound and have memory left; the last was {uri}"
            )
        message = (
            f"no worker survived record {record.index} ({kind}), tried {TRIES_OF_ONE} times: it crashes its decoder or "
            f"needs more memory than there is; `--retry {CRASHED}` tries it once more; file {uri}"
        )
        row = quarantine_row(job, record, key=key, stage="read", error=EpisodeError(CRASHED, message))
        return Bundle(bundle_id=piece.bundle.bundle_id, episodes=(), quarantine=(row,))


def run_all(run: RunBundle, job: Job, todo: list[PlannedBundle]) -> Iterator[Wave]:
    """Do every bundle; about every second, or sooner, the rows of those that are whole."""
    task = ray.remote(run).options(num_cpus=1, max_retries=0, name=f"ingest {job.source}")
    shared = ray.put(job)
    in_flight = max(2, num_cpus() * _IN_FLIGHT_PER_CPU)
    waiting = [_Piece(whole=bundle, start=0, stop=len(bundle.records)) for bundle in reversed(todo)]
    running: dict[ray.ObjectRef[Bundle], _Piece] = {}
    results = _Results()
    try:
        while waiting or running:
            while waiting and len(running) < in_flight and _may_start(waiting[-1], running.values()):
                piece = waiting.pop()
                running[task.remote(shared, piece.bundle)] = piece
            ready, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
            wave: Wave = []
            for reference in ready:
                piece = running.pop(reference)
                result, again = _outcome(reference, piece, job=job, results=results)
                waiting += reversed(again)
                whole = None if result is None else results.add(piece, result)
                wave += [] if whole is None else [(piece.whole, whole)]
            yield wave
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _may_start(piece: _Piece, running: Collection[_Piece]) -> bool:
    return not running or not (piece.is_last_chance or any(other.is_last_chance for other in running))


def _outcome(
    reference: "ray.ObjectRef[Bundle]", piece: _Piece, *, job: Job, results: _Results
) -> tuple[Bundle | None, tuple[_Piece, ...]]:
    """A piece's rows, or what to try instead; a task's own error is raised as itself, not in Ray's wrapping."""
    try:
        found: Bundle = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if not isinstance(cause, RobomixError):
            cause.add_note(str(error))
        raise cause from None
    except _DEATHS as error:
        again = piece.after_death()
        return (None, again) if again else (results.blame(job, piece, error), ())
    except ray.exceptions.RayError as error:
        told = str(error).strip().partition("\n")[0]
        raise RobomixError(
            f"the Ray cluster cannot run the bundles ({type(error).__name__}: {told}); mend it and run the same "
            "command again"
        ) from None
    results.crashed_in_a_row = 0
    return found, ()
