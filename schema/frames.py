"""An episode's frames as Arrow: every signal under its own name and unpadded, the padded default view beside it.

Columns of a shard's Parquet, one row group per episode:
`episode_id`, `frame`, `timestamp`, one per signal (`state.…`, `action.…`) and per extra (`extra.…`),
`padded_state` and `padded_action` (the default action space in layout `pi`, null where it does not fit or the
episode lacks a signal of it), and per
camera a struct `camera.<name>` {timestamp, width, height, offset, length, crc32c} that points into the shard's tar.
"""
# Legend: T frames, D a signal's own width, W the padded width.

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schema.arrays import as_numpy
from schema.digest import crc32c
from schema.episode import Episode, Numbers
from schema.errors import ConfigError
from schema.json_text import JSON, json_columns, json_format
from schema.layout import DEFAULT_WIDTH, slots

CAMERA = pa.struct(
    [
        ("timestamp", pa.float64()),
        ("width", pa.uint16()),
        ("height", pa.uint16()),
        ("offset", pa.int64()),
        ("length", pa.int32()),
        ("crc32c", pa.uint32()),  # of the JPEG; not in shards of format version 1
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where an episode's pictures stand in a tar: per camera, byte offset and length of each of T pictures."""

    offset_T: NDArray[np.int64]
    length_T: NDArray[np.int32]


def frame_table(episode: Episode, placements: Mapping[str, Placement]) -> pa.Table:
    """The episode's T rows, in the columns that the top of this file lists."""
    steps = episode.num_frames
    columns: dict[str, pa.Array] = {
        "episode_id": pa.array([episode.episode_id] * steps, pa.string()),
        "frame": pa.array(np.arange(steps, dtype=np.int32)),
        "timestamp": pa.array(episode.timestamp_T, pa.float64()),
    }
    columns |= {name: _column(values) for name, values in sorted(episode.signals.items())}
    columns |= {f"extra.{name}": _column(values) for name, values in sorted(episode.extras.items())}
    for role in ("state", "action"):
        columns[f"padded_{role}"] = _padded(episode, role)
    for camera, placement in sorted(placements.items()):
        columns[f"camera.{camera}"] = _camera(episode, camera, placement)
    return pa.table(columns)


def _column(values: Numbers) -> pa.Array:
    """`[T]` as scalars, each further axis as fixed-size lists (plain ones where it is empty, for Parquet's sake)."""
    column = pa.array(np.ascontiguousarray(values, values.dtype.newbyteorder("=")).ravel())
    for axis in range(values.ndim - 1, 0, -1):
        size = values.shape[axis]
        if size:
            column = pa.FixedSizeListArray.from_arrays(column, size)
        else:
            column = pa.ListArray.from_arrays(np.zeros(math.prod(values.shape[:axis]) + 1, np.int32), column)
    return column


def numbers(column: pa.ChunkedArray) -> Numbers | None:
    """A column back as `[T]` or `[T, …]`, without copying where it is one chunk; None where the episode lacks it."""
    if column.null_count:
        return None
    array = column.combine_chunks()
    shape = [len(array)]
    while pa.types.is_nested(array.type):
        is_fixed = pa.types.is_fixed_size_list(array.type)
        shape.append(array.type.list_size if is_fixed else (array.value_lengths()[0].as_py() if len(array) else 0))
        array = array.flatten()
    return cast(Numbers, as_numpy(array).reshape(shape))


def common_type(types: Sequence[pa.DataType]) -> pa.DataType:
    """The type of a column that a shard's episodes give in these types: theirs, or one wide enough for them all."""
    if all(found == types[0] for found in types):
        return types[0]
    leaves, depths = zip(*map(_leaf, types), strict=True)
    kinds = {np.dtype(leaf.to_pandas_dtype()) for leaf in leaves}
    if len(kinds) > 1 and np.dtype(np.float16) in kinds:
        kinds.add(np.dtype(np.float32))  # Arrow casts few types to half floats
    common = pa.from_numpy_dtype(np.result_type(*kinds))
    for _ in range(max(depths)):
        common = pa.list_(common)
    return common


def widened(column: pa.ChunkedArray, to: pa.DataType) -> pa.ChunkedArray:
    """A column in the `common_type` of its own and others' types."""
    if column.type == to:
        return column
    for _ in range(_leaf(to)[1] - _leaf(column.type)[1]):
        chunks = [pa.FixedSizeListArray.from_arrays(chunk, 1) for chunk in column.chunks]
        column = pa.chunked_array(chunks, pa.list_(column.type, 1))
    return column.cast(to, safe=False)  # integers beyond 2⁵³ round where another episode's are floats


def _leaf(found: pa.DataType) -> tuple[pa.DataType, int]:
    """The type of the numbers, and inside how many lists they stand."""
    depth = 0
    while pa.types.is_list(found) or pa.types.is_fixed_size_list(found):
        found, depth = found.value_type, depth + 1
    return found, depth


def _padded(episode: Episode, role: str) -> pa.Array:
    space = episode.embodiment.action_space()
    names = space.state if role == "state" else space.action
    nothing = pa.nulls(episode.num_frames, pa.list_(pa.float32(), DEFAULT_WIDTH))
    if not set(names) <= episode.signals.keys():
        return nothing
    try:
        places = slots(episode.embodiment.dimensions(names), "pi")
    except ConfigError:
        return nothing
    return _column(places.pad(np.concatenate([episode.signals[name] for name in names], axis=1).astype(np.float32)))


def _camera(episode: Episode, camera: str, placement: Placement) -> pa.Array:
    pictures = episode.cameras[camera]
    children = [
        pa.array(episode.camera_timestamps.get(camera, episode.timestamp_T), pa.float64()),
        pa.array([picture.width for picture in pictures], pa.uint16()),
        pa.array([picture.height for picture in pictures], pa.uint16()),
        pa.array(placement.offset_T),
        pa.array(placement.length_T),
        pa.array([crc32c(picture.jpeg) for picture in pictures], pa.uint32()),
    ]
    return pa.StructArray.from_arrays(children, fields=list(CAMERA))


def moments(signals: Mapping[str, Numbers]) -> list[dict[str, Any]]:
    """Per signal the count and, per dimension in float64, sum, sum of squares, least and largest (`tables.MOMENTS`)."""
    rows = []
    for name, values in sorted(signals.items()):
        wide = np.ascontiguousarray(values, np.float64)  # the order of summation follows the layout in memory
        rows.append(
            {
                "signal": name,
                "count": len(wide),
                "sum": wide.sum(axis=0).tolist(),
                "sum_sq": np.square(wide).sum(axis=0).tolist(),
                "min": wide.min(axis=0).tolist(),
                "max": wide.max(axis=0).tolist(),
            }
        )
    return rows


def frame_texts(episode: Episode) -> list[str]:
    """Per frame the single-step view that the tar holds, as JSON: named unpadded values, instruction, timestamp."""
    if not np.isfinite(episode.timestamp_T).all():
        raise ValueError("a timestamp is not finite, which JSON cannot say: expected seconds from the first frame")
    numbers = {**episode.signals, **{f"extra.{name}": values for name, values in episode.extras.items()}}
    common = {
        "embodiment": episode.embodiment.name,
        "episode_id": episode.episode_id,
        "source": episode.source,
        "task": episode.task,
    }
    columns: list[Sequence[object]] = [
        range(episode.num_frames),
        _instruction_per_frame(episode),
        *json_columns(episode.timestamp_T.astype(np.float64)),
    ]
    fields = []
    for name, values in sorted(numbers.items()):
        fields.append(f"{_escaped(name)}:{json_format(values.shape[1:])}")
        columns += json_columns(values)
    frame = f'{_escaped(common)[:-1]},"frame":%d,"instruction":%s,"timestamp":%s,"values":{{{",".join(fields)}}}}}'
    return [frame % values for values in zip(*columns, strict=True)]


def _escaped(value: object) -> str:
    """JSON inside a `%` format."""
    return JSON.encode(value).replace("%", "%%")


def _instruction_per_frame(episode: Episode) -> list[str]:
    """As JSON."""
    texts = [""] * episode.num_frames
    for instruction in episode.instructions:
        for frame in range(episode.num_frames)[instruction.start : instruction.stop]:
            texts[frame] = texts[frame] or instruction.text
    spelled = {text: JSON.encode(text) for text in set(texts)}
    return [spelled[text] for text in texts]
