"""The stored pictures of an episode, some frames at a time, over HTTP beside the pages.

`GET /lake/pictures/<episode_id>/<conversion>/<start>-<stop>` answers with the sizes of frames × cameras (in the order
of the episode's cameras) as little-endian uint32, then the JPEGs themselves, byte for byte as they lie in the shard:
an episode's pictures stand together in its tar, so this is one ranged read, from disk or from S3 alike. Only what
the catalogue lists can be asked for; no path and no offset comes from the URL.
"""
# Legend: T frames, C cameras.

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from schema.errors import RobomixError, SchemaError
from schema.lake import Lake

ROUTE = "/lake/pictures"
MAX_FRAMES = 64
"""In one answer."""
_KNOWN_EPISODES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class _Placed:
    tar: str
    offset_TC: NDArray[np.int64]
    length_TC: NDArray[np.int64]


class Pictures:
    """Reads pictures of one lake's episodes; it remembers where those of the last few episodes stand."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._placed = lru_cache(_KNOWN_EPISODES)(self._find)

    def __call__(self, episode_id: str, conversion: str, *, start: int, stop: int) -> bytes:
        """Sizes and JPEGs of frames [start, stop); SchemaError where there are none such or the shard is gone."""
        placed = self._placed(episode_id, conversion)
        steps, cameras = placed.offset_TC.shape
        if not (0 <= start < stop <= steps and stop - start <= MAX_FRAMES):
            raise SchemaError(f"frames {start}-{stop} of {steps}: ask for 1 to {MAX_FRAMES} that are there")
        if not cameras:
            return b""
        offsets = placed.offset_TC[start:stop].reshape(-1)
        lengths = placed.length_TC[start:stop].reshape(-1)
        first, last = int(offsets.min()), int((offsets + lengths).max())
        data = self._lake.read(placed.tar, first, last)
        if len(data) != last - first:
            raise SchemaError(f"{placed.tar} ends early: expected {last:,} bytes; `robomix lake verify` tells more")
        pieces = (data[at - first : at - first + size] for at, size in zip(offsets, lengths, strict=True))
        return b"".join([lengths.astype("<u4").tobytes(), *pieces])

    def _find(self, episode_id: str, conversion: str) -> _Placed:
        key = (pl.col("episode_id") == episode_id) & (pl.col("conversion") == conversion)
        rows = self._lake.scan("episodes").filter(key).select("shard", "row_group", "cameras").collect()
        if rows.is_empty():
            raise SchemaError(f"no episode {episode_id!r} of conversion {conversion!r} in {self._lake.uri}")
        shard, row_group, cameras = rows.row(0)
        names = [f"camera.{camera}" for camera in sorted(cameras)]
        if not self._lake.exists(f"{shard}.parquet"):
            raise SchemaError(f"{shard}.parquet is missing from {self._lake.uri}")
        with self._lake.fs.open(self._lake.path(f"{shard}.parquet"), "rb") as stream, pq.ParquetFile(stream) as file:
            table = file.read_row_group(row_group, columns=["frame", *names])
        fields = {part: [table[name].combine_chunks().field(part) for name in names] for part in ("offset", "length")}
        offset, length = (
            np.stack([column.to_numpy().astype(np.int64) for column in columns], axis=1)
            if columns
            else np.zeros((table.num_rows, 0), np.int64)
            for columns in (fields["offset"], fields["length"])
        )
        return _Placed(tar=f"{shard}.tar", offset_TC=offset, length_TC=length)


def routes(lake: Lake) -> list[Route]:
    """The route that serves a lake's pictures, for the server that serves its pages."""
    pictures = Pictures(lake)

    def answer(request: Request) -> Response:
        asked = request.path_params
        try:
            data = pictures(asked["episode_id"], asked["conversion"], start=asked["start"], stop=asked["stop"])
        except (RobomixError, OSError) as error:
            return PlainTextResponse(str(error), status_code=404)
        headers = {"cache-control": "private, max-age=86400, immutable"}
        return Response(data, media_type="application/octet-stream", headers=headers)

    return [Route(f"{ROUTE}/{{episode_id}}/{{conversion}}/{{start:int}}-{{stop:int}}", answer)]
