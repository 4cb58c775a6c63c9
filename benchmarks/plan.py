"""How long a plan takes on a catalogue of 1,000,000 episodes, 1,000,000,000 frames and about 150 components.

Run it with `.venv/bin/python benchmarks/plan.py [EPISODES]`. It makes a synthetic catalogue (rows only, no shards),
plans a recipe that takes all of it as `recipe plan` does, and fails where that takes longer than the limit.
"""
# Legend: E episodes, S signals, N their numbers.

import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake
from numpy.typing import NDArray

from curation.plan import Plan, plan
from curation.select import open_recipe, select
from schema.embodiment import Embodiment, load_embodiment
from schema.lake import Lake
from schema.tables import EPISODES, MOMENTS

ROBOTS = ("ur5e", "bimanual_ur5e", "franka", "bimanual_trossen", "bimanual_arx", "mobile_trossen", "mobile_fibocom")
SOURCES_EACH, TASKS_EACH = 2, 22
FRAMES, PICTURE_BYTES = 1000, 17_000
LIMIT_S = 5.0


def moments(frames_E: NDArray[np.int64], table: Embodiment, rng: np.random.Generator) -> pa.Array:
    """Moments of every signal of every episode."""
    widths = [signal.width for signal in table.signals]
    offsets = np.concatenate([[0], np.cumsum(np.tile(widths, len(frames_E)))]).astype(np.int32)
    count = np.repeat(frames_E, len(widths))
    count_N = np.repeat(frames_E, sum(widths))
    mean_N = rng.normal(size=count_N.size)
    numbers = (mean_N * count_N, (mean_N**2 + 1) * count_N, mean_N - 2, mean_N + 2)
    lists = [pa.ListArray.from_arrays(offsets, pa.array(number_N)) for number_N in numbers]
    names = pa.array([signal.name for signal in table.signals] * len(frames_E))
    each = pa.StructArray.from_arrays([names, pa.array(count), *lists], fields=list(MOMENTS.value_type))
    return pa.ListArray.from_arrays(np.arange(len(frames_E) + 1, dtype=np.int32) * len(widths), each)


def rows(table: Embodiment, source: str, *, episodes: int, rng: np.random.Generator) -> pa.Table:
    """The catalogue's rows of one source."""
    frames_E = np.clip(rng.lognormal(np.log(FRAMES) - 0.125, 0.5, episodes), 10, 50_000).astype(np.int64)
    size_E = frames_E * PICTURE_BYTES * len(table.cameras)
    number_E = np.arange(episodes)
    ids = [f"{source}-{number:024d}" for number in number_E.tolist()]
    task_E = np.minimum(rng.geometric(0.12, episodes) - 1, TASKS_EACH - 1)
    same = {
        "conversion": "c1",
        "source": source,
        "embodiment": table.name,
        "embodiment_table": table.digest,
        "rate_hz": table.rate_hz,
    }
    lists = {
        "action_spaces": [one.name for one in table.action_spaces],
        "cameras": [one.name for one in table.cameras],
    }
    columns = {
        **{name: pa.array([value] * episodes) for name, value in same.items()},
        **{name: pa.array([value] * episodes) for name, value in lists.items()},
        "episode_id": pa.array(ids),
        "source_key": pa.array(ids),
        "task": pa.array([f"task {number}" for number in task_E.tolist()]),
        "instructions": pa.array([[f"do task {number} please"] for number in task_E.tolist()]),
        "success": pa.array(np.ones(episodes, bool)),
        "num_frames": pa.array(frames_E.astype(np.int32)),
        "shard": pa.array([f"shards/{source}/{number // 15:032x}" for number in number_E.tolist()]),
        "row_group": pa.array((number_E % 15).astype(np.int32)),
        "tar_start": pa.array(np.zeros(episodes, np.int64)),
        "tar_stop": pa.array(size_E),
        "moments": moments(frames_E, table, rng),
    }
    given = [columns.get(field.name, pa.nulls(episodes, field.type)).cast(field.type) for field in EPISODES]
    return pa.Table.from_arrays(given, schema=EPISODES)


def make_catalogue(uri: str, *, episodes: int) -> Lake:
    """A lake of so many episodes of seven robots, two sources each, whose shards are not there."""
    lake, rng = Lake.open_or_create(uri), np.random.default_rng(0)
    each = episodes // (len(ROBOTS) * SOURCES_EACH)
    for robot in ROBOTS:
        table = load_embodiment(robot)
        lake.keep_embodiment(table)
        for number in range(SOURCES_EACH):
            part = rows(table, f"{robot}_{number}", episodes=each, rng=rng)
            write_deltalake(lake.path("episodes"), part, mode="append")
    return lake


def timed(recipe: Path, lake: Lake) -> tuple[Plan, float, float]:
    """The plan, the seconds that `recipe plan` takes for it, and those of the selection alone."""
    begin = time.perf_counter()
    select(open_recipe(recipe, lake), lake)
    middle = time.perf_counter()
    found = plan(open_recipe(recipe, lake), lake)
    return found, time.perf_counter() - middle, middle - begin


def main() -> int:
    """Make the catalogue, plan three times, print; the exit code says whether the limit was kept."""
    episodes = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with TemporaryDirectory(prefix="robomix-plan-") as folder:
        begin = time.perf_counter()
        lake = make_catalogue(f"{folder}/lake", episodes=episodes)
        recipe = Path(folder) / "all.yaml"
        names = (f"{robot}_{number}" for robot in ROBOTS for number in range(SOURCES_EACH))
        lines = "\n".join(f"  - source: {name}" for name in names)
        recipe.write_text(f"name: all\nprompt: {{tag: true}}\nsources:\n{lines}\n", encoding="utf-8")
        print(f"made in {time.perf_counter() - begin:.1f} s")
        runs = [timed(recipe, lake) for _ in range(3)]
    found = runs[0][0]
    best_s, select_s = min(run[1] for run in runs), min(run[2] for run in runs)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{found.episodes:,} episodes, {found.frames:,} frames, {len(found.components)} components, "
        f"{len(found.warnings)} warnings: planned in {best_s:.2f} s, the best of "
        f"{', '.join(f'{run[1]:.2f}' for run in runs)} ({select_s:.2f} s of it the selection), limit {LIMIT_S:g} s; "
        f"peak {peak_mb:.0f} MB"
    )
    return 0 if best_s <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
