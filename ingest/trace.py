"""From a sample in the lake back to the raw log: where it came from, and the log's own frame beside the stored one.

The record is found in the plan that the ingest wrote, and is converted once more by the same code, so that what is
shown of the log is what the conversion saw; the lake is not changed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from ingest.bundle import Job, convert
from ingest.detect import format_named
from ingest.location import Location
from ingest.plan import read_plan
from ingest.record import Record
from schema.episode import Episode, Picture
from schema.errors import ConfigError, RobomixError, SchemaError
from schema.lake import Lake
from schema.picture import ImageSettings, Pixels, decode_jpeg
from schema.receipt import EXTENSION, Receipt

_SAMPLE = re.compile(r"([0-9a-f]{32})(?:-(\d{6,}))?(?:\..*)?")
Row = Mapping[str, Any]
_TIME_OF = "extra.timestamp."
_GAP = 8
_LABEL_HEIGHT, _LABEL_WIDTH = 14, 160


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """One frame's way from its raw log into the lake."""

    row: Row
    """The episode's row in the catalogue."""
    frame: int
    stored: Mapping[str, bytes]
    """The frame's JPEG by camera."""
    raw: Mapping[str, Pixels]
    """The log's own picture by camera; empty where the log is no longer there."""
    notes: tuple[str, ...]
    """How the log of now compares with the lake, or why it cannot be compared."""
    receipt: str | None
    record: Record | None
    """As the ingest had planned it; None where its plan is gone."""
    times: str
    """The frame's time, and those of its pictures and signals where these are others."""

    def lines(self) -> Iterator[str]:
        """For a person."""
        row = self.row
        start, stop = row["byte_start"], row["byte_stop"]
        place = f"record {row['record_index']}" + ("" if start is None else f", bytes {start} to {stop}")
        yield f"episode {row['episode_id']}, frame {self.frame} of {row['num_frames']}"
        yield f"time         {self.times}"
        yield f"raw log      {row['raw_uri']}, {place}"
        yield from (f"raw log      {line}" for line in self._record_lines())
        yield f"source       {row['source']} ({row['embodiment']}, task {row['task']!r})"
        yield f"adapter      {row['adapter']} version {row['adapter_version']}, conversion {row['conversion']}"
        yield f"ingest run   {row['ingest_run']}, committed {row['committed_at']:%Y-%m-%d %H:%M:%S} UTC"
        yield f"shard        {row['shard']}, row group {row['row_group']}, tar {row['tar_start']} to {row['tar_stop']}"
        yield f"receipt      {self.receipt or 'none: the shard was written without'}"
        yield from (f"note         {note}" for note in row["notes"] or ())
        yield from (f"now          {note}" for note in self.notes)

    def _record_lines(self) -> Iterator[str]:
        """Where in its files the record stands, and the files that it has besides the first."""
        if self.record is None:
            return
        if places := ", ".join(f"{name} {value}" for name, value in _plain(self.record.meta)):
            yield f"at {places}"
        start = str(self.row["raw_uri"]).removesuffix(self.record.files[0])
        yield from (f"with {start}{file}" for file in self.record.files[1:])

    def picture(self) -> Image.Image:
        """The log's picture on the left, where there is one, and the stored one on the right; a row for each camera."""
        rows = [
            (name, [self.raw[name], decode_jpeg(jpeg)] if name in self.raw else [decode_jpeg(jpeg)])
            for name, jpeg in sorted(self.stored.items())
        ]
        widths = [max(_LABEL_WIDTH, *(pixels.shape[1] for _, pictures in rows for pixels in pictures)) + _GAP] * 2
        heights = [max(item.shape[0] for item in pictures) + _LABEL_HEIGHT + _GAP for _, pictures in rows]
        sheet = Image.new("RGB", (sum(widths), sum(heights)), "white")
        draw = ImageDraw.Draw(sheet)
        top = 0
        for (name, pictures), height in zip(rows, heights, strict=True):
            for column, pixels in enumerate(pictures, start=2 - len(pictures)):
                left, kind = column * widths[0], ("raw", "stored")[column]
                draw.text((left, top), f"{name}: {kind} {pixels.shape[1]} x {pixels.shape[0]}", fill="black")
                sheet.paste(Image.fromarray(pixels), (left, top + _LABEL_HEIGHT))
            top += height
        return sheet

    def save(self, path: Path) -> None:
        """Write `picture` as a PNG; ConfigError where the frame has no picture or the file cannot be written."""
        if not self.stored:
            raise ConfigError(f"episode {self.row['episode_id']} has no camera: there is no picture to save")
        try:
            self.picture().save(path, "PNG")
        except OSError as error:
            raise ConfigError(f"cannot write {str(path)!r}: {error}") from error


