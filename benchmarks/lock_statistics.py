"""What statistics cost: frames per second of one core, beside plain numpy sums over the same Parquet.

Run it with `.venv/bin/python benchmarks/lock_statistics.py`; it makes its numbers in a temporary folder, prints one
table and fails where the two ways to split the work differ. Times are CPU times, the best of several turns of all in
rotation, so that other work on the machine matters little.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.chunks import ActionForm
from curation.shard_work import Work
from curation.signals import Group, Run
from curation.statistics import statistics
from schema.embodiment import load_embodiment
from schema.frames import numbers
from schema.lake import Lake

ROBOT = load_embodiment("mobile_trossen")
SPACE = ROBOT.action_space()
NAMES = (*SPACE.state, *SPACE.action)
STEPS = 50
TURNS = 3
HERE = Work(partitions=1, scheduler="synchronous")


def make(folder: Path, episodes: int, frames: int) -> tuple[Lake, tuple[Run, ...]]:
    """A shard of arms that wander, grippers that open and close, and a base that mostly stands."""
    random = np.random.default_rng(0)
    path = folder / "shards" / "made" / "0.parquet"
    path.parent.mkdir(parents=True)
    writer = None
    for number in range(episodes):
        columns: dict[str, pa.Array] = {"episode_id": pa.array([f"{number}"] * frames)}
        for name in NAMES:
            shape = (frames, ROBOT.signal(name).width)
            values = np.cumsum(random.normal(0, 0.02, shape), axis=0)
            if "gripper" in name:
                values = (values > 0).astype(np.float64)
            elif "base" in name:
                values = np.where(random.random(shape) < 0.8, 0.0, values)
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), shape[1])
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    runs = [
        Run(episode_id=f"{number}", shard="shards/made/0", row_group=number, start=0, stop=frames)
        for number in range(episodes)
    ]
    return Lake(str(folder)), tuple(runs)


def plain(lake: Lake, runs: tuple[Run, ...]) -> object:
    """Sums of every dimension, as short as they can be written."""
    total = 0.0
    with pq.ParquetFile(f"{lake.root}/{runs[0].shard}.parquet") as file:
        for run in runs:
            table = file.read_row_group(run.row_group, columns=list(NAMES))
            total += sum(float(values.sum()) for name in NAMES if (values := numbers(table[name])) is not None)
    return total


def measured(lake: Lake, runs: tuple[Run, ...], form: ActionForm, *, work: Work) -> pa.Table:
    """The statistics of these runs."""
    state, action = ROBOT.dimensions(SPACE.state), ROBOT.dimensions(SPACE.action)
    group = Group(key="robot", state=state, action=action, steps=STEPS, form=form, runs=runs)
    return statistics(lake, [group], layout="pi", width=32, work=work)


def main() -> int:
    """Measure each way in rotation; the exit code says whether another split gave the same bits."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--episodes", type=int, default=100)
    words.add_argument("--frames", type=int, default=500)
    asked = words.parse_args()
    pa.set_cpu_count(1)
    with TemporaryDirectory() as folder:
        lake, runs = make(Path(folder), asked.episodes, asked.frames)
        ways: dict[str, Callable[[], object]] = {
            "plain numpy sums": lambda: plain(lake, runs),
            f"statistics, stored, H = {STEPS}": lambda: measured(lake, runs, "stored", work=HERE),
            f"statistics, delta, H = {STEPS}": lambda: measured(lake, runs, "delta", work=HERE),
        }
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(TURNS):
            for name, way in ways.items():
                begin = time.process_time()
                way()
                best[name] = min(best[name], time.process_time() - begin)
        same = all(
            measured(lake, runs, form, work=HERE).equals(
                measured(lake, runs, form, work=Work(partitions=7, scheduler="threads"))
            )
            for form in ("stored", "delta")
        )
    frames = asked.episodes * asked.frames
    print(f"{frames:,} frames, {len(NAMES)} signals, {sum(ROBOT.signal(name).width for name in NAMES)} dimensions")
    for name, seconds in best.items():
        print(f"{name:32}{frames / seconds:14,.0f} frames/s of one core")
    print(f"seven parts on threads give the same bits: {same}")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
