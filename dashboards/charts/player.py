"""What the player draws of an episode, as plain values that travel to the browser; `player.js` does the drawing.

Numbers travel as base64 of little-endian float32. Pictures do not travel here at all: the player fetches the stored
JPEGs a few frames at a time from `dashboards.pictures`, so that a page is light however long the episode is.
"""
# Legend: T frames, P drawn points, H steps of a chunk.

import base64
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from dashboards.charts.panels import panels, thin
from dashboards.queries.episode import Recorded, Row
from dashboards.queries.predictions import Predicted

_LEAST_SPAN = 0.2
"""How much of a dimension's range in the whole episode a chunk's axis shows at least: noise must not look large."""
_CONTEXT = 0.25
"""How much is shown before and after a chunk, as a share of its length."""


def assets() -> tuple[str, str, str]:
    """The player's html, css and js."""
    folder = Path(__file__).parent
    html, css, js = ((folder / f"player.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    return html, css, js


def player(
    episode: Row,
    recorded: Recorded,
    *,
    url: str,
    instructions: pl.DataFrame,
    frame: int = 0,
    chunk: list[Predicted] | None = None,
) -> dict[str, Any]:
    """Everything but the pictures: cameras, instructions, traces, and a predicted chunk where one is chosen."""
    steps = recorded.frames.num_rows
    drawn = panels(recorded)
    lines = [line for panel in drawn for line in panel.lines]
    stacked = np.stack([line.value_T for line in lines], axis=1) if lines else np.zeros((steps, 0), np.float32)
    frame_P, value_PD = thin(stacked)
    column = iter(range(len(lines)))
    return {
        "url": url,
        "key": f"{episode['episode_id']}/{episode['conversion']}",
        "steps": steps,
        "frame": min(max(frame, 0), max(steps - 1, 0)),
        "rate": episode["rate_hz"] or 1.0,
        "timestamps": _encoded(recorded.frames["timestamp"].to_numpy()),
        "cameras": _cameras(recorded),
        "absent": [{"name": one["camera"], "reason": one["value"]} for one in episode["absent_cameras"] or []],
        "instructions": instructions.to_dicts(),
        "points": _encoded(frame_P),
        "thinned": -(-2 * steps // len(frame_P)) if 0 < len(frame_P) < steps else 1,
        "panels": [
            {
                "title": panel.title,
                "unit": panel.unit,
                "bounds": panel.bounds or _bounds(np.concatenate([line.value_T for line in panel.lines])),
                "lines": [
                    {
                        "dim": line.dim,
                        "role": line.role,
                        "name": line.name,
                        "values": _encoded(value_PD[:, next(column)]),
                    }
                    for line in panel.lines
                ],
            }
            for panel in drawn
        ],
        "chunk": _chunk(chunk, steps) if chunk else None,
    }


def _chunk(chunk: list[Predicted], steps: int) -> dict[str, Any]:
    """Small panels, one per dimension, of the recorded values about a chunk and the predicted ones over them."""
    start, length = chunk[0].start, max(len(one.predicted_H) for one in chunk)
    margin = max(2, round(length * _CONTEXT))
    first, last = max(0, start - margin), min(steps, start + length + margin)
    small = []
    for one in chunk:
        shown = one.recorded_T[first:last] if one.recorded_T is not None else np.zeros(0)
        small.append(
            {
                "name": one.name,
                "label": one.label,
                "unit": one.unit,
                "error": one.error,
                "bounds": _bounds(np.concatenate([shown, one.predicted_H]), least=_LEAST_SPAN * _span(one.recorded_T)),
                "recorded": _encoded(shown),
                "predicted": _encoded(one.predicted_H),
            }
        )
    return {"start": start, "stop": start + length, "first": first, "last": max(last, start + length), "panels": small}


def _cameras(recorded: Recorded) -> list[dict[str, Any]]:
    roles = {camera.name: camera.role for camera in recorded.embodiment.cameras}
    found = []
    for name in recorded.frames.schema.names:
        if not name.startswith("camera."):
            continue
        parts = dict(
            zip(("timestamp", "width", "height"), recorded.frames[name].combine_chunks().flatten(), strict=False)
        )
        skew = parts["timestamp"].to_numpy() - recorded.frames["timestamp"].to_numpy()
        camera = name.removeprefix("camera.")
        found.append(
            {
                "name": camera,
                "role": roles.get(cast(Any, camera), ""),
                "width": parts["width"][0].as_py(),
                "height": parts["height"][0].as_py(),
                "skew_ms": float(np.abs(skew).max() * 1000) if len(skew) else 0.0,
            }
        )
    return found


def _bounds(values: NDArray[Any], *, least: float = 0.0) -> tuple[float, float]:
    """Lowest and highest finite value with a margin, `least` apart or more; never a height of zero."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    margin = max((high - low) * 0.06, (least - (high - low)) / 2) or max(abs(low) * 0.05, 0.01)
    return low - margin, high + margin


def _span(values: NDArray[Any] | None) -> float:
    finite = values[np.isfinite(values)] if values is not None else np.zeros(0)
    return float(np.ptp(finite)) if finite.size else 0.0


def _encoded(values: ArrayLike) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
