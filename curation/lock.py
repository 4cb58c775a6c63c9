"""A lock: what a recipe comes to on one state of a lake, whole in itself, so that training never opens the catalogue.

A folder: `lock.json` (components with integer quotas, pinned table versions, embodiments), `runs.arrow` (which
frames, and where they lie), `stats.parquet` (what normalization needs) and `held_out.arrow`. The digest covers
every value in it but the lake's URI, so a copied lake gives the same lock. Made by `curation.make_lock`. Tables that
grow with the lake are mapped into memory, so that opening a lock of a million runs reads each of their bytes once, to
compare the file's digest, and keeps none.
"""
# Legend: C components, R runs.

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.chunks import ActionForm, ChunkRule, chunk_rule
from curation.order import Order, Runs
from curation.statistics import STATS
from curation.table_digest import table_digest
from schema.digest import digest_bytes, digest_json, new_digest
from schema.embodiment import Dimension, Embodiment
from schema.errors import ConfigError
from schema.lake import Lake
from schema.layout import LayoutName, Slots, slots
from schema.tables import FORMAT_VERSION

_SHARED = pa.dictionary(pa.int32(), pa.string())
RUNS = pa.schema(
    [
        ("component", pa.int32()),  # index in Lock.components, ascending
        ("episode_id", pa.string()),
        ("start", pa.int32()),  # frames [start, stop) of the episode are where chunks start
        ("stop", pa.int32()),
        ("episode_frames", pa.int32()),
        ("shard", _SHARED),  # path in the lake without extension: shards/<source>/<digest>
        ("row_group", pa.int32()),  # of the shard's Parquet, whole episodes each
        ("instructions", pa.list_(_SHARED)),  # at least one text
    ]
)
"""Columns of `runs` and `held_out`, without nulls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """One embodiment × task of the mixture."""

    name: str
    embodiment: str
    embodiment_table: str
    """Digest of the embodiment's table: a key of Lock.embodiments."""
    action_space: str
    task: str
    rate_hz: float
    episodes: int
    frames: int
    hours: float
    share: float
    """Expected share of samples, in (0, 1]."""
    quota: int
    """Samples of every 2**20."""
    window_segments: int
    stats_key: str
    prompt_prefix: str
    """Stands before the instruction; empty where the recipe asks for no tag."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Everything that training needs to know of a recipe and a lake, but the frames themselves."""

    recipe: dict[str, Any]
    lake: str
    """The lake's URI when the lock was made; not covered by the digest."""
    versions: dict[str, int | None]
    """The pinned version of each table that was read; None where it had not been made yet."""
    seed: int
    lanes: int
    layout: LayoutName
    width: int
    chunk_steps: int
    action_form: ActionForm
    image_size: int
    cameras: dict[str, tuple[str, ...]]
    """Model slot → camera names in order of preference."""
    components: tuple[Component, ...]
    embodiments: dict[str, Embodiment]
    """By the digest of the table."""
    runs: pa.Table
    stats: pa.Table
    held_out: pa.Table

    @cached_property
    def digest(self) -> str:
        """32 hex characters over every value of the lock but the lake's URI."""
        return digest_json(_values(self))

    def order(self) -> Order:
        """The order of samples; takes about 0.2 s to build."""
        return Order(
            num_frames_C=np.array([component.frames for component in self.components], np.int64),
            quota_C=np.array([component.quota for component in self.components], np.int64),
            window_C=np.array([component.window_segments for component in self.components], np.int64),
            seed=self.seed,
            lanes=self.lanes,
        )

    def run_index(self) -> Runs:
        """Where each component frame lies in `runs`."""
        start_R, stop_R = (self.runs[name].to_numpy().astype(np.int64) for name in ("start", "stop"))
        return Runs(num_frames_R=stop_R - start_R, component_R=self.runs["component"].to_numpy().astype(np.int64))

    def dimensions(self, component: Component) -> tuple[tuple[Dimension, ...], tuple[Dimension, ...]]:
        """(state, action) dimensions of a component, in its action space's order."""
        embodiment = self.embodiments[component.embodiment_table]
        space = embodiment.action_space(component.action_space)
        return embodiment.dimensions(space.state), embodiment.dimensions(space.action)

    def slots(self, component: Component) -> tuple[Slots, Slots]:
        """(state, action) places of a component in the padded vectors."""
        state, action = self.dimensions(component)
        return slots(state, self.layout, width=self.width), slots(action, self.layout, width=self.width)

    def chunk_rule(self, component: Component) -> ChunkRule:
        """How a component's chunks end, and which dimensions the delta form changes."""
        state, action = self.dimensions(component)
        return chunk_rule(action, state, self.action_form)

    def save(self, folder: str | Path) -> None:
        """Write the lock as a folder (or under any fsspec URI), whole: locally by renaming a finished folder.

        Raises:
            ConfigError: something else is there already.
        """
        fs, root = fsspec.core.url_to_fs(str(folder))
        if fs.exists(f"{root}/lock.json") and _digest_there(fs.cat_file(f"{root}/lock.json")) == self.digest:
            return
        if fs.exists(root) and fs.ls(root):
            raise ConfigError(f"there is something at that place which is not this lock: choose another one ({folder})")
        if "file" not in fs.protocol:
            for name, data in self.files().items():
                fs.pipe_file(f"{root}/{name}", data)
            return
        target = Path(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder_name:
            part = Path(folder_name) / target.name
            part.mkdir()
            for name, data in self.files().items():
                (part / name).write_bytes(data)
            part.replace(target)

    def files(self) -> dict[str, bytes]:
        """The lock's files by name; lock.json comes last, since a lock is there when that file is."""
        tables = {_file(name): _encoded(name, getattr(self, name)) for name in _TABLES}
        digests = {file: digest_bytes(data) for file, data in tables.items()}
        head = {"digest": self.digest, "lake": self.lake, "files": digests, **_values(self)}
        return {**tables, "lock.json": json.dumps(head, indent=1, ensure_ascii=False).encode()}

    @classmethod
    def load(cls, path: str | Path) -> "Lock":
        """The lock at a path or URI.

        Raises:
            ConfigError: there is no lock, it is of a newer format, or its values are not those of its digest.
        """
        fs, root = fsspec.core.url_to_fs(str(path))
        head = _head(fs, root, where=str(path))
        try:
            tables = {name: _read(fs, root, name) for name in _TABLES}
            lock = _lock(head, {name: table for name, (table, _) in tables.items()})
            are_whole = head.get("files") == {_file(name): digest for name, (_, digest) in tables.items()}
            digest = digest_json(_values(lock, tables=head["tables"] if are_whole else None))
        except (FileNotFoundError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise ConfigError(
                f"the lock is damaged ({type(error).__name__}: {error}): expected the four files that `lock` writes; "
                f"make it again from its recipe, or copy it again ({path})"
            ) from error
        if digest != head["digest"]:
            raise ConfigError(
                f"the lock was changed after it was made: its values have digest {digest!r}, expected "
                f"{head['digest']!r}; change the recipe and make a new lock instead, or copy this one again ({path})"
            )
        lock.__dict__["digest"] = digest  # as the cached property would: the tables need not be gone through again
        return lock


_TABLES: Mapping[str, pa.Schema] = {"runs": RUNS, "held_out": RUNS, "stats": STATS}
_MAPPED = ("runs", "held_out")
"""Tables with a row for each run, kept as Arrow files."""


def register(lock: Lock, lake: Lake) -> str:
    """Keep the lock in the lake under `locks/<digest>`, so that its shards are kept; gives back that path."""
    folder = f"locks/{lock.digest}"
    if not lake.exists(f"{folder}/lock.json"):
        for name, data in lock.files().items():
            lake.write(f"{folder}/{name}", data)
    return folder


def _values(lock: Lock, *, tables: dict[str, str] | None = None) -> dict[str, Any]:
    """What the digest covers, as JSON: the tables stand for themselves by their own digests, known or taken here."""
    return {
        "format_version": FORMAT_VERSION,
        "recipe": lock.recipe,
        "versions": lock.versions,
        "seed": lock.seed,
        "lanes": lock.lanes,
        "layout": lock.layout,
        "width": lock.width,
        "chunk_steps": lock.chunk_steps,
        "action_form": lock.action_form,
        "image_size": lock.image_size,
        "cameras": {slot: list(names) for slot, names in lock.cameras.items()},
        "components": [asdict(component) for component in lock.components],
        "embodiments": {digest: table.model_dump(mode="json") for digest, table in lock.embodiments.items()},
        "tables": tables or {name: table_digest(getattr(lock, name)) for name in _TABLES},
    }


def _head(fs: Any, root: str, *, where: str) -> dict[str, Any]:
    """lock.json, when it is one that this robomix can read."""
    try:
        head = json.loads(fs.cat_file(f"{root}/lock.json"))
        version = int(head["format_version"])
        assert isinstance(head["digest"], str)
    except FileNotFoundError as error:
        raise ConfigError(
            f"no lock there: expected a folder with lock.json; make one with `robomix recipe lock RECIPE` ({where})"
        ) from error
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise ConfigError(
            f"lock.json is not a lock's: {error!r}; make the lock again from its recipe ({where})"
        ) from error
    if version > FORMAT_VERSION:
        raise ConfigError(
            f"the lock has format version {version}, this robomix reads up to {FORMAT_VERSION}: "
            f"use a newer robomix, or make the lock again with this one ({where})"
        )
    return cast(dict[str, Any], head)


def _lock(head: dict[str, Any], tables: dict[str, pa.Table]) -> Lock:
    if any(column.null_count for table in tables.values() for column in table.columns):
        raise ValueError("a table holds nulls")
    plain = {field.name for field in fields(Lock)} - {*_TABLES, "cameras", "components", "embodiments"}
    return Lock(
        **{name: head[name] for name in plain},
        cameras={slot: tuple(names) for slot, names in head["cameras"].items()},
        components=tuple(Component(**component) for component in head["components"]),
        embodiments={digest: Embodiment.model_validate(table) for digest, table in head["embodiments"].items()},
        **{name: _cast(tables[name], schema) for name, schema in _TABLES.items()},
    )


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return table if table.schema == schema else table.select(schema.names).cast(schema)


def _digest_there(data: bytes) -> str | None:
    try:
        return cast(str, json.loads(data)["digest"])
    except (ValueError, KeyError, TypeError):
        return None


def _file(name: str) -> str:
    return f"{name}.arrow" if name in _MAPPED else f"{name}.parquet"


def _encoded(name: str, table: pa.Table) -> bytes:
    """The table's file; a mapped one is a single piece, so that its columns are arrays as they lie."""
    sink = BytesIO()
    if name not in _MAPPED:
        pq.write_table(table, sink, compression="zstd")
        return sink.getvalue()
    whole = table.unify_dictionaries().combine_chunks()
    with pa.ipc.new_file(sink, whole.schema) as writer:
        writer.write_table(whole)
    return sink.getvalue()


def _read(fs: Any, root: str, name: str) -> tuple[pa.Table, str]:
    """A table and the digest of its file; locks made before there were mapped files have Parquet alone."""
    file = f"{root}/{_file(name)}"
    if name in _MAPPED and not fs.exists(file):
        file = f"{root}/{name}.parquet"
    if "file" in fs.protocol:
        with Path(file).open("rb") as stream:
            digest = hashlib.file_digest(stream, new_digest).hexdigest()
        source: Any = pa.memory_map(file)
    else:
        data = fs.cat_file(file)
        digest, source = digest_bytes(data), pa.BufferReader(data)
    return (pa.ipc.open_file(source).read_all() if file.endswith(".arrow") else pq.read_table(source)), digest
