"""Video files as RGB frames, decoded one at a time by PyAV (AV1, H.264, whatever FFmpeg reads)."""

from collections.abc import Iterator
from io import BytesIO

import av
import numpy as np

from schema.errors import EpisodeError
from schema.picture import MAX_PIXELS, Pixels, check_size

DECODER_THREADS = 1
"""Ingest runs one task per core, so that a decoder with threads of its own would only fight its neighbours."""


def declared_frames(video: bytes, *, file: str) -> int:
    """How many frames the header claims, 0 where it claims nothing; EpisodeError where there is none."""
    try:
        with av.open(BytesIO(video), mode="r", metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            return stream.frames if stream is not None else 0
    except av.FFmpegError as error:
        raise EpisodeError("bad_video", f"cannot be opened: {error}; file {file}") from error


def frames_of(video: bytes, *, expected: int, file: str, spare: int = 0) -> Iterator[Pixels]:
    """The expected frames, uint8 RGB `[H, W, 3]`; EpisodeError where there are fewer, or more than `spare` more."""
    found = 0
    try:
        with av.open(BytesIO(video), mode="r", metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise EpisodeError("bad_video", f"found no pictures of a known codec in {file}")
            check_size(stream.codec_context.height, stream.codec_context.width)
            stream.codec_context.thread_count = DECODER_THREADS
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            for frame in container.decode(stream):
                found += 1
                if found <= expected:
                    yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except av.FFmpegError as error:
        raise EpisodeError("bad_video", f"cannot be decoded after frame {found}: {error}; file {file}") from error
    if not expected <= found <= expected + spare:
        raise EpisodeError(
            "frame_count_mismatch",
            f"found {found} pictures in the video, expected {expected}, one for each row of its episode; file {file}",
        )
