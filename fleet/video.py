"""H.264 in MP4 with equal bytes for equal pictures: one thread, and no clock in the header."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

_CRF = "18"
_GOP = 2


class VideoWriter:
    """A video that pictures are added to, one after the other; height and width are even."""

    def __init__(self, path: Path, *, rate_hz: int, image_size: int) -> None:
        self._container = av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"})
        self._time_base = Fraction(1, rate_hz)
        stream = self._container.add_stream("libx264", rate=rate_hz)
        stream.width, stream.height, stream.pix_fmt = image_size, image_size, "yuv420p"
        stream.time_base = self._time_base
        stream.options = {"crf": _CRF, "preset": "veryfast", "g": str(_GOP), "bf": "0", "threads": "1"}
        stream.codec_context.thread_count = 1
        self._stream = stream
        self.num_frames = 0

    def add(self, picture: npt.NDArray[np.uint8]) -> None:
        """Add an RGB picture."""
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = self.num_frames, self._time_base
        self._container.mux(self._stream.encode(frame))
        self.num_frames += 1

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


def write_video(path: Path, pictures: Iterable[npt.NDArray[np.uint8]], *, rate_hz: int) -> None:
    """A video of square pictures."""
    writer: VideoWriter | None = None
    for picture in pictures:
        writer = writer or VideoWriter(path, rate_hz=rate_hz, image_size=len(picture))
        writer.add(picture)
    if writer is not None:
        writer.close()
