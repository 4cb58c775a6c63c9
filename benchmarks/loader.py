"""How near the loader comes to its physical limit, JPEG decoding: all readers in turns, in one interleaved run.

    ./run python benchmarks/loader.py [--threads 1 2] [--seconds 3] [--rounds 5]
    ./run python benchmarks/loader.py --resume 1000      # so many random positions, bit-identical batches
    ./run python benchmarks/loader.py --soak 30          # minutes; fails where memory grows

Makes a lake of three 224×224 cameras at about 19 kB a picture, ten times as large as the order's windows, and locks
it; and another of 224×168 pictures, as 480×640 ones are stored. The limit is a bare loop that decodes such JPEGs with
the same number of threads into reused buffers and does nothing else. Speeds are medians over rounds, and ratios medians
of the ratio within each round, since machines drift; `least` is the ratio of the least processor times, which other
work on the machine disturbs least. A reader is a row of READERS: what it opens for a number of threads gives a function
that draws a batch.
"""
# Legend: B samples of a batch.

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from memory import pss_mb

from curation.lock import Lock
from curation.make_lock import make_lock
from curation.order import window_segments
from curation.recipe import parse_recipe
from schema.commit import Bundle, commit
from schema.digest import digest_json
from schema.embodiment import load_embodiment
from schema.episode import Episode, Instruction, Picture, Provenance
from schema.lake import Lake
from schema.picture import decode_into, encode_jpeg, jpeg_size
from schema.shards import ShardWriter
from training.loader import Loader

BATCH = 32
RECIPE = """
name: benchmark
sources: [{source: benchmark}]
chunk: {steps: 50}
"""


def textured_jpegs(count: int, *, height: int = 224) -> list[bytes]:
    """Pictures 224 wide with as much detail as a camera's: about 19 kB each at quality 95 where they are square."""
    random = np.random.default_rng(0)
    rows = np.linspace(0, 255, 224)
    jpegs = []
    for number in range(count):
        blocks = np.kron(random.integers(0, 80, (28, 28, 3)), np.ones((8, 8, 1)))
        shade = (rows[:, None, None] * 0.5 + np.roll(rows, number * 7)[None, :, None] * 0.3) % 200
        pixels = np.clip(blocks + shade + random.normal(0, 3.0, (224, 224, 3)), 0, 255).astype(np.uint8)
        jpegs.append(encode_jpeg(pixels[:height]))
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
    table, (height, width) = load_embodiment("bimanual_trossen"), jpeg_size(jpegs[0])
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
            camera.name: tuple(Picture(jpeg=jpegs[next(pick)], width=width, height=height) for _ in range(frames))
            for camera in table.cameras
        },
        provenance=Provenance(raw_uri="memory://", record_index=number, adapter="benchmark", adapter_version=1),
    )


def decoded_by_bare_loop(jpegs: list[bytes], threads: int) -> Iterator[int]:
    """Samples of three pictures decoded, without end, by threads that do nothing else."""
    buffers = [np.empty((BATCH * 3, *jpeg_size(jpegs[0]), 3), np.uint8) for _ in range(threads)]
    supply = itertools.cycle(jpegs)
    work = [[next(supply) for _ in range(BATCH * 3)] for _ in range(threads)]

    def decode(part: int) -> None:
        for place, jpeg in enumerate(work[part]):
            decode_into(jpeg, buffers[part][place])

    with ThreadPoolExecutor(threads) as pool:
        while True:
            list(pool.map(decode, range(threads)))
            yield BATCH * threads


Step = Callable[[], int]
"""Draws a batch and gives back its number of samples."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What readers read."""

    folder: Path
    lake: Lake
    lock: Lock
    jpegs: list[bytes]


@contextmanager
def limit(bench: Bench, threads: int) -> Iterator[Step]:
    """Decoding alone."""
    bare = decoded_by_bare_loop(bench.jpegs, max(1, threads))
    yield lambda: next(bare)
    bare.close()


@contextmanager
def robomix(bench: Bench, threads: int) -> Iterator[Step]:
    """The loader."""
    with Loader(bench.lock, batch_size=BATCH, threads=threads) as loader:
        yield lambda: len(next(loader))


