"""Video files as RGB frames, decoded one at a time by PyAV (AV1, H.264, whatever FFmpeg reads)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from schema.errors import EpisodeError
from schema.picture import MAX_PIXELS, Pixels, check_size

DECODER_THREADS = 1
"""Ingest runs one task per core, so that a decoder with threads of its own would only fight its neighbours."""

Open = Callable[[], BinaryIO]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """An episode's pictures inside a video of many episodes."""

    file: str
    """For messages."""
    start_s: float
    rate_hz: float
    num_frames: int

    def number(self, seconds: float) -> int:
        """Which picture of the stretch is shown at a time of the video; before it negative."""
        return round((seconds - self.start_s) * self.rate_hz)


def declared_frames(video: bytes, *, file: str) -> int:
    """How many frames the header claims, 0 where it claims nothing; EpisodeError where there is no video."""
    with _opened(BytesIO(video), file) as (_, stream):
        return int(stream.frames)


def other_streams(content: BinaryIO, *, file: str) -> tuple[str, ...]:
    """What a video file carries besides its pictures (audio, subtitle, data); nothing where it cannot be opened."""
    try:
        with _opened(content, file) as (container, pictures):
            return tuple(sorted(stream.type for stream in container.streams if stream.index != pictures.index))
    except EpisodeError:
        return ()  # told by who takes its pictures


def frames_of(video: bytes, *, expected: int, file: str, spare: int = 0) -> Iterator[Pixels]:
    """The expected frames, uint8 RGB `[H, W, 3]`; EpisodeError where there are fewer, or more than `spare` more."""
    found, to_rgb = 0, _ToRgb()
    with _opened(BytesIO(video), file) as (container, stream):
        try:
            for frame in container.decode(stream):
                found += 1
                if found <= expected:
                    yield to_rgb(frame)
        except av.FFmpegError as error:
            raise _undecodable(found, error, file) from error
    if not expected <= found <= expected + spare:
        raise EpisodeError(
            "frame_count_mismatch",
            f"found {found} pictures in the video, expected {expected}, one for each row of its episode; file {file}",
        )


def stretch_of(open_video: Open, stretch: Stretch) -> Iterator[Pixels]:
    """The stretch's frames; EpisodeError where one is not shown within half a frame of its time."""
    found, to_rgb = 0, _ToRgb()
    with open_video() as content, _opened(content, stretch.file) as (container, stream):
        try:
            _seek(container, stream, stretch)
            for frame in container.decode(stream):
                number = stretch.number(frame.time) if frame.time is not None else found
                if number < 0:
                    continue
                if number != found or found == stretch.num_frames:
                    break
                found += 1
                yield to_rgb(frame)
        except av.FFmpegError as error:
            raise _undecodable(found, error, stretch.file) from error
    if found != stretch.num_frames:
        raise EpisodeError(
            "frame_count_mismatch",
            f"found {found} pictures from {stretch.start_s:.3f} s on without a gap, expected {stretch.num_frames} at "
            f"{stretch.rate_hz:g} Hz, one for each row of its episode; file {stretch.file}",
        )


def packets_of(open_video: Open, stretch: Stretch) -> Iterator[bytes]:
    """The encoded bytes that the stretch's frames are decoded from: how to, and all packets from the key frame on."""
    with open_video() as content, _opened(content, stretch.file) as (container, stream):
        yield stream.codec_context.extradata or b""
        try:
            _seek(container, stream, stretch)
            for packet in container.demux(stream):
                if (
                    packet.dts is not None
                    and stretch.number(float(packet.dts * stream.time_base)) >= stretch.num_frames
                ):
                    return
                yield bytes(packet)
        except av.FFmpegError as error:
            raise _undecodable(0, error, stretch.file) from error


class _ToRgb:
    """Decoded frames as RGB, by one converter for all: a frame's own `to_ndarray` makes a new one, with threads."""

    def __init__(self) -> None:
        self._converter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Pixels:
        rgb = self._converter.reformat(frame, format="rgb24", threads=DECODER_THREADS)
        return np.asarray(rgb.to_ndarray(), np.uint8)


def _seek(container: Any, stream: Any, stretch: Stretch) -> None:
    """To the last key frame at or before the stretch."""
    start_s = max(0.0, stretch.start_s - 0.5 / stretch.rate_hz)
    container.seek(int(start_s / stream.time_base), stream=stream)


@contextmanager
def _opened(content: BinaryIO, file: str) -> Iterator[tuple[Any, Any]]:
    """(container, its video stream), ready to decode."""
    try:
        container = av.open(content, mode="r", metadata_errors="replace")
    except av.FFmpegError as error:
        raise _undecodable(0, error, file) from error
    with container:
        stream = next(iter(container.streams.video), None)
        if stream is None or stream.codec_context is None:
            raise EpisodeError("bad_video", f"found no pictures of a known codec in {file}")
        check_size(stream.codec_context.height, stream.codec_context.width)
        stream.codec_context.thread_count = DECODER_THREADS
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        yield container, stream


def _undecodable(found: int, error: Exception, file: str) -> EpisodeError:
    return EpisodeError("bad_video", f"cannot be decoded after frame {found}: {error}; file {file}")
