"""The commit protocol: files first, rows last, and no episode twice.

Workers upload shards and hand over rows; only a driver commits. A commit of `episodes` carries one Delta
application transaction per bundle (so that a resumed driver knows what is done) and one that every commit shares
(so that of two drivers at once the slower one is refused): the refused one reads again, drops what is there by now
and tries anew. Killing a driver anywhere leaves at most unreferenced files, which `schema.gc` removes.
"""

import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from schema.digest import digest_json
from schema.errors import SchemaError
from schema.lake import Lake
from schema.tables import TABLES

Row = dict[str, Any]
Outcome = Literal["committed", "duplicate", "superseded", "quarantined"]
OUTCOMES: tuple[Outcome, ...] = ("committed", "duplicate", "superseded", "quarantined")
"""What becomes of a discovered record, each of them exactly one of these."""

MERGE_EVERY = 16
"""Commits of a table after which its small files become one: a scan opens each file, in about 0.3 ms."""
_TURN = "robomix.commit"
_MAX_TRIES = 100
_REFUSED = re.compile(r"oncurrent|etadata changed|already exists|commit transaction: \d+$")
"""What Delta Lake says where another commit came first; a mere number is how often it has tried by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """The rows of one finished bundle, as a worker hands them over; never frames."""

    bundle_id: str
    episodes: tuple[Row, ...]
    annotations: tuple[Row, ...] = ()
    quarantine: tuple[Row, ...] = ()
    duplicates: tuple[str, ...] = ()
    """source_key of the records that turned out, once read, to be in the lake already."""


def commit(lake: Lake, bundles: Sequence[Bundle]) -> dict[str, Outcome]:
    """Make these bundles part of the lake; what became of each record, by source_key."""
    outcomes: dict[str, Outcome] = {}
    for bundle in bundles:
        outcomes |= {row["source_key"]: "quarantined" for row in bundle.quarantine}
        outcomes |= dict.fromkeys(bundle.duplicates, "duplicate")
    _append(lake, "quarantine", bundles)
    _append(lake, "annotations", bundles)
    return outcomes | _append_episodes(lake, bundles)


def done_bundles(lake: Lake, bundle_ids: Iterable[str]) -> set[str]:
    """Those of the bundles that an earlier run has committed."""
    table = lake.table("episodes")
    return set() if table is None else _done(table, bundle_ids)


def _done(table: DeltaTable, bundle_ids: Iterable[str]) -> set[str]:
    return {bundle for bundle in bundle_ids if table.transaction_version(bundle) is not None}


def _append(lake: Lake, name: Literal["quarantine", "annotations"], bundles: Sequence[Bundle]) -> None:
    """Append what hangs on the episodes, once per bundle; a row that comes twice by a race is read once.

    The transaction names the rows too: a bundle that is done again after a crash may bring others than the first time.
    """
    parts: dict[str, tuple[Row, ...]] = {}
    for bundle in bundles:
        if rows := getattr(bundle, name):
            parts[f"{bundle.bundle_id}/{digest_json(rows)}"] = rows
    for attempt in range(_MAX_TRIES):
        if not parts:
            return
        table = lake.create_table(name)
        there = _done(table, parts)
        todo = {part: rows for part, rows in parts.items() if part not in there}
        rows = [row for part in todo.values() for row in part]
        if not rows or _try_write(table, rows, name=name, transactions=_transactions(todo)):
            return
        _wait(attempt)
    raise SchemaError(f"{lake.uri}: {_MAX_TRIES} commits of {name!r} were refused in a row; too many writers at once")


def _append_episodes(lake: Lake, bundles: Sequence[Bundle]) -> dict[str, Outcome]:
    for attempt in range(_MAX_TRIES):
        table = lake.create_table("episodes")
        turn = (table.transaction_version(_TURN) or 0) + 1
        rows, outcomes = _sort_out(lake, table, bundles)
        there = _done(table, [bundle.bundle_id for bundle in bundles])
        todo = [bundle.bundle_id for bundle in bundles if bundle.bundle_id not in there]
        if not todo and not rows:
            return outcomes
        transactions = [Transaction(_TURN, turn), *_transactions(todo)]
        if _try_write(table, rows, name="episodes", transactions=transactions):
            return outcomes
        _wait(attempt)
    raise SchemaError(f"{lake.uri}: {_MAX_TRIES} commits in a row were refused; too many drivers at once")


def _sort_out(lake: Lake, table: DeltaTable, bundles: Sequence[Bundle]) -> tuple[list[Row], dict[str, Outcome]]:
    """The rows that this version of the table does not have, and what becomes of every record."""
    offered = [row for bundle in bundles for row in bundle.episodes]
    there, live = _known(lake, table, {row["episode_id"] for row in offered})
    rows: list[Row] = []
    outcomes: dict[str, Outcome] = {}
    for row in offered:
        episode, key = row["episode_id"], (row["episode_id"], row["conversion"])
        if key in there:
            outcomes[row["source_key"]] = "duplicate"
            continue
        outcomes[row["source_key"]] = "superseded" if episode in live else "committed"
        rows.append(row | {"supersedes": live.get(episode)})
        there.add(key)
        live[episode] = row["conversion"]
    return rows, outcomes


def _known(lake: Lake, table: DeltaTable, episodes: set[str]) -> tuple[set[tuple[str, str]], dict[str, str]]:
    """(episode_id, conversion) of every row of these episodes, and the live conversion of each."""
    frame = (
        pl.scan_delta(table, storage_options=lake.storage_options)
        .filter(pl.col("episode_id").is_in(sorted(episodes)))
        .select("episode_id", "conversion", "supersedes")
        .collect()
    )
    rows = list(frame.iter_rows())
    dead = {(episode, supersedes) for episode, _, supersedes in rows if supersedes is not None}
    there = {(episode, conversion) for episode, conversion, _ in rows}
    return there, dict(sorted(there - dead))


def _transactions(names: Iterable[str]) -> list[Transaction]:
    return [Transaction(name, 1) for name in names]


def _try_write(table: DeltaTable, rows: list[Row], *, name: str, transactions: list[Transaction]) -> bool:
    """Append on top of exactly this version; False where another writer got in the way."""
    try:
        write_deltalake(
            table,
            _stamped(rows, name),
            mode="append",
            commit_properties=CommitProperties(app_transactions=transactions),
        )
    except CommitFailedError as error:
        if not _REFUSED.search(str(error)):
            raise
        return False
    if table.version() % MERGE_EVERY == 0:
        _merge(table)
    return True


def _stamped(rows: list[Row], name: str) -> pa.Table:
    """The rows as Arrow, with the time of the commit where the table keeps it."""
    now = {"committed_at": datetime.now(UTC)} if "committed_at" in TABLES[name].names else {}
    return pa.Table.from_pylist([row | now for row in rows], schema=TABLES[name])


def _wait(attempt: int) -> None:
    """Let the others go first, by a random while that grows; timing only, it decides nothing that is stored."""
    time.sleep(random.random() * min(2.0, 0.02 * 2**attempt))  # noqa: S311


def tally(outcomes: Iterable[Outcome]) -> dict[Outcome, int]:
    """How many records met each outcome; every outcome is named."""
    counted = Counter(outcomes)
    return {outcome: counted[outcome] for outcome in OUTCOMES}


def compact(lake: Lake) -> None:
    """Merge the small files that many commits leave; readers and writers go on meanwhile."""
    for name in TABLES:
        table = lake.table(name)
        if table is not None:
            _merge(table)


def _merge(table: DeltaTable) -> None:
    try:
        table.optimize.compact()
        table.create_checkpoint()
    except CommitFailedError:
        return  # another writer is at it; a later commit merges
