"""A lake: a folder or bucket prefix that holds shards and the Delta tables that make sense of them.

An episode exists when, and only when, its row in `episodes` is committed (`schema.commit`). Shards never change and
rows are never rewritten: an episode converted anew gets a new row that names the conversion it supersedes, and
`Lake.episodes` gives the live rows only. Works on any fsspec URI whose store Delta Lake knows (local, s3://, …).
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from urllib.parse import unquote
from uuid import uuid4

import polars as pl
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from schema.digest import canonical_json
from schema.embodiment import Embodiment
from schema.errors import SchemaError
from schema.store import open_store
from schema.tables import TABLES

_PROPERTIES = {"delta.enableExpiredLogCleanup": "false", "delta.checkpointInterval": "4"}
"""Versions are kept for good: one that a lock pins must open a year later. By default they go after 30 days. Whoever
opens a table reads every commit since its last checkpoint, in about 1 ms each: by default there may be 100 of them."""
_ODD_CHARACTERS = frozenset("%[]\\^|")


class _Table(DeltaTable):
    """A Delta table whose files polars finds in any folder: see pola-rs/polars#20944 on `%20` in a path."""

    def file_uris(self, *args: Any, **filters: Any) -> list[str]:
        return [unquote(file) for file in super().file_uris(*args, **filters)]


