"""How near the loader comes to its physical limit, JPEG decoding, in one interleaved run.

    ./run python benchmarks/loader.py [--threads 1 2] [--seconds 3] [--rounds 5]

Makes a lake of three 224×224 cameras at about 17 kB a picture, locks it, and times in turn (a) the loader and (b) a
bare loop that decodes the same JPEGs with the same number of threads into reused buffers and does nothing else.
Quotes the median over the rounds of the ratio within each round, since machines drift.
"""
# Legend: B samples of a batch.

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from curation.lock import Lock
from curation.make_lock import make_lock
from curation.recipe import parse_recipe
from schema.commit import Bundle, commit
from schema.digest import digest_json
from schema.embodiment import load_embodiment
from schema.episode import Episode, Instruction, Picture, Provenance
from schema.lake import Lake
from schema.picture import decode_into, encode_jpeg
from schema.shards import ShardWriter
from training.loader import Loader

BATCH = 32
RECIPE = """
name: benchmark
sources: [{source: benchmark}]
chunk: {steps: 50}
"""


def textured_jpegs(count: int) -> list[bytes]:
    """Pictures of 224×224 with as much detail as a camera's: about 17 kB each at quality 95."""
    random = np.random.default_rng(0)
    rows = np.linspace(0, 255, 224)
    jpegs = []
    for number in range(count):
        blocks = np.kron(random.integers(0, 80, (28, 28, 3)), np.ones((8, 8, 1)))
        shade = (rows[:, None, None] * 0.5 + np.roll(rows, number * 7)[None, :, None] * 0.3) % 200
        pixels = np.clip(blocks + shade + random.normal(0, 5.0, (224, 224, 3)), 0, 255).astype(np.uint8)
        jpegs.append(encode_jpeg(pixels))
    return jpegs


def make_lake(folder: Path, *, episodes: int, frames: int, jpegs: list[bytes]) -> Lake:
    """A lake of bimanual_trossen episodes whose pictures are drawn from `jpegs`."""
    lake = Lake.open_or_create(str(folder / "lake"))
    table = load_embodiment("bimanual_trossen")
    lake.keep_embodiment(table)
    random = np.random.default_rng(1)
    rows = []
    for first in range(0, episodes, 8):
        with ShardWriter(folder / "spool") as writer:
            for number in range(first, min(first + 8, episodes)):
                writer.add(_episode(number, frames=frames, jpegs=jpegs, random=random))
            shard = writer.finish()
        assert shard is not None
        name = f"shards/benchmark/{shard.digest}"
        lake.upload(shard.parquet, f"{name}.parquet")
        lake.upload(shard.tar, f"{name}.tar")
        keys = {"conversion": "benchmark", "shard": name, "ingest_run": "benchmark"}
        rows += [row | keys | {"source_key": row["episode_id"]} for row in shard.rows]
    commit(lake, [Bundle(bundle_id="benchmark", episodes=tuple(rows))])
    return lake


def _episode(number: int, *, frames: int, jpegs: list[bytes], random: np.random.Generator) -> Episode:
    table = load_embodiment("bimanual_trossen")
    pick = itertools.cycle(random.permutation(len(jpegs)).tolist())
    return Episode(
        episode_id=digest_json(["benchmark", number]),
        source="benchmark",
        embodiment=table,
        task=f"task {number % 4}",
        instructions=(Instruction(text=f"do task {number % 4}"),),
        timestamp_T=np.arange(frames) / table.rate_hz,
        signals={
            signal.name: random.normal(size=(frames, signal.width)).astype(np.float32) for signal in table.signals
        },
        cameras={
            camera.name: tuple(Picture(jpeg=jpegs[next(pick)], width=224, height=224) for _ in range(frames))
            for camera in table.cameras
        },
        provenance=Provenance(raw_uri="memory://", record_index=number, adapter="benchmark", adapter_version=1),
    )


def decoded_by_bare_loop(jpegs: list[bytes], threads: int) -> Iterator[int]:
    """Samples of three pictures decoded, without end, by threads that do nothing else."""
    buffers = [np.empty((BATCH * 3, 224, 224, 3), np.uint8) for _ in range(threads)]
    supply = itertools.cycle(jpegs)
    work = [[next(supply) for _ in range(BATCH * 3)] for _ in range(threads)]

    def decode(part: int) -> None:
        for place, jpeg in enumerate(work[part]):
            decode_into(jpeg, buffers[part][place])

    with ThreadPoolExecutor(threads) as pool:
        while True:
            list(pool.map(decode, range(threads)))
            yield BATCH * threads


def rate(step: Callable[[], int], seconds: float) -> float:
    """Samples per second of repeated steps over about so many seconds."""
    start, samples = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        samples += step()
    return samples / passed


def compare(lock: Lock, jpegs: list[bytes], *, threads: int, seconds: float, rounds: int) -> None:
    """Print loader, limit and their ratio for this number of threads."""
    bare = decoded_by_bare_loop(jpegs, threads)
    with Loader(lock, batch_size=BATCH, threads=threads) as loader:
        steps: tuple[Callable[[], int], ...] = (lambda: len(next(loader)), lambda: next(bare))
        for step in steps:
            rate(step, 1.0)
        pairs = [(rate(steps[0], seconds), rate(steps[1], seconds)) for _ in range(rounds)]
    ratios = [ours / limit for ours, limit in pairs]
    ours, limit = (statistics.median(column) for column in zip(*pairs, strict=True))
    spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
    print(f"{threads:7d} {ours:10.0f} {limit:10.0f} {statistics.median(ratios):8.3f}  {spread}")


def main() -> None:
    """Make the lake, then compare for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--frames", type=int, default=200)
    words = parser.parse_args()
    jpegs = textured_jpegs(256)
    with tempfile.TemporaryDirectory(prefix="robomix-benchmark-") as folder:
        lake = make_lake(Path(folder), episodes=words.episodes, frames=words.frames, jpegs=jpegs)
        start = time.perf_counter()
        lock = make_lock(parse_recipe(RECIPE, where="benchmark"), lake)
        locked = time.perf_counter() - start
        size = statistics.mean(map(len, jpegs)) / 1e3
        print(f"{words.episodes * words.frames:,} frames, 3 cameras, {size:.1f} kB a picture; locked in {locked:.1f} s")
        start = time.perf_counter()
        with Loader(lock, batch_size=BATCH) as loader:
            next(loader)
        print(f"first batch after {time.perf_counter() - start:.2f} s")
        print("threads   loader/s    limit/s    ratio  range")
        for threads in words.threads:
            compare(lock, jpegs, threads=threads, seconds=words.seconds, rounds=words.rounds)


if __name__ == "__main__":
    main()
