"""An episode's frames as Arrow: every signal under its own name and unpadded, the padded default view beside it.

Columns of a shard's Parquet, one row group per episode:
`episode_id`, `frame`, `timestamp`, one per signal (`state.…`, `action.…`) and per extra (`extra.…`),
`padded_state` and `padded_action` (the default action space in layout `pi`, null where it does not fit), and per
camera a struct `camera.<name>` {timestamp, width, height, offset, length} that points into the shard's tar.
"""
# Legend: T frames, D a signal's own width, W the padded width.

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schema.episode import Episode, Numbers
from schema.errors import ConfigError
from schema.layout import DEFAULT_WIDTH, slots

CAMERA = pa.struct(
    [
        ("timestamp", pa.float64()),
        ("width", pa.uint16()),
        ("height", pa.uint16()),
        ("offset", pa.int64()),
        ("length", pa.int32()),
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
    """`[T]` as scalars, `[T, …]` as fixed-size lists."""
    if values.ndim == 1:
        return pa.array(values)
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


def numbers(column: pa.ChunkedArray) -> Numbers | None:
    """A column back as `[T]` or `[T, D]`, without copying where it is one chunk; None where the episode lacks it."""
    if column.null_count:
        return None
    array = column.combine_chunks()
    if not pa.types.is_fixed_size_list(array.type):
        return cast(Numbers, array.to_numpy(zero_copy_only=False))
    return cast(Numbers, array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), array.type.list_size))


def _padded(episode: Episode, role: str) -> pa.Array:
    space = episode.embodiment.action_space()
    names = space.state if role == "state" else space.action
    try:
        places = slots(episode.embodiment.dimensions(names), "pi")
    except ConfigError:
        return pa.nulls(episode.num_frames, pa.list_(pa.float32(), DEFAULT_WIDTH))
    return _column(places.pad(np.concatenate([episode.signals[name] for name in names], axis=1).astype(np.float32)))


def _camera(episode: Episode, camera: str, placement: Placement) -> pa.Array:
    pictures = episode.cameras[camera]
    children = [
        pa.array(episode.camera_timestamps.get(camera, episode.timestamp_T), pa.float64()),
        pa.array([picture.width for picture in pictures], pa.uint16()),
        pa.array([picture.height for picture in pictures], pa.uint16()),
        pa.array(placement.offset_T),
        pa.array(placement.length_T),
    ]
    return pa.StructArray.from_arrays(children, fields=list(CAMERA))


def moments(signals: Mapping[str, Numbers]) -> list[dict[str, Any]]:
    """Per signal the count and, per dimension in float64, sum, sum of squares, least and largest (`tables.MOMENTS`)."""
    rows = []
    for name, values in sorted(signals.items()):
        wide = values.astype(np.float64)
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


def frame_values(episode: Episode) -> list[dict[str, Any]]:
    """Per frame the single-step view that the tar's JSON holds: named unpadded values, instruction, timestamp."""
    numbers = {**episode.signals, **{f"extra.{name}": values for name, values in episode.extras.items()}}
    lists = {name: _jsonable(values) for name, values in sorted(numbers.items())}
    texts = _instruction_per_frame(episode)
    common = {
        "embodiment": episode.embodiment.name,
        "episode_id": episode.episode_id,
        "source": episode.source,
        "task": episode.task,
    }
    return [
        {
            **common,
            "frame": frame,
            "instruction": texts[frame],
            "timestamp": float(episode.timestamp_T[frame]),
            "values": {name: values[frame] for name, values in lists.items()},
        }
        for frame in range(episode.num_frames)
    ]


def _jsonable(values: Numbers) -> list[Any]:
    """Nested lists; what JSON cannot say (NaN, infinity) becomes null."""
    plain = values
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        plain = np.ma.masked_array(values, mask=~finite)  # masked becomes None
    return list(plain.tolist())


def _instruction_per_frame(episode: Episode) -> list[str]:
    texts = [""] * episode.num_frames
    for instruction in episode.instructions:
        stop = episode.num_frames if instruction.stop is None else instruction.stop
        for frame in range(instruction.start, stop):
            texts[frame] = texts[frame] or instruction.text
    return texts