def trace(lake: Lake, sample: str) -> Trace:
    """Follow a sample id (`<episode_id>-<frame>`) or an episode id (its first frame) back to its log.

    ConfigError where the lake has no such episode or frame.
    """
    match = _SAMPLE.fullmatch(sample)
    if match is None:
        raise ConfigError(
            f"{sample!r} is no sample: expected an episode id of 32 hex digits, or one with -FRAME after it"
        )
    episode_id, frame = match[1], int(match[2] or 0)
    rows = lake.episodes().filter(pl.col("episode_id") == episode_id).collect()
    if not rows.height:
        raise ConfigError(f"no episode {episode_id} in {lake.uri}: `lake info` tells what it holds")
    row = rows.row(0, named=True)
    if frame >= row["num_frames"]:
        raise ConfigError(f"episode {episode_id} has frames 0 to {row['num_frames'] - 1}, asked for {frame}")
    stored, line = _stored(lake, row, frame)
    again = _convert_again(lake, row, frame=frame)
    return Trace(
        row=row,
        frame=frame,
        stored=stored,
        raw=again.pictures,
        notes=(*again.notes, *_comparison(again, stored, line)),
        receipt=_receipt_line(lake, row),
        record=again.record,
        times=_times(line),
    )


def _plain(meta: Mapping[str, Any]) -> Iterator[tuple[str, str | int | float]]:
    """The words and numbers of a record's meta, those of tables inside it too."""
    for name, value in meta.items():
        if isinstance(value, Mapping):
            yield from _plain(value)
        elif isinstance(value, str | int | float) and value != "":
            yield name, value


@dataclass(kw_only=True, slots=True)
class _Again:
    """A second conversion, watched for one frame's pictures."""

    frame: int
    pictures: dict[str, Pixels] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    record: Record | None = None
    episode: Episode | None = None
    _seen: dict[str, int] = field(default_factory=dict)

    def see(self, camera: str, source: Pixels | bytes, *, fitted: Pixels | None, stored: Picture) -> None:  # noqa: ARG002 - as See
        """Keep the picture where it is the frame's."""
        number = self._seen.get(camera, 0)
        self._seen[camera] = number + 1
        if number == self.frame:
            self.pictures[camera] = decode_jpeg(source) if isinstance(source, bytes) else np.array(source)


def _convert_again(lake: Lake, row: Row, *, frame: int) -> _Again:
    again = _Again(frame=frame)
    try:
        record = again.record = _planned(lake, row)
        location = Location.of(str(row["raw_uri"]).removesuffix(record.files[0]))
        reader = format_named(row["adapter"])
        if row["adapter_version"] != reader.VERSION:
            again.notes.append(f"the adapter is version {reader.VERSION} by now")
        job = Job(
            lake_uri=lake.uri,
            location=location,
            source=row["source"],
            format=row["adapter"],
            embodiment=lake.embodiment(row["embodiment_table"]),
            conversion=row["conversion"],
            settings=ImageSettings(),
            ingest_run=row["ingest_run"],
        )
        raw = reader.read(location, record)
        if raw.digest != row["episode_id"]:
            again.notes.append(f"the log was changed: the record's digest is {raw.digest} by now")
        again.episode = convert(job, raw, record, see=again.see)
    except (RobomixError, OSError, ValueError) as error:
        again.notes.append(f"the raw log cannot be read again: {error}")
    return again


