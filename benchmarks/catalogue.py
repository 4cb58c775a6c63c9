"""What 1,000 commits cost the catalogue: its queries' time after them against that of the same rows in one commit.

    ./run python benchmarks/catalogue.py [--commits 1000] [--rows 20] [--rounds 15] [--limit 1.5]

Makes two lakes of the same rows (episodes with moments, an instruction each, a quarantined record per commit): one by
as many commits as are asked for and the few more after which the lake would next merge its files, its worst moment;
one by a single commit and a compaction. Then it times in turn, on both, the queries that the product makes, each from
opening the lake on, and quotes the median over the rounds of the ratio within each round, since machines drift.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # else `ingest` would be the benchmark of that name

import numpy as np
import polars as pl

from curation.recipe import parse_recipe
from curation.select import select
from dashboards.queries import listing
from dashboards.queries.filters import Filters
from ingest.plan import known_keys
from schema.commit import Bundle, Row, commit, compact, done_bundles
from schema.digest import digest_json
from schema.embodiment import load_embodiment
from schema.frames import moments
from schema.info import info
from schema.lake import Lake

BUNDLES_PER_COMMIT = 4
ROBOT = load_embodiment("bimanual_trossen")
RECIPE = parse_recipe('name: some\nsources: [{source: logs, where: "num_frames >= 300"}]\n')


def episode_row(number: int, random: np.random.Generator) -> Row:
    """A row as an ingest makes it, of frames that nobody reads."""
    episode = digest_json(number)
    signals = {signal.name: random.uniform(-1, 1, (8, signal.width)).astype(np.float32) for signal in ROBOT.signals}
    return {
        "episode_id": episode,
        "conversion": "c1",
        "source_key": digest_json([episode, "key"]),
        "source": "logs",
        "embodiment": ROBOT.name,
        "embodiment_table": ROBOT.digest,
        "action_spaces": [space.name for space in ROBOT.action_spaces],
        "task": f"task {number % 20}",
        "instructions": [f"do task {number % 20}"],
        "recorded_at": datetime(2026, 1, 1, tzinfo=UTC),
        "success": number % 3 > 0,
        "is_simulated": False,
        "num_frames": 250 + number % 500,
        "rate_hz": ROBOT.rate_hz,
        "duration_s": (250 + number % 500) / ROBOT.rate_hz,
        "cameras": [camera.name for camera in ROBOT.cameras],
        "camera_bytes": [{"camera": camera.name, "value": 4_000_000 + number} for camera in ROBOT.cameras],
        "shard": f"shards/logs/{digest_json(number // 20)}",
        "row_group": number % 20,
        "first_row": number % 20 * 500,
        "tar_start": number % 20 * 12_000_000,
        "tar_stop": (number % 20 + 1) * 12_000_000,
        "moments": moments(signals),
        "raw_uri": f"file:///logs/episode_{number:07d}.hdf5",
        "record_index": number,
        "adapter": "aloha_hdf5",
        "adapter_version": 1,
        "ingest_run": "run",
        "format_version": 1,
    }


def text_row(row: Row) -> Row:
    """The instruction that came with an episode."""
    text = {"episode_id": row["episode_id"], "start": 0, "text": row["instructions"][0], "conversion": "c1"}
    return text | {"kind": "instruction", "author": "adapter", "format_version": 1, "annotation_id": digest_json(text)}


def broken_row(number: int) -> Row:
    """A record that could not be taken."""
    return {
        "source_key": digest_json([number, "broken"]),
        "conversion": "c1",
        "source": "logs",
        "raw_uri": f"file:///logs/broken_{number:07d}.hdf5",
        "record_index": number,
        "stage": "read",
        "reason": "unreadable_hdf5",
        "message": "the file is cut",
        "fingerprint": "f",
        "ingest_run": "run",
        "format_version": 1,
    }


def groups(rows_per_commit: int) -> Iterator[list[Bundle]]:
    """What a driver commits at once, without end."""
    random = np.random.default_rng(0)
    count = 0
    while True:
        rows = [episode_row(count * rows_per_commit + number, random) for number in range(rows_per_commit)]
        parts = [rows[part::BUNDLES_PER_COMMIT] for part in range(BUNDLES_PER_COMMIT)]
        yield [
            Bundle(
                bundle_id=f"plan-{count}-{part}",
                episodes=tuple(own),
                annotations=tuple(map(text_row, own)),
                quarantine=(broken_row(count),) if part == 0 else (),
            )
            for part, own in enumerate(parts)
        ]
        count += 1


def num_files(lake: Lake) -> int:
    """Data files that the newest version of the catalogue stands in."""
    table = lake.table("episodes")
    return 0 if table is None else len(table.file_uris())


def log_entries(lake: Lake) -> int:
    """Commits that whoever opens the catalogue reads one by one, being newer than its checkpoint."""
    log = Path(lake.path("episodes/_delta_log"))
    newest = max((int(file.name[:20]) for file in log.glob("*.checkpoint*.parquet")), default=-1)
    return sum(int(file.name[:20]) > newest for file in log.glob("*.json"))


def make_lakes(folder: Path, *, commits: int, rows: int) -> tuple[Lake, Lake, list[str]]:
    """(the lake of many commits, that of one, the names of all bundles)."""
    many, one = Lake.open_or_create(f"{folder}/many"), Lake.open_or_create(f"{folder}/one")
    done: list[Bundle] = []
    took: list[float] = []
    files = peak = 0
    for group in groups(rows):
        if len(took) >= commits and files >= peak:
            break
        began = time.perf_counter()
        commit(many, group)
        took.append(time.perf_counter() - began)
        done += group
        files = num_files(many)
        peak = max(peak, files)
    tenth = max(1, len(took) // 10)
    print(
        f"{len(took):,} commits of {rows} rows: {statistics.median(took[:tenth]) * 1e3:.0f} ms each in the first "
        f"tenth, {statistics.median(took[-tenth:]) * 1e3:.0f} ms in the last, {max(took) * 1e3:.0f} ms at most"
    )
    commit(one, done)
    compact(one)
    for lake in (many, one):
        lake.keep_embodiment(ROBOT)
        print(
            f"{lake.root.rsplit('/', 1)[-1]:>8}: {lake.scan('episodes').select(pl.len()).collect().item():,} rows, "
            f"{num_files(lake)} files, {log_entries(lake)} log entries after the checkpoint"
        )
    return many, one, [bundle.bundle_id for bundle in done]


def queries(bundle_ids: list[str]) -> dict[str, Callable[[Lake], object]]:
    """What the product asks of the catalogue, by name."""
    some = digest_json(7)

    def page(lake: Lake) -> object:
        return listing.rows(lake, listing.keys(lake, Filters(task=("task 3",)))[: listing.PAGE_SIZE])

    return {
        "open": lambda lake: lake.version("episodes"),
        "live episodes": lambda lake: lake.episodes().select("episode_id", "shard", "num_frames").collect(),
        "all columns": lambda lake: lake.episodes().collect(),
        "one episode": lambda lake: lake.episodes().filter(episode_id=some).collect(),
        "instructions": lambda lake: lake.annotations().collect(),
        "done: records": lambda lake: known_keys(lake, "logs", "c1"),
        "done: 64 bundles": lambda lake: done_bundles(lake, bundle_ids[:64]),
        "lake info": info,
        "recipe select": lambda lake: select(RECIPE, lake),
        "dashboard page": page,
    }


def best(query: Callable[[Lake], object], uri: str, calls: int) -> float:
    """Seconds of the quickest of some calls, each on a lake just opened."""
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        query(Lake(uri))
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> int:
    """Measure every query; the exit code says whether all kept their speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=20, help="episodes per commit")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--limit", type=float, default=1.5, help="the ratio that none may pass")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="robomix-catalogue-") as folder:
        many, one, bundle_ids = make_lakes(Path(folder), commits=words.commits, rows=words.rows)
        print(f"{'':18}{'many ms':>10}{'one ms':>10}{'ratio':>8}")
        kept = True
        for name, query in queries(bundle_ids).items():
            pairs = [(best(query, many.uri, 3), best(query, one.uri, 3)) for _ in range(words.rounds)]
            ratio = statistics.median(slow / quick for slow, quick in pairs)
            slow, quick = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
            kept &= ratio <= words.limit
            print(f"{name:18}{slow:10.1f}{quick:10.1f}{ratio:8.2f}{'' if ratio <= words.limit else '  too slow'}")
    print(f"limit: {words.limit} times, {'kept' if kept else 'PASSED'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
