"""TFDS `features.json` as a flat list of streams: what each is called in the Example, its kind, dtype and shape."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from ingest.formats.tf_example import values_of
from schema.episode import Numbers
from schema.errors import EpisodeError, SourceError

Kind = Literal["numbers", "image", "text", "other"]
STEPS = "steps/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """One leaf of the features: a value for each step, or one for the whole episode."""

    key: str
    """Its name in the Example, such as "steps/observation/state"."""
    kind: Kind
    dtype: str = ""
    shape: tuple[int, ...] = ()
    """Per step; -1 where it varies."""
    encoding: str = "none"

    @property
    def is_per_step(self) -> bool:
        """Whether it has a value for each step."""
        return self.key.startswith(STEPS)

    @property
    def path(self) -> str:
        """Its name as bindings spell it: without "steps/"."""
        return self.key.removeprefix(STEPS)

    @property
    def is_camera(self) -> bool:
        """Whether it is a colour picture; depth and masks are not."""
        return self.kind == "image" and self.dtype == "uint8" and self.shape[-1:] in {(3,), (4,)}


def streams_of(features: Mapping[str, Any]) -> tuple[Stream, ...]:
    """Every leaf of a parsed features.json, in the file's order; SourceError where it is not what TFDS writes."""
    try:
        return tuple(_walk(features, ""))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SourceError(f"features.json is not as TFDS writes it: {error!r}; export the dataset again") from error


def _walk(node: Mapping[str, Any], key: str) -> Iterator[Stream]:
    if "featuresDict" in node:
        for name, child in node["featuresDict"].get("features", {}).items():
            yield from _walk(child, f"{key}/{name}" if key else name)
    elif "sequence" in node and key == STEPS.rstrip("/"):
        yield from _walk(node["sequence"]["feature"], key)
    elif "tensor" in node:
        tensor = node["tensor"]
        yield Stream(
            key=key,
            kind="text" if tensor.get("dtype") in {"string", "object"} else "numbers",
            dtype=tensor.get("dtype", ""),
            shape=_shape(tensor),
            encoding=tensor.get("encoding", "none"),
        )
    elif "image" in node:
        yield Stream(key=key, kind="image", dtype=node["image"].get("dtype", "uint8"), shape=_shape(node["image"]))
    elif "text" in node:
        yield Stream(key=key, kind="text", dtype="string")
    elif "classLabel" in node:
        yield Stream(key=key, kind="numbers", dtype="int64")
    else:
        yield Stream(key=key, kind="other")


def _shape(node: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in node.get("shape", {}).get("dimensions", []))


def numbers_of(stream: Stream, feature: Any) -> Numbers:
    """A stream's numbers `[T, …]` in its own dtype; EpisodeError "bad_example" where they do not fill its shape."""
    values = values_of(feature)
    width = prod(stream.shape)
    if isinstance(values, tuple):
        dtype = np.dtype(stream.dtype).newbyteorder("<")
        if stream.encoding == "zlib":
            values = tuple(_inflated(value, stream, size_bytes=max(0, width) * dtype.itemsize) for value in values)
        values = np.frombuffer(b"".join(values), dtype)
    if width <= 0 or values.size % width:
        raise EpisodeError(
            "bad_example",
            f"{stream.key!r} has {values.size} numbers, expected a multiple of {width} "
            f"for its shape {list(stream.shape)} in features.json",
        )
    return values.reshape(-1, *stream.shape).astype(stream.dtype, copy=False)


def _inflated(packed: bytes, stream: Stream, *, size_bytes: int) -> bytes:
    """One step's numbers, unpacked no further than its shape says."""
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(packed, size_bytes + 1)
    if len(unpacked) > size_bytes:
        raise EpisodeError(
            "absurd_size",
            f"{stream.key!r} unpacks to more than the {size_bytes} bytes of its shape {list(stream.shape)} and type "
            f"{stream.dtype} in features.json, expected as many: export the dataset again",
        )
    if not unpacker.eof:
        raise zlib.error("the packed numbers end too early")
    return unpacked