def _planned(lake: Lake, row: Row) -> Record:
    """The record as the ingest that stored it had planned it."""
    for bundle in read_plan(lake, row["ingest_run"]).bundles:
        for record, key in zip(bundle.records, bundle.source_keys, strict=True):
            if key == row["source_key"]:
                return record
    raise SchemaError(f"the plan {row['ingest_run']} of {lake.uri} does not name this record")


def _stored(lake: Lake, row: Row, frame: int) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The frame's JPEGs by camera, and its line of the Parquet."""
    with lake.local(f"{row['shard']}.parquet") as path:
        line = pq.ParquetFile(path).read_row_group(row["row_group"]).slice(frame, 1).to_pylist()[0]
    places = {camera: line[f"camera.{camera}"] for camera in row["cameras"]}
    file = f"{row['shard']}.tar"
    pictures = {
        camera: lake.read(file, place["offset"], place["offset"] + place["length"]) for camera, place in places.items()
    }
    return pictures, line


def _times(line: Row) -> str:
    """When the frame was, and when what it shows was taken."""
    taken = {name.partition(".")[2]: item["timestamp"] for name, item in line.items() if _is_camera(name, item)}
    taken |= {name.removeprefix(_TIME_OF): at for name, at in line.items() if name.startswith(_TIME_OF)}
    others = [f"{name} {at:.4f} s" for name, at in taken.items() if at is not None and at != line["timestamp"]]
    return f"{line['timestamp']:.4f} s" + (f", made of what was taken at: {', '.join(others)}" if others else "")


def _is_camera(column: str, item: Any) -> bool:
    return column.startswith("camera.") and item is not None


def _comparison(again: _Again, pictures: Mapping[str, bytes], line: Row) -> Iterator[str]:
    """How a second conversion compares with what is stored of this frame."""
    episode = again.episode
    if episode is None or again.frame >= episode.num_frames:
        return
    same = [
        name
        for name, jpeg in pictures.items()
        if name in episode.cameras and episode.cameras[name][again.frame].jpeg == jpeg
    ]
    other = sorted(pictures.keys() - set(same))
    yield f"converted again, {len(same)} of {len(pictures)} pictures are the stored ones byte for byte" + (
        f", not {', '.join(other)}" if other else ""
    )
    odd = [
        name
        for name, values in sorted(episode.signals.items())
        if not np.array_equal(np.ravel(values[again.frame]), np.ravel(np.asarray(line.get(name))))
    ]
    yield f"the values of {', '.join(odd)} differ from the stored ones" if odd else "all values are the stored ones"


def _receipt_line(lake: Lake, row: Row) -> str | None:
    file = f"{row['shard']}.{EXTENSION}"
    if not lake.exists(file):
        return None
    found = [item for item in Receipt.parse(lake.read(file)).episodes if item.episode_id == row["episode_id"]]
    if not found:
        return None
    cameras = found[0].cameras.values()
    errors = [error for error in found[0].max_error.values() if error is not None]
    decibels = [value for camera in cameras for value in camera.psnr_db.values()]
    untouched, pictures = sum(item.passed_through for item in cameras), sum(item.pictures for item in cameras)
    told = [
        f"source {found[0].source_digest}",
        f"{found[0].num_frames} frames",
        f"largest error {max(errors):g}" if errors else "values not comparable",
        f"{untouched} of {pictures} pictures untouched",
    ]
    if decibels:
        told.append(f"PSNR {min(decibels):.1f} dB or more in {len(decibels)} sampled")
    return ", ".join(told)
