"""Reading from S3: speed beside the same lake on disk, and bytes fetched beside those that are needed.

    ./run python benchmarks/remote.py [--threads 1] [--seconds 5] [--rounds 5]

The server is SeaweedFS on loopback, which takes its share of the same processors. One reader keeps a tenth of the lake
in memory. Then eight nodes read the lake with lanes, one after the other here, each with an eightieth of it.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for tests.s3, which is in no package

from loader import BATCH, Bench, make_bench, pace, with_windows

from schema.lake import Lake
from tests.s3 import s3_server
from training.loader import Loader

NODES = 8


def needed_bytes(bench: Bench) -> float:
    """Bytes of a sample's pictures, on average."""
    catalogue = bench.lake.episodes().select("num_frames", "camera_bytes").collect()
    pictures = sum(one["value"] for row in catalogue["camera_bytes"] for one in row)
    return float(pictures / catalogue["num_frames"].sum())


def report(name: str, loaders: list[Loader], *, samples: int, sample_bytes: float) -> None:
    """Print what readers fetched for so many samples drawn, beside what these need."""
    fetched = sum(loader.shards.ranges.bytes_fetched for loader in loaders)
    requests = sum(loader.shards.ranges.requests for loader in loaders)
    heads = [loader.ahead for loader in loaders if loader.ahead is not None]
    needed = samples * sample_bytes + sum(ahead.held_bytes for ahead in heads)
    peak = max(ahead.peak_bytes for ahead in heads)
    print(
        f"{name}: {fetched / 1e6:,.0f} MB in {requests:,} requests for {needed / 1e6:,.0f} MB of pictures: "
        f"{fetched / needed:.3f}; at most {peak / 1e6:.1f} MB held"
    )


def speed(bench: Bench, uri: str, words: argparse.Namespace, *, cache_bytes: int, sample_bytes: float) -> None:
    """Draw from S3 and from disk in turns."""
    for threads in words.threads:
        with ExitStack() as stack:
            far = stack.enter_context(
                Loader(bench.lock, batch_size=BATCH, threads=threads, lake=uri, cache_bytes=cache_bytes)
            )
            near = stack.enter_context(Loader(bench.lock, batch_size=BATCH, threads=threads))
            steps = (_step(far), _step(near))
            for step in steps:
                pace(step, words.seconds)
            pairs = [tuple(pace(step, words.seconds).samples_per_s for step in steps) for _ in range(words.rounds)]
            ratio = statistics.median(remote / local for remote, local in pairs)
            remote, local = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"{threads} threads: {remote:.0f} samples/s from S3, {local:.0f} from disk: {ratio:.3f}")
            report("  one reader", [far], samples=far.state(), sample_bytes=sample_bytes)


def _step(loader: Loader) -> Callable[[], int]:
    return lambda: len(next(loader))


def nodes(bench: Bench, uri: str, *, cache_bytes: int, sample_bytes: float, frames: int) -> None:
    """One epoch of the lake by eight readers with lanes."""
    lock = with_windows(replace(bench.lock, lanes=64))
    with ExitStack() as stack:
        loaders = [
            stack.enter_context(
                Loader(lock, batch_size=4, rank=rank, world_size=NODES, threads=0, lake=uri, cache_bytes=cache_bytes)
            )
            for rank in range(NODES)
        ]
        for _ in range(frames // (4 * NODES)):
            for loader in loaders:
                next(loader)
        samples = loaders[0].state()
        report(f"{NODES} nodes", loaders, samples=samples, sample_bytes=sample_bytes)


def main() -> None:
    """Make the lake, copy it to S3, and read it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--frames", type=int, default=200)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="robomix-benchmark-") as name:
        folder = Path(name)
        bench = make_bench(folder, episodes=words.episodes, frames=words.frames)
        (folder / "s3").mkdir()
        with s3_server(folder / "s3") as server:
            os.environ.update(server.environment)
            lake = Lake(server.fresh_prefix())
            lake.fs.put(f"{bench.lake.root}/", lake.root, recursive=True)
            frames = words.episodes * words.frames
            sample_bytes = needed_bytes(bench)
            whole = int(sample_bytes * frames)
            speed(bench, lake.uri, words, cache_bytes=whole // 10, sample_bytes=sample_bytes)
            nodes(bench, lake.uri, cache_bytes=whole // 80, sample_bytes=sample_bytes, frames=frames)


if __name__ == "__main__":
    main()
