"""Whether pictures and joints tell of the same moment: motion in the picture against the robot's speed, over lags.

Both are freed of what changes slowly (over a second), which would make every lag look good, and correlated per
episode. The lag of the mean curve's peak counts only where it stands out and most episodes prefer it to none.
"""
# Legend: E episodes, K lags from -longest to longest, T frames.

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.conventions.finding import AGAINST, AGREES, UNDECIDED, Finding, counted
from ingest.conventions.sample import Floats, Sample, correlation
from schema.embodiment import Embodiment

NAME = "image_lag"

_LONGEST_FRAMES, _LONGEST_S = 4, 0.5
"""Lags are tried up to the longer of the two, both ways."""
_SLOW_S = 1.0
_MIN_SPANS = 5
"""An episode must be so many times as long as the longest lag: shorter ones make any correlation."""
_SEEN = 0.3
"""The highest mean correlation; below, the picture's motion is not the robot's."""
_GAIN = 0.05
"""How much higher than at no lag the peak must be; an episode prefers it from half of that on."""
_FEW = 2
"""Frames: a smaller lag is none."""
_ANSWER_S = 0.25
"""What a driven base takes to answer: where it tells its commands only, a shorter lag may be the base's."""
_USUAL_S = 0.12
"""What exposure and transport take: a shorter lag is noticed and contradicts nothing."""


def gather(sample: Sample) -> Iterator[tuple[str, Sequence[float]]]:
    """Per camera: the correlation at each lag, positive where the picture comes late."""
    rate_hz = sample.episode.embodiment.rate_hz
    window, longest = max(3, round(_SLOW_S * rate_hz)), max(_LONGEST_FRAMES, round(_LONGEST_S * rate_hz))
    for camera in sample.thumbnails:
        if sample.episode.num_frames > _MIN_SPANS * longest:
            seen_T, moved_T = _quick(sample.motion(camera), window), _quick(sample.speed_before(camera), window)
            yield camera, [_at(seen_T, moved_T, lag) for lag in range(-longest, longest + 1)]


def judge(subject: str, measures_EK: Floats, embodiment: Embodiment) -> Finding:
    """The mean curve's peak, if the episodes stand behind it."""
    mean_K, none = measures_EK.mean(axis=0), measures_EK.shape[1] // 2
    peak, few = int(np.argmax(mean_K)), _fewest(embodiment)
    lag, gain_E = peak - none, (measures_EK[:, peak] - measures_EK[:, none]).tolist()
    is_off = abs(lag) >= few and mean_K[peak] >= _SEEN and mean_K[peak] - mean_K[none] >= _GAIN
    if is_off:
        votes = [AGAINST if gain >= _GAIN / 2 else AGREES if gain <= -_GAIN / 2 else UNDECIDED for gain in gain_E]
    else:
        votes = [AGREES if _is_near_zero(curve_K, few=few) else UNDECIDED for curve_K in measures_EK]
    late = "late" if lag > 0 else "early"
    return counted(
        votes,
        check=NAME,
        subject=subject,
        measured=float(lag) if mean_K[peak] >= _SEEN else None,
        agrees=f"pictures and joints move together (correlation {mean_K[peak]:.2f})",
        contradicts=f"pictures come {abs(lag)} frames {late}, {abs(lag) / embodiment.rate_hz:.2g} s "
        f"(correlation {mean_K[peak]:.2f}, without a lag {mean_K[none]:.2f})",
        unsure=f"the picture's motion says too little (correlation {mean_K[peak]:.2f} at best)",
        severity="contradicts" if abs(lag) / embodiment.rate_hz >= _USUAL_S else "noticed",
    )


def _fewest(embodiment: Embodiment) -> int:
    """How many frames late is late."""
    rides = {signal.name.partition(".")[0] for signal in embodiment.signals if signal.quantity == "base_velocity"}
    return max(_FEW, round(_ANSWER_S * embodiment.rate_hz)) if rides == {"action"} else _FEW


def _is_near_zero(curve_K: Floats, *, few: int) -> bool:
    """Whether an episode's own curve stands out, next to no lag."""
    return float(curve_K.max()) >= _SEEN and abs(int(np.argmax(curve_K)) - len(curve_K) // 2) < few


def _quick(values_T: Floats, window: int) -> Floats:
    """The values without their moving mean."""
    ones = np.ones(window)
    mean_T = np.convolve(values_T, ones, mode="same") / np.convolve(np.ones(len(values_T)), ones, mode="same")
    quick_T: Floats = values_T - mean_T
    return quick_T


def _at(seen_T: Floats, moved_T: Floats, lag: int) -> float:
    """Correlation of the pictures `lag` frames later with the motion."""
    count = len(seen_T)
    return correlation(seen_T[max(0, lag) : count + min(0, lag)], moved_T[max(0, -lag) : count - max(0, lag)])