class Lake:
    """A lake at a URI. Cheap to open; safe to send to other processes."""

    def __init__(self, uri: str) -> None:
        """Point at a lake; `Lake.open` also looks whether one is there."""
        fs, self.root = open_store(uri)
        if odd := set(self.root) & _ODD_CHARACTERS:
            raise SchemaError(f"a lake's path cannot hold {' '.join(sorted(odd))}, which Delta Lake misreads: {uri!r}")
        self.uri: str = fs.unstrip_protocol(self.root)

    @classmethod
    def open(cls, uri: str) -> "Lake":
        """The lake at this URI; SchemaError where there is none."""
        lake = cls(uri)
        if not lake.is_lake():
            raise SchemaError(
                f"no lake at {lake.uri}: expected a folder with an `episodes` Delta table; "
                "check the path, or make a lake with `robomix ingest URI --lake LAKE`"
            )
        return lake

    @classmethod
    def open_or_create(cls, uri: str) -> "Lake":
        """The lake at this URI, made where nothing is yet; SchemaError where something else is."""
        lake = cls(uri)
        if lake.is_lake():
            return lake
        foreign = list(lake.fs.ls(lake.root, detail=False)) if lake.fs.exists(lake.root) else []
        ours = {*TABLES, "plans", "locks", "shards", "embodiments"}
        if strangers := sorted(name for path in foreign if (name := path.rstrip("/").rsplit("/", 1)[-1]) not in ours):
            raise SchemaError(
                f"{lake.uri} is no lake and not empty (it holds {', '.join(strangers[:3])}…): choose a new folder"
            )
        lake.create_table("episodes")
        return lake

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "root": self.root}

    def __repr__(self) -> str:
        return f"Lake({self.uri!r})"

    # ── files ──────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def fs(self) -> Any:
        """The fsspec file system."""
        return open_store(self.uri)[0]

    @property
    def is_local(self) -> bool:
        """Whether files can be mapped into memory where they lie."""
        return "file" in self.fs.protocol

    def path(self, file: str) -> str:
        """A file of the lake in the file system's own spelling."""
        return f"{self.root}/{file}"

    def read(self, file: str, start: int | None = None, stop: int | None = None) -> bytes:
        """The file's bytes [start, stop); SchemaError that names the file where it is gone."""
        try:
            return cast(bytes, self.fs.cat_file(self.path(file), start=start, end=stop))
        except FileNotFoundError as error:
            raise SchemaError(
                f"{file} is missing from {self.uri}: expected it by the catalogue; `lake verify`"
            ) from error

    def write(self, file: str, data: bytes) -> None:
        """Write a small file whole or not at all."""
        with TemporaryDirectory(prefix="robomix-") as folder:
            local = Path(folder) / "file"
            local.write_bytes(data)
            self.upload(local, file)

    def upload(self, local: Path, file: str, *, may_move: bool = False) -> None:
        """Copy a local file in under its name, whole or not at all: objects appear at once, local files by rename.

        With `may_move` the local file may be gone afterwards: one on the lake's own file system is moved, not copied.
        """
        target = self.path(file)
        if not self.is_local:
            self.fs.put_file(str(local), target)
            return
        self.fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        partial = f"{target}.{uuid4().hex}.part"
        if not (may_move and _moved(local, partial)):
            self.fs.put_file(str(local), partial)
        with open(partial, "rb") as stream:  # noqa: PTH123 - fsspec's spelling of a local path
            os.fsync(stream.fileno())
        os.replace(partial, target)  # noqa: PTH105 - atomic, as fsspec's mv is not

    def exists(self, file: str) -> bool:
        """Whether the file is there."""
        return bool(self.fs.exists(self.path(file)))

    @contextmanager
    def local(self, file: str) -> Iterator[Path]:
        """The file under a local path, fetched for the while where it is remote; SchemaError where it is gone."""
        if not self.exists(file):
            raise SchemaError(f"{file} is missing from {self.uri}: expected it by the catalogue")
        if self.is_local:
            yield Path(self.path(file))
            return
        with TemporaryDirectory(prefix="robomix-fetch-") as folder:
            target = Path(folder) / file.rsplit("/", 1)[-1]
            self.fs.get_file(self.path(file), str(target))
            yield target

    # ── tables ─────────────────────────────────────────────────────────────────────────────────────────────────

    def is_lake(self) -> bool:
        """Whether an `episodes` table is here."""
        return self.table("episodes") is not None

    def table(self, name: str, version: int | None = None) -> DeltaTable | None:
        """The Delta table, now or at a version; None where it has not been made yet."""
        try:
            return _Table(self._table_uri(name), version=version, storage_options=self.storage_options)
        except (DeltaError, OSError) as error:
            reason = str(error).partition("\n")[0]
            if version is not None:
                newest = self.version(name)
                is_there = f"the newest is {newest}" if newest is not None else "that table has not been made yet"
                raise SchemaError(f"{self.uri} has no version {version} of {name!r}: {is_there}") from error
            if isinstance(error, TableNotFoundError):
                return None
            raise SchemaError(
                f"the table {name!r} of {self.uri} cannot be read: {reason}; check the folder, or bucket and keys"
            ) from error

    def create_table(self, name: str) -> DeltaTable:
        """The table, made if it is not there; safe when others do the same at once."""
        table = self.table(name)
        if table is not None:
            return table
        failure: DeltaError | None = None
        try:
            DeltaTable.create(
                self._table_uri(name),
                schema=TABLES[name],
                mode="error",
                configuration=_PROPERTIES,
                storage_options=self.storage_options,
                commit_properties=CommitProperties(max_commit_retries=0),  # another try would be a second creation
            )
        except DeltaError as error:
            failure = error
        table = self.table(name)
        if table is None:
            raise SchemaError(f"cannot make the table {name!r} of {self.uri}: {failure}") from failure
        return table

    def version(self, name: str) -> int | None:
        """The table's newest version; None where it has not been made yet."""
        table = self.table(name)
        return None if table is None else int(table.version())

    def scan(self, name: str, *, version: int | None = None) -> pl.LazyFrame:
        """Every row of a table; no rows, with the right columns, where it has not been made yet."""
        table = self.table(name, version)
        if table is None:
            return cast(pl.DataFrame, pl.from_arrow(TABLES[name].empty_table())).lazy()
        return pl.scan_delta(table, storage_options=self.storage_options)

    def episodes(self, *, version: int | None = None) -> pl.LazyFrame:
        """The catalogue: one row per episode, by its newest conversion."""
        rows = self.scan("episodes", version=version)
        dead = rows.filter(pl.col("supersedes").is_not_null()).select("episode_id", conversion="supersedes")
        return rows.join(dead, on=["episode_id", "conversion"], how="anti")

    def annotations(self, *, version: int | None = None) -> pl.LazyFrame:
        """The instructions that hold for the live episodes: each once, without those that another supersedes."""
        rows = self.scan("annotations", version=version).unique("annotation_id")
        dead = rows.filter(pl.col("supersedes").is_not_null()).select(annotation_id="supersedes")
        live = self.episodes().select("episode_id", live_conversion="conversion")
        is_other = pl.col("conversion").is_not_null() & (pl.col("conversion") != pl.col("live_conversion"))
        held = rows.join(dead, on="annotation_id", how="anti").join(live, on="episode_id", how="left")
        return held.filter(~is_other.fill_null(value=False)).drop("live_conversion")

    def quarantine(self) -> pl.LazyFrame:
        """What could not be taken and has not been taken since: each record's newest fault, by its place in the log."""
        place = ["raw_uri", "record_index"]
        rows = self.scan("quarantine").sort("committed_at").unique(place, keep="last", maintain_order=True)
        taken = self.scan("episodes").group_by(place).agg(taken_at=pl.col("committed_at").max())
        since = rows.join(taken, on=place, how="left")
        return since.filter(pl.col("taken_at").is_null() | (pl.col("taken_at") < pl.col("committed_at"))).drop(
            "taken_at"
        )

    # ── embodiments ────────────────────────────────────────────────────────────────────────────────────────────

    def keep_embodiment(self, embodiment: Embodiment) -> None:
        """Keep the table that episodes are converted by, under its digest."""
        file = f"embodiments/{embodiment.digest}.json"
        if not self.exists(file):
            self.write(file, canonical_json(embodiment.model_dump(mode="json")))

    def embodiment(self, digest: str) -> Embodiment:
        """The table that an episode was converted by (its `embodiment_table`)."""
        return Embodiment.model_validate_json(self.read(f"embodiments/{digest}.json"))

    @property
    def storage_options(self) -> dict[str, str]:
        """What Delta Lake needs beyond the environment's AWS_… variables to write safely to S3."""
        if self.is_local:
            return {}
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        options = {
            "aws_conditional_put": "etag",
            "aws_region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        }
        if endpoint:
            options |= {"aws_endpoint_url": endpoint, "aws_allow_http": str(endpoint.startswith("http://")).lower()}
        return options

    def _table_uri(self, name: str) -> str:
        return self.path(name) if self.is_local else f"{self.uri.rstrip('/')}/{name}"


def _moved(local: Path, target: str) -> bool:
    """Move a file; False where the target lies on another file system."""
    try:
        local.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True
