"""Opening a lock, and seeking in it, must not grow with the dataset: a lock of 1 M episodes and 1 B frames.

    ./run python benchmarks/lock.py [--runs 1000000] [--components 150]

Makes such a lock, then opens it in a fresh process: seconds, memory added once it is open and has planned batches at
200 random positions, and milliseconds from seeking to the next batch's samples. Fails where a limit is passed.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from memory import pss_mb

from curation.lock import RUNS, Component, Lock
from curation.mixture import quotas, weights
from curation.order import window_segments
from curation.statistics import STATS
from schema.embodiment import load_embodiment
from schema.lake import Lake
from training.filler import Filler
from training.sample_plan import SamplePlan
from training.shard_cache import ShardCache

LIMIT_OPEN_S, LIMIT_SEEK_MS, LIMIT_MB = 1.0, 10.0, 100.0
SEEKS = 200


def synthetic(num_runs: int, num_components: int) -> Lock:
    """A lock of episodes of about 1,000 frames, 25 to a shard, each with an instruction of its task's hundred."""
    random = np.random.default_rng(0)
    frames_R = random.integers(500, 1500, num_runs).astype(np.int32)
    component_R = np.sort(random.integers(0, num_components, num_runs)).astype(np.int32)
    text_R = (component_R * 100 + random.integers(0, 100, num_runs)).astype(np.int32)
    shards = [f"shards/source-{one % 40}/{one:032x}" for one in range(-(-num_runs // 25))]
    texts = [f"do the thing of task {one // 100} in the way {one % 100}" for one in range(num_components * 100)]
    columns = {
        "component": pa.array(component_R),
        "episode_id": pa.array([f"{one * 2654435761 % 2**61:032x}" for one in range(num_runs)]),
        "start": pa.array(np.zeros(num_runs, np.int32)),
        "stop": pa.array(frames_R),
        "episode_frames": pa.array(frames_R),
        "shard": pa.DictionaryArray.from_arrays(pa.array(np.arange(num_runs, dtype=np.int32) // 25), pa.array(shards)),
        "row_group": pa.array((np.arange(num_runs) % 25).astype(np.int32)),
        "instructions": pa.ListArray.from_arrays(
            np.arange(num_runs + 1, dtype=np.int32), pa.DictionaryArray.from_arrays(pa.array(text_R), pa.array(texts))
        ),
    }
    runs = pa.table([columns[name] for name in RUNS.names], schema=RUNS)
    frames_C = np.bincount(component_R, weights=frames_R, minlength=num_components).astype(np.int64)
    table = load_embodiment("bimanual_trossen")
    names = [f"component {one}" for one in range(num_components)]
    share_C = weights(frames_C, np.ones(num_components), 0.43)
    quota_C = quotas(share_C, names)
    window_C = window_segments(quota_C, 20)
    components = tuple(
        Component(
            name=name,
            embodiment=table.name,
            embodiment_table=table.digest,
            action_space=table.default_action_space,
            task=name,
            rate_hz=50.0,
            episodes=int((component_R == index).sum()),
            frames=int(frames_C[index]),
            hours=float(frames_C[index]) / 50 / 3600,
            share=float(share_C[index]),
            quota=int(quota_C[index]),
            window_segments=int(window_C[index]),
            stats_key="synthetic",
            prompt_prefix="",
        )
        for index, name in enumerate(names)
    )
    return Lock(
        recipe={},
        lake="file:///nowhere",
        versions={},
        seed=0,
        lanes=64,
        layout="pi",
        width=32,
        chunk_steps=50,
        action_form="stored",
        image_size=224,
        cameras={"base": ("base",)},
        components=components,
        embodiments={table.digest: table},
        runs=runs,
        stats=STATS.empty_table(),
        held_out=RUNS.empty_table(),
    )


def measure(folder: str) -> bool:
    """Open the lock here and print what it took; true where the limits are kept."""
    before, start = pss_mb(), time.perf_counter()
    lock = Lock.load(folder)
    loaded_s = time.perf_counter() - start
    filler = Filler(lock, ShardCache(Lake(lock.lake), cache_bytes=1))
    plan = SamplePlan(lock, filler.runs, batch_size=32, rank=0, world_size=1)
    plan.batch()
    open_s = time.perf_counter() - start
    random, seeks = np.random.default_rng(1), []
    for _ in range(SEEKS):
        position = int(random.integers(2**33)) * 32
        start = time.perf_counter()
        plan.seek(position)
        for sample in plan.batch():
            assert filler.runs[sample.run].episode_id
        seeks.append((time.perf_counter() - start) * 1e3)
    added = pss_mb() - before
    frames = sum(asdict(component)["frames"] for component in lock.components)
    print(
        f"{lock.runs.num_rows:,} runs, {frames:,} frames, {len(lock.components)} components: read in {loaded_s:.2f} s, "
        f"open with a first batch planned {open_s:.2f} s; seek {np.median(seeks):.1f} ms (99 % within "
        f"{np.quantile(seeks, 0.99):.1f}); {added:.0f} MB"
    )
    return open_s <= LIMIT_OPEN_S and float(np.median(seeks)) <= LIMIT_SEEK_MS and added <= LIMIT_MB


def main() -> int:
    """Make a lock and measure it in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--components", type=int, default=150)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.measure:
        return 0 if measure(words.measure) else 1
    with tempfile.TemporaryDirectory(prefix="robomix-lock-") as folder:
        synthetic(words.runs, words.components).save(Path(folder) / "lock")
        command = [sys.executable, __file__, "--measure", str(Path(folder) / "lock")]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
