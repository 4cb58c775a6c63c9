"""Video files as RGB frames, decoded one at a time by PyAV (AV1, H.264, whatever FFmpeg reads)."""

from collections.abc import Iterator
from io import BytesIO

import av
import numpy as np

from schema.errors import EpisodeError
from schema.picture import Pixels

DECODER_THREADS = 1
"""Ingest runs one task per core, so that a decoder with threads of its own would only fight its neighbours."""


def frames_of(video: bytes, *, expected: int, file: str) -> Iterator[Pixels]:
    """Every frame, uint8 RGB `[H, W, 3]`; EpisodeError where there are not exactly as many as expected."""
    found = 0
    try:
        with av.open(BytesIO(video), mode="r", metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise EpisodeError("bad_video", f"found no pictures of a known codec in {file}")
            stream.codec_context.thread_count = DECODER_THREADS
            for frame in container.decode(stream):
                found += 1
                if found <= expected:
                    yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except av.FFmpegError as error:
        raise EpisodeError("bad_video", f"cannot be decoded after frame {found}: {error}; file {file}") from error
    if found != expected:
        raise EpisodeError(
            "frame_count_mismatch",
            f"found {found} pictures in the video, expected {expected}, one for each row of its episode; file {file}",
        )