READERS = {"limit": limit, "robomix": robomix}
"""The first one is what the others are compared with."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """One measurement."""

    samples_per_s: float
    cpu_us: float
    """Processor time of this process per sample."""


def pace(step: Step, seconds: float) -> Pace:
    """Repeated steps over about so many seconds, after as many as a reader keeps made in advance.

    It begins when the threads of the reader before it have come to rest, so that their work does not count here.
    """
    busy = -1.0
    while time.process_time() - busy > _REST_S / 10:
        busy = time.process_time()
        time.sleep(_REST_S)
    for _ in range(_READ_AHEAD):
        step()
    start, begin, samples = time.perf_counter(), time.process_time(), 0
    while (passed := time.perf_counter() - start) < seconds:
        samples += step()
    return Pace(samples_per_s=samples / passed, cpu_us=(time.process_time() - begin) / samples * 1e6)


_READ_AHEAD = 4
_REST_S = 0.02


def compare(benches: dict[int, Bench], *, threads: int, seconds: float, rounds: int) -> None:
    """Print a line for each reader of each lake."""
    with ExitStack() as stack:
        steps = {
            (name, height): stack.enter_context(opened(bench, threads))
            for height, bench in benches.items()
            for name, opened in READERS.items()
        }
        for step in steps.values():
            pace(step, 1.0)
        found = [{key: pace(step, seconds) for key, step in steps.items()} for _ in range(rounds)]
    base = next(iter(READERS))
    for name, height in steps:
        ratios = sorted(one[name, height].samples_per_s / one[base, height].samples_per_s for one in found)
        cpu = statistics.median(one[name, height].cpu_us / one[base, height].cpu_us for one in found)
        least = min(one[name, height].cpu_us for one in found) / min(one[base, height].cpu_us for one in found)
        speed = statistics.median(one[name, height].samples_per_s for one in found)
        spread = f"{ratios[0]:.3f}–{ratios[-1]:.3f}"
        title = f"{name} 224×{height}"
        print(
            f"{threads:7d}  {title:20}{speed:10.0f}{statistics.median(ratios):8.3f}  {spread:14}{cpu:8.3f}{least:8.3f}"
        )
    ours, (square, padded) = list(READERS)[-1], benches
    gain = statistics.median(one[ours, padded].samples_per_s / one[ours, square].samples_per_s for one in found)
    print(f"{threads:7d}  {ours}, 224×{padded} beside 224×{square}: {gain:.2f}")


def first_batch(bench: Bench) -> None:
    """Print how long a fresh process takes to its first batch, imports apart, and what that adds to its memory."""
    code = (
        "import sys, time; from curation.lock import Lock; from training.loader import Loader; "
        "from memory import pss_mb; before = pss_mb(); start = time.perf_counter(); "
        f"loader = Loader(Lock.load(sys.argv[1]), batch_size={BATCH}); next(loader); "
        "print(f'first batch after {time.perf_counter() - start:.3f} s, {pss_mb() - before:.0f} MB'); loader.close()"
    )
    bench.lock.save(bench.folder / "lock")
    subprocess.run([sys.executable, "-c", code, str(bench.folder / "lock")], check=True, cwd=Path(__file__).parent)


def resume(bench: Bench, count: int) -> None:
    """Compare batches at random positions, drawn by a loader that seeks, with those of loaders begun there."""
    random = np.random.default_rng(3)
    with Loader(bench.lock, batch_size=4) as seeking:
        for _ in range(count):
            position = int(random.integers(2**34)) * 4
            seeking.seek(position)
            batch = next(seeking)
            with Loader(bench.lock, batch_size=4, position=position, threads=0) as fresh:
                again = next(fresh)
            for field in fields(batch):
                one, other = getattr(batch, field.name), getattr(again, field.name)
                assert np.array_equal(one, other), f"{field.name} differs at position {position}"
            assert seeking.state() == position + 4
    print(f"{count:,} random positions: bit-identical batches")


def soak(bench: Bench, minutes: float) -> None:
    """Draw for so long and print the memory; exit with an error where it grew by more than 5 % after a tenth.

    What counts is what was allocated: of the mapped shards the system keeps as many pages as it likes.
    """
    until, marks = time.monotonic() + minutes * 60, list[float]()
    with Loader(bench.lock, batch_size=BATCH) as loader:
        for part in range(1, 31):
            while time.monotonic() < until - minutes * 60 * (1 - part / 30):
                next(loader)
            marks.append(pss_mb("Pss_Anon"))
            told = f"{marks[-1]:7.1f} MB, {pss_mb():7.1f} MB with pages of files"
            print(f"{minutes * part / 30:6.2f} min  {loader.state():12,} samples  {told}", flush=True)
    if marks[-1] > 1.05 * max(marks[2:5]):
        sys.exit(f"memory grew from {max(marks[2:5]):.0f} to {marks[-1]:.0f} MB")


def make_bench(folder: Path, *, episodes: int, frames: int, height: int = 224) -> Bench:
    """A lake and its lock, with windows of a tenth of it."""
    jpegs = textured_jpegs(256, height=height)
    lake = make_lake(folder, episodes=episodes, frames=frames, jpegs=jpegs)
    return Bench(folder=folder, lake=lake, lock=with_windows(make_lock(parse_recipe(RECIPE), lake)), jpegs=jpegs)


def with_windows(lock: Lock, share: float = 0.1) -> Lock:
    """The lock with a working set of this share of its frames."""
    quota_C = np.array([component.quota for component in lock.components])
    total = int(share * sum(component.frames for component in lock.components) / 32)
    windows = window_segments(quota_C, max(1, total // lock.lanes)).tolist()
    pairs = zip(lock.components, windows, strict=True)
    return replace(lock, components=tuple(replace(one, window_segments=window) for one, window in pairs))


def main() -> None:
    """Make the lake, then do what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--resume", type=int, default=0, metavar="POSITIONS")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="robomix-benchmark-") as folder:
        bench = make_bench(Path(folder), episodes=words.episodes, frames=words.frames)
        if words.resume:
            resume(bench, words.resume)
            return
        if words.soak:
            soak(bench, words.soak)
            return
        size = statistics.mean(map(len, bench.jpegs)) / 1e3
        print(f"{words.episodes * words.frames:,} frames, 3 cameras, {size:.1f} kB a picture")
        first_batch(bench)
        padded = make_bench(Path(folder) / "padded", episodes=words.episodes, frames=words.frames, height=168)
        print("threads  reader              samples/s   ratio  range              cpu   least")
        for threads in words.threads:
            compare({224: bench, 168: padded}, threads=threads, seconds=words.seconds, rounds=words.rounds)


if __name__ == "__main__":
    main()
