"""Cost of the order: time per sample with the lookup of its run, time to build a schedule, memory.

Run it with `.venv/bin/python benchmarks/order.py`; it prints one table and fails where a limit is passed.
Times are the best of several calls on one thread, so that other work on the machine matters little.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from curation import schedule
from curation.mixture import BLOCK, quotas, weights
from curation.order import Order, Runs, window_segments
from curation.schedule import Schedule

CALL = 65_536
LIMIT_NS = 500.0
LIMIT_BUILD_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Case:
    """One mixture to measure."""

    name: str
    num_components: int
    largest: float
    num_runs: int
    lanes: int
    total_segments: int = 16_384


CASES = (
    Case(name="3 components, 10k runs", num_components=3, largest=1e6, num_runs=10_000, lanes=1),
    Case(name="3 components, 10k runs", num_components=3, largest=1e6, num_runs=10_000, lanes=64),
    Case(name="150 components, 1M runs", num_components=150, largest=1e8, num_runs=1_000_000, lanes=1),
    Case(name="150 components, 1M runs", num_components=150, largest=1e8, num_runs=1_000_000, lanes=64),
    Case(
        name="150 components, 1 segment a window",
        num_components=150,
        largest=1e8,
        num_runs=1_000_000,
        lanes=64,
        total_segments=1,
    ),
)


def best(action: Callable[[int], object], repeats: int) -> float:
    """Seconds of the quickest of several calls; each gets its number, so that it can do new work."""
    times = []
    for i in range(repeats):
        begin = time.perf_counter()
        action(i)
        times.append(time.perf_counter() - begin)
    return min(times)


def array_mb(holder: Schedule | Runs) -> float:
    """Megabytes of all arrays that a dataclass holds."""
    values = [getattr(holder, entry.name) for entry in fields(holder)]
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray)) / 1e6


def make_runs(num_frames_C: np.ndarray, num_runs: int) -> Runs:
    """About `num_runs` runs, dealt to the components by the root of their frames, with uneven lengths."""
    rng = np.random.default_rng(0)
    root_C = np.sqrt(num_frames_C)
    lengths = []
    for frames, wanted in zip(num_frames_C, num_runs * root_C / root_C.sum(), strict=True):
        cuts = rng.integers(1, frames, size=int(min(wanted, frames / 4)))
        lengths.append(np.diff(np.unique(np.concatenate([[0], cuts, [frames]]))))
    component_R = np.repeat(np.arange(len(lengths)), [part.size for part in lengths])
    return Runs(num_frames_R=np.concatenate(lengths), component_R=component_R)


def measure(case: Case) -> bool:
    """Print one line of the table; true where the limits are kept."""
    num_frames_C = np.geomspace(1e3, case.largest, case.num_components).astype(np.int64)
    names = [f"component {c}" for c in range(case.num_components)]
    quota_C = quotas(weights(num_frames_C, np.ones(case.num_components), 0.43), names)
    build_s = best(lambda i: schedule.build(quota_C, num_frames_C, seed=i, lanes=case.lanes), 5)
    runs = make_runs(num_frames_C, case.num_runs)
    order = Order(
        num_frames_C=num_frames_C,
        quota_C=quota_C,
        window_C=window_segments(quota_C, case.total_segments),
        seed=0,
        lanes=case.lanes,
    )

    def draw(call: int) -> None:
        samples = order.samples(np.arange(CALL, dtype=np.int64) + call * CALL + 1000 * BLOCK)
        runs.locate(samples.component, samples.frame)

    samples = order.samples(np.arange(CALL, dtype=np.int64))
    sample_ns = best(draw, 30) / CALL * 1e9
    locate_ns = best(lambda _: runs.locate(samples.component, samples.frame), 30) / CALL * 1e9
    plan_mb, runs_mb = array_mb(order.schedule), array_mb(runs)
    print(
        f"{case.name:36}{case.lanes:6}{sample_ns:12.0f}{locate_ns:12.0f}{build_s * 1e3:12.0f}"
        f"{plan_mb:12.1f}{runs_mb:10.1f}"
    )
    return sample_ns <= LIMIT_NS and build_s <= LIMIT_BUILD_S


def main() -> int:
    """Measure every case; the exit code says whether all limits were kept."""
    print(f"{'':36}{'lanes':>6}{'ns/sample':>12}{'in locate':>12}{'build ms':>12}{'schedule MB':>12}{'runs MB':>10}")
    kept = [measure(case) for case in CASES]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"limits: {LIMIT_NS:.0f} ns per sample in calls of {CALL:,}, {LIMIT_BUILD_S * 1e3:.0f} ms per build: "
        f"{'kept' if all(kept) else 'PASSED'}; peak of the process {peak_mb:.0f} MB"
    )
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
