"""A lock: what a recipe comes to on one state of a lake, whole in itself, so that training never opens the catalogue.

A folder: `lock.json` (components with integer quotas, pinned table versions, embodiments), `runs.arrow` (which
frames, and where they lie), `stats.parquet` (what normalization needs) and `held_out.arrow`. The digest covers
every value in it but the lake's URI, so a copied lake gives the same lock. Made by `curation.make_lock`. Tables that
grow with the lake are mapped into memory, so that opening a lock of a million runs reads each of their bytes once, to
compare the file's digest, and keeps none.
"""
# Legend: C components, R runs.

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cached_property
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.chunks import ActionForm, ChunkRule, chunk_rule
from curation.order import Order, Runs
from curation.recipe_model import Normalization
from curation.resample import ratio
from curation.statistics import STATS
from curation.table_digest import table_digest
from schema.arrays import as_numpy
from schema.digest import Hasher, digest_bytes, digest_json, feed_file
from schema.embodiment import Dimension, Embodiment
from schema.errors import ConfigError
from schema.lake import Lake
from schema.layout import LayoutName, Slots, slots
from schema.store import open_store

LOCK_VERSION = 1
"""Raised when the meaning of a lock's values changes; older versions stay readable."""
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
CHUNK_STOP = pa.field("chunk_stop", pa.int32())
"""One more column of both where frames that chunks read lie after those at which they start: where chunks end."""


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
    """Expected share of samples, in [0, 1]."""
    quota: int
    """Samples of every 2**20; 0 where all of it is held out."""
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
    """Those that are held out whole come last."""
    embodiments: dict[str, Embodiment]
    """By the digest of the table."""
    runs: pa.Table
    stats: pa.Table
    held_out: pa.Table
    every: int = 1
    """Chunks start at every so many-th frame of a run."""
    chunk_rate_hz: float | None = None
    """The rate of a chunk's steps; None: each component's own."""
    any_cameras: tuple[str, ...] = ()
    """Slots that show any one of their cameras that an episode has; the others show the first."""
    camera_dropout: tuple[float, ...] = ()
    """How often training leaves each slot empty, in their order; empty where none ever is."""
    prompt_dropout: float = 0.0
    """How often training leaves the instruction away."""
    normalization: Normalization = "z_score"
    numbered: tuple[int, ...] = ()
    """Frames of each component, each as often as it stands in `runs`; empty where all of them do once."""

    @cached_property
    def digest(self) -> str:
        """32 hex characters over every value of the lock but the lake's URI."""
        return digest_json(_values(self))

    def order(self) -> Order:
        """The order of samples; takes about 0.2 s to build."""
        drawn = [component for component in self.components if component.quota]
        frames = self.numbered or [component.frames for component in self.components]
        return Order(
            num_frames_C=np.array(frames[: len(drawn)], np.int64),
            quota_C=np.array([component.quota for component in drawn], np.int64),
            window_C=np.array([component.window_segments for component in drawn], np.int64),
            seed=self.seed,
            lanes=self.lanes,
        )

    def run_index(self) -> Runs:
        """Where each component frame lies in `runs`."""
        start_R, stop_R, component_R = (as_numpy(whole(self.runs[name])) for name in ("start", "stop", "component"))
        return Runs(num_frames_R=-((start_R - stop_R) // self.every), component_R=component_R, every=self.every)

    def step_rate_hz(self, component: Component) -> float:
        """How many steps of a component's chunks are acted out in a second."""
        return self.chunk_rate_hz or component.rate_hz

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
        q = ratio(component.rate_hz, self.chunk_rate_hz)
        return chunk_rule(action, state, self.action_form, ratio=q, steps=self.chunk_steps)

    def save(self, folder: str | Path) -> None:
        """Write the lock as a folder (or under any fsspec URI), whole: locally by renaming a finished folder.

        Raises:
            ConfigError: something else is there already.
        """
        fs, root = open_store(str(folder))
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
        fs, root = open_store(str(path))
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


_LATER: Mapping[str, object] = {field.name: field.default for field in fields(Lock) if field.default is not MISSING}
"""Fields that came later, and what they are in a lock without them: then the digest does not cover them."""
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
        "format_version": LOCK_VERSION,
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
        **{name: value for name, default in _LATER.items() if (value := getattr(lock, name)) != default},
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
    if version > LOCK_VERSION:
        raise ConfigError(
            f"the lock has format version {version}, this robomix reads up to {LOCK_VERSION}: "
            f"use a newer robomix, or make the lock again with this one ({where})"
        )
    return cast(dict[str, Any], head)


def _lock(head: dict[str, Any], tables: dict[str, pa.Table]) -> Lock:
    if any(column.null_count for table in tables.values() for column in table.columns):
        raise ValueError("a table holds nulls")
    later: dict[str, Any] = {name: head[name] for name in _LATER if name in head}
    later |= {name: tuple(found) for name, found in later.items() if isinstance(found, list)}
    plain = {field.name for field in fields(Lock)} - {*_TABLES, *_LATER, "cameras", "components", "embodiments"}
    return Lock(
        **{name: head[name] for name in plain},
        **later,
        cameras={slot: tuple(names) for slot, names in head["cameras"].items()},
        components=tuple(Component(**component) for component in head["components"]),
        embodiments={digest: Embodiment.model_validate(table) for digest, table in head["embodiments"].items()},
        **{name: _cast(tables[name], schema) for name, schema in _TABLES.items()},
    )


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if schema is RUNS and CHUNK_STOP.name in table.column_names:
        schema = schema.append(CHUNK_STOP)
    return table if table.schema == schema else table.select(schema.names).cast(schema)


def whole(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; where it is one already, as in a mapped file, nothing is copied."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


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
    single = table.unify_dictionaries().combine_chunks()
    with pa.ipc.new_file(sink, single.schema) as writer:
        writer.write_table(single)
    return sink.getvalue()


def _read(fs: Any, root: str, name: str) -> tuple[pa.Table, str]:
    """A table and the digest of its file; locks made before there were mapped files have Parquet alone."""
    file = f"{root}/{_file(name)}"
    if name in _MAPPED and not fs.exists(file):
        file = f"{root}/{name}.parquet"
    if "file" in fs.protocol:
        hasher = Hasher()
        feed_file(hasher, Path(file))
        digest, source = hasher.hexdigest(), pa.memory_map(file)
    else:
        data = fs.cat_file(file)
        digest, source = digest_bytes(data), pa.BufferReader(data)
    if file.endswith(".arrow"):
        return pa.ipc.open_file(source).read_all(), digest
    return pq.ParquetFile(source).read(), digest  # `read_table` imports pandas: half a second and 30 MB
