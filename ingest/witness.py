"""What a source said, kept while it is converted: the claims that a receipt checks a finished shard against.

Pictures are seen once, as they are stored; of each only a running checksum stays, and of one in 64 how near it came.
"""
# Legend: T frames, D a signal's width.

from collections.abc import Mapping
from dataclasses import dataclass, field

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from ingest.record import RawEpisode
from schema.episode import Episode, Picture
from schema.picture import Pixels, decode_jpeg
from schema.receipt import CameraClaim, Claim, is_sampled

_PEAK = 255.0
_IDENTICAL_DB = 100.0
"""Stands for a picture without any error, whose PSNR is infinite."""


@dataclass(kw_only=True, slots=True)
class _Camera:
    pictures: int = 0
    passed_through: int = 0
    crc32c: int = 0
    psnr_db: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class Witness:
    """Sees the pictures of one episode beside what becomes of them."""

    episode_id: str
    _cameras: dict[str, _Camera] = field(default_factory=dict)

    def see(self, camera: str, source: Pixels | bytes, *, fitted: Pixels | None, stored: Picture) -> None:
        """The next picture of a camera: as the log has it, its pixels at the stored size if it was decoded."""
        seen = self._cameras.get(camera) or self._cameras.setdefault(camera, _Camera())
        frame = seen.pictures
        seen.pictures += 1
        seen.crc32c = google_crc32c.extend(seen.crc32c, stored.jpeg)
        if source is stored.jpeg:
            seen.passed_through += 1
        elif fitted is not None and is_sampled(self.episode_id, frame, camera):
            seen.psnr_db[str(frame)] = round(_psnr(fitted, stored), 2)

    def claim(self, raw: RawEpisode, episode: Episode, *, signals: Mapping[str, NDArray[np.float64]]) -> Claim:
        """All that was seen; `signals` are the log's values in the robot's units."""
        clock_T = raw.timestamp_T
        return Claim(
            episode_id=episode.episode_id,
            source_digest=raw.digest,
            signals=signals,
            timestamp_T=None if clock_T is None else clock_T - clock_T[0],
            cameras={
                name: CameraClaim(
                    pictures=seen.pictures,
                    passed_through=seen.passed_through,
                    crc32c=seen.crc32c,
                    psnr_db=seen.psnr_db,
                )
                for name, seen in sorted(self._cameras.items())
                if name in episode.cameras
            },
        )


def _psnr(fitted: Pixels, stored: Picture) -> float:
    """Decibels, at most `_IDENTICAL_DB`, of the stored picture against the source's at the same size."""
    mean_square = float(np.square(decode_jpeg(stored.jpeg) - fitted.astype(np.float32)).mean())
    return _IDENTICAL_DB if mean_square == 0 else min(_IDENTICAL_DB, 10 * float(np.log10(_PEAK**2 / mean_square)))
