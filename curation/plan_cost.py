"""What a planned mixture costs to read: decoding, memory at hand, and what is fetched of a lake that is elsewhere."""
# Legend: C components, K component lanes, R runs.

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.mixture import BLOCK
from curation.order import Order
from curation.schedule import SEGMENT_FRAMES
from curation.select import Selection

DECODE_MS = 0.54
"""One core's time for one 224×224 JPEG of quality 95 (about 19 kB) by libjpeg-turbo; pictures are stored that size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What reading the mixture takes."""

    pictures_per_sample: float
    decode_ms_per_picture: float
    """Assumed, on one core."""
    decode_ms_per_sample: float
    decode_core_hours: float
    """For all samples."""
    working_set_bytes: int
    """What a reader of all lanes keeps at hand so that each byte range is fetched once a window."""
    fetch_requests: int
    """Ranged reads of pictures for all samples from a remote lake, with the working set kept."""
    fetch_bytes: int


def cost(order: Order, selection: Selection, *, pictures: float, samples: int) -> Cost:
    """The cost of so many samples with so many pictures each."""
    plan = order.schedule
    frames_C = np.array([candidate.frames for candidate in selection.candidates])
    bytes_C = np.array([candidate.tar_bytes for candidate in selection.candidates])
    segment_bytes_K = (bytes_C / frames_C)[plan.component_K] * SEGMENT_FRAMES
    segments_K = _segments_fetched(order, samples)
    pieces_K = _pieces_per_segment(selection, len(frames_C))[plan.component_K]
    return Cost(
        pictures_per_sample=pictures,
        decode_ms_per_picture=DECODE_MS,
        decode_ms_per_sample=pictures * DECODE_MS,
        decode_core_hours=samples * pictures * DECODE_MS / 3.6e6,
        working_set_bytes=min(int((order.window_K * segment_bytes_K).sum()), int(bytes_C.sum())),
        fetch_requests=int((segments_K * pieces_K).sum()),
        fetch_bytes=int((segments_K * segment_bytes_K).sum()),
    )


def _segments_fetched(order: Order, samples: int) -> NDArray[np.float64]:
    """Per component lane, the segments fetched: once a window; for good where one window holds the whole lane."""
    plan = order.schedule
    segments_K = plan.num_frames_K / SEGMENT_FRAMES
    window_K = np.minimum(order.window_K, segments_K)
    draws_K = samples * plan.quota_K / BLOCK
    windows_K = draws_K // (window_K * SEGMENT_FRAMES)
    rest_K = draws_K / (window_K * SEGMENT_FRAMES) - windows_K  # share of the last window that is drawn
    met_K = window_K * -np.expm1(SEGMENT_FRAMES * np.log1p(-np.minimum(rest_K, 1 - 1e-12)))
    fetched_K = windows_K * window_K + met_K
    once_K: NDArray[np.float64] = np.where(order.window_K >= segments_K, np.minimum(fetched_K, segments_K), fetched_K)
    return once_K


def _pieces_per_segment(selection: Selection, num_components: int) -> NDArray[np.float64]:
    """Per component, into how many byte ranges its segments fall on average: a run's end cuts one in two."""
    frames_R = selection.runs["frames"].to_numpy()
    component_R = selection.runs["component"].to_numpy()
    total_C = np.bincount(component_R, frames_R, num_components)
    first_C = np.cumsum(total_C) - total_C
    start_R = np.cumsum(frames_R) - frames_R - first_C[component_R]
    cuts_C = np.bincount(component_R, start_R % SEGMENT_FRAMES != 0, num_components)
    pieces_C: NDArray[np.float64] = 1 + cuts_C / np.ceil(total_C / SEGMENT_FRAMES)
    return pieces_C
