"""How near an ingest comes to the bare limit of its work, how it scales, what memory it takes, how fast it plans.

    ./run python benchmarks/ingest.py [limits] [cores] [memory] [planning]
        [--rounds 5] [--source-gb 50] [--episodes 100000]

limits    per core, without Ray: one bundle (discovery, plan, read, standardize, shard, receipt, upload, commit) against
          a plain loop over the same logs that only decodes, resizes and encodes, or, where JPEGs pass through, reads,
          hashes and writes the same bytes. Both take turns in one process that is held to one CPU; quoted is the
          median of the ratio within each round, of the time passed and of the CPU seconds of all threads. The latter
          is what counts where every core has its own task, and other programs do not disturb it.
cores     an ingest on a Ray cluster of two CPUs against one that is held to one CPU, in turns.
memory    the highest resident memory of a process that ingests a sparse source of so many GB, workers' and driver's
          work together.
planning  discovery and plan of so many small episodes.

With no word, all four. The sources are made in a temporary folder (TMPDIR), by the writers of the tests.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for tests.ingest.writers, which is in no package

import av
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from av.video.reformatter import VideoReformatter

from benchmarks.loader import textured_jpegs
from ingest.bundle import Job, run_bundle
from ingest.formats import hdf5_heaps
from ingest.job import Request, ingest, prepare
from ingest.location import Location
from ingest.plan import Plan, PlannedBundle, make_plan
from schema.commit import commit
from schema.digest import Hasher
from schema.lake import Lake
from schema.picture import Pixels, decode_jpeg, encode_jpeg, fitted_size, resize
from tests.ingest.writers import (
    example,
    frame_tfrecord,
    lerobot_columns,
    rlds_episode,
    rlds_features,
    write_lerobot,
    write_rlds,
    write_video,
)

PARTS = ("limits", "cores", "memory", "planning")
CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
VIDEO_FRAMES, ARRAY_FRAMES, JPEG_FRAMES = 60, 40, 600
_BLOCK = 1 << 20
_REAL_EVERY = 16


# ── sources ────────────────────────────────────────────────────────────────────────────────────────────────────────


def scenes(count: int) -> list[Pixels]:
    """Pictures of 480×640 with as much detail as a camera's."""
    return [resize(decode_jpeg(jpeg), 480, 640) for jpeg in textured_jpegs(count)]


def write_arrays(folder: Path, *, episodes: int, frames: int) -> Path:
    """ALOHA episodes of three raw 480×640 cameras."""
    pictures = np.stack(scenes(frames))
    for number in range(episodes):
        with _aloha_file(folder, number, frames) as file:
            for camera in CAMERAS:
                file[f"observations/images/{camera}"] = np.roll(pictures, number, axis=0)
    return folder


def write_sparse(folder: Path, *, gigabytes: float) -> Path:
    """ALOHA episodes of so many bytes of pictures, of which one in 16 is there and the others are holes on the disk."""
    frames = 400
    shape = (frames, 480, 640, 3)
    pictures = np.stack(scenes(frames // _REAL_EVERY))
    room = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    room.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    room.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    for number in range(max(1, round(gigabytes * 1e9 / (len(CAMERAS) * np.prod(shape, dtype=np.int64))))):
        with _aloha_file(folder, number, frames) as file:
            group = file.create_group("observations/images")
            for camera in CAMERAS:
                space = h5py.h5s.create_simple(shape)
                dataset = h5py.h5d.create(group.id, camera.encode(), h5py.h5t.STD_U8LE, space, room)
                h5py.Dataset(dataset)[::_REAL_EVERY] = pictures
    return folder


def _aloha_file(folder: Path, number: int, frames: int) -> h5py.File:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(number)
    file = h5py.File(folder / f"episode_{number}.hdf5", "w")
    file["action"] = random.uniform(0, 1, (frames, 14)).astype(np.float32)
    for name in ("qpos", "qvel", "effort"):
        file[f"observations/{name}"] = random.uniform(0, 1, (frames, 14))
    return file


def write_videos(folder: Path, *, episodes: int, frames: int) -> Path:
    """LeRobot episodes of two H.264 cameras of 480×640, which all show the same."""
    write_lerobot(folder, num_episodes=episodes, video_frames=1)
    pictures = scenes(32)
    first, *others = sorted(folder.rglob("*.mp4"))
    write_video(first, [pictures[number % len(pictures)] for number in range(frames)])
    for path in others:
        shutil.copyfile(first, path)
    _lengthen(folder, frames)
    return folder


def _lengthen(folder: Path, frames: int) -> None:
    """Give every episode so many rows."""
    for number, path in enumerate(sorted(folder.rglob("*.parquet"))):
        pq.write_table(pa.table(lerobot_columns(number, rows=frames)), path)
    lines = (folder / "meta/episodes.jsonl").read_text().splitlines()
    told = [json.dumps(json.loads(line) | {"length": frames}) for line in lines]
    (folder / "meta/episodes.jsonl").write_text("\n".join(told) + "\n")


def write_jpegs(folder: Path, *, episodes: int, frames: int) -> Path:
    """RLDS episodes of two cameras of JPEGs of 224×224, which pass through."""
    jpegs = textured_jpegs(64)
    features, step = rlds_features(), {}
    steps = features["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
    del steps["language_embedding"], steps["observation"]["featuresDict"]["features"]["depth_0"]
    for camera, shift in (("image_0", 0), ("image_3", 7)):
        step[f"steps/observation/{camera}"] = [jpegs[(number + shift) % len(jpegs)] for number in range(frames)]
    left_out = {"steps/language_embedding", "steps/observation/depth_0"}
    made = []
    for number in range(episodes):
        told = {key: value for key, value in rlds_episode(number, steps=frames).items() if key not in left_out}
        made.append(told | step)
    write_rlds(folder, made, features=features)
    return folder


# ── the same work in a plain loop ──────────────────────────────────────────────────────────────────────────────────


def bare_arrays(folder: Path) -> None:
    """Read, resize, encode."""
    for path in sorted(folder.glob("*.hdf5")):
        with h5py.File(path, "r") as file:
            for camera in CAMERAS:
                for pixels in file[f"observations/images/{camera}"]:
                    encode_jpeg(resize(pixels, *fitted_size(*pixels.shape[:2])))


def bare_videos(folder: Path) -> None:
    """Decode, resize, encode."""
    for path in sorted(folder.rglob("*.mp4")):
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            converter = VideoReformatter()
            for frame in container.decode(video=0):
                pixels = converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
                encode_jpeg(resize(pixels, *fitted_size(*pixels.shape[:2])))


def bare_bytes(folder: Path) -> None:
    """Read, hash, write, by one buffer that stays in the cache; the disk has it all at the end, as a lake does.

    A new buffer for each block takes up to twice as long, by what the process freed before.
    """
    hasher = Hasher()
    buffer = memoryview(bytearray(_BLOCK))
    with tempfile.TemporaryFile(dir=folder.parent, buffering=0) as sink:
        for path in sorted(folder.rglob("*.tfrecord*")):
            with path.open("rb", buffering=0) as source:
                while size := source.readinto(buffer):
                    hasher.update(buffer[:size])
                    sink.write(buffer[:size])
        os.fsync(sink.fileno())


# ── ours ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def planned(source: Path, lake: Lake) -> tuple[Job, Plan]:
    """What a driver gives its workers."""
    found = prepare(Request(uri=str(source)))
    plan = make_plan(lake, found.location, found.discovery, source=found.source, conversion=found.conversion)
    job = Job(
        lake_uri=lake.uri,
        location=found.location,
        source=found.source,
        format=found.discovery.format,
        embodiment=found.embodiment,
        conversion=found.conversion,
        settings=found.request.settings,
        ingest_run=plan.plan_id,
    )
    return job, plan


def convert(source: Path, folder: Path, *, as_one: bool = False) -> None:
    """An ingest in this process alone, into a new lake; in bundles as planned, or in one."""
    hdf5_heaps.forget()  # a file is looked at once in a process, and here every round is to do it
    with tempfile.TemporaryDirectory(dir=folder) as place:
        lake = Lake.open_or_create(f"{place}/lake")
        job, plan = planned(source, lake)
        done = [run_bundle(job, bundle) for bundle in ([_whole(plan)] if as_one else plan.bundles)]
        assert not any(bundle.quarantine for bundle in done), done[0].quarantine[:1]
        commit(lake, done)


def _whole(plan: Plan) -> PlannedBundle:
    """All in one bundle: a small source is cut into 32, which each cost what one of a large source does."""
    return PlannedBundle(
        bundle_id=plan.plan_id,
        records=tuple(record for bundle in plan.bundles for record in bundle.records),
        source_keys=plan.source_keys,
    )


def seconds(step: Callable[[], object]) -> float:
    """How long a step takes."""
    return both_seconds(step)[0]


def both_seconds(step: Callable[[], object]) -> tuple[float, float]:
    """How long a step takes, and how many CPU seconds of this process."""
    start, start_cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - start, time.process_time() - start_cpu


@contextmanager
def held_to(cpus: int) -> Iterator[None]:
    """This process, and those that it starts meanwhile, on so many CPUs."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(allowed)[:cpus]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def limits(folder: Path, rounds: int) -> None:
    """Print ours against the bare loop, per kind of format."""
    kinds: dict[str, tuple[Path, Callable[[Path], None]]] = {
        "raw arrays": (write_arrays(folder / "arrays", episodes=24, frames=ARRAY_FRAMES), bare_arrays),
        "video": (write_videos(folder / "videos", episodes=3, frames=VIDEO_FRAMES), bare_videos),
        "pass-through": (write_jpegs(folder / "jpegs", episodes=12, frames=JPEG_FRAMES), bare_bytes),
    }
    for name, (source, bare) in kinds.items():
        with held_to(1):
            ours, limit = _in_turns(lambda: convert(source, folder, as_one=True), lambda: bare(source), rounds)  # noqa: B023
        told = []
        for unit, column in (("s", 0), ("CPU s", 1)):
            ratios = [one[column] / other[column] for one, other in zip(limit, ours, strict=True)]
            ours_s, limit_s = (statistics.median(pair[column] for pair in pairs) for pairs in (ours, limit))
            middle = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
            told.append(f"{middle} of the limit by {unit}: {ours_s:.2f} against {limit_s:.2f}")
        print(f"{name:14} {'; '.join(told)}", flush=True)


def _in_turns(
    one: Callable[[], object], other: Callable[[], object], rounds: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """`both_seconds` of each of two steps, in each round after one that does not count."""
    pairs = [(both_seconds(one), both_seconds(other)) for _ in range(rounds + 1)][1:]
    return [first for first, _ in pairs], [second for _, second in pairs]


def cores(folder: Path, rounds: int) -> None:
    """Print how much faster an ingest is on two CPUs than on one."""
    source = write_arrays(folder / "many", episodes=16, frames=ARRAY_FRAMES)
    pairs = [tuple(_timed_child("one_ingest", source, cpus) for cpus in (1, 2)) for _ in range(rounds)]
    ratios = [one / two for one, two in pairs]
    print(f"two CPUs against one: {statistics.median(ratios):.2f} × ({min(ratios):.2f}–{max(ratios):.2f})", flush=True)


def _timed_child(step: str, *words: object) -> float:
    """What a step of this file prints, in a fresh process."""
    command = [sys.executable, __file__, "--child", step, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def one_ingest(source: str, cpus: str) -> float:
    """Seconds of an ingest on a cluster of so many CPUs, the workers' start left out by a first ingest."""
    with held_to(int(cpus)), tempfile.TemporaryDirectory() as place:
        ray.init(num_cpus=int(cpus), include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
        ingest(Request(uri=source, limit=int(cpus)), lake_uri=f"{place}/warm")
        return seconds(lambda: ingest(Request(uri=source), lake_uri=f"{place}/lake"))


def memory(folder: Path, gigabytes: float) -> None:
    """Print the highest resident memory of an ingest of a large sparse source."""
    source = write_sparse(folder / "sparse", gigabytes=gigabytes)
    peak = _timed_child("peak_of_convert", source, folder)
    print(f"peak memory of a {gigabytes:g} GB source: {peak:.2f} GB", flush=True)


def peak_of_convert(source: str, folder: str) -> float:
    """The most resident memory that this process has had, in GB, after an ingest."""
    convert(Path(source), Path(folder))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


# ── planning ───────────────────────────────────────────────────────────────────────────────────────────────────────


def write_small_lerobot(folder: Path, episodes: int) -> Path:
    """A LeRobot dataset of so many episodes whose files are empty: planning reads none of them."""
    write_lerobot(folder, num_episodes=1)
    info = json.loads((folder / "meta/info.json").read_text()) | {"total_episodes": episodes}
    (folder / "meta/info.json").write_text(json.dumps(info))
    cameras = [path.name for path in (folder / "videos/chunk-000").iterdir()]
    with (folder / "meta/episodes.jsonl").open("w") as lines:
        for number in range(episodes):
            chunk = f"chunk-{number // 1000:03d}"
            if number % 1000 == 0:
                for place in (f"data/{chunk}", *(f"videos/{chunk}/{camera}" for camera in cameras)):
                    (folder / place).mkdir(parents=True, exist_ok=True)
            (folder / f"data/{chunk}/episode_{number:06d}.parquet").touch()
            for camera in cameras:
                (folder / f"videos/{chunk}/{camera}/episode_{number:06d}.mp4").touch()
            lines.write(
                json.dumps({"episode_index": number, "tasks": ["put the cup on the plate"], "length": 50}) + "\n"
            )
    return folder


def write_small_aloha(folder: Path, episodes: int) -> Path:
    """An ALOHA folder of so many episodes, of which the first is real."""
    write_arrays(folder, episodes=1, frames=2)
    for number in range(1, episodes):
        (folder / f"episode_{number}.hdf5").touch()
    return folder


def write_small_rlds(folder: Path, episodes: int) -> Path:
    """An RLDS dataset of so many tiny records in one shard."""
    shard = write_rlds(folder, [], promised=episodes)
    record = frame_tfrecord(example({"steps/action": np.zeros((2, 7), np.float32)}))
    with shard.open("wb") as sink:
        for _ in range(episodes):
            sink.write(record)
    return folder


def planning(folder: Path, episodes: int) -> None:
    """Print how long a plan takes, per format."""
    writers = {"lerobot": write_small_lerobot, "aloha": write_small_aloha, "rlds": write_small_rlds}
    for name, write in writers.items():
        source = write(folder / f"small_{name}", episodes)
        lake = Lake.open_or_create(str(folder / f"lake_{name}"))
        told = ", ".join(f"{step} {passed:.1f} s" for step, passed in _plan_steps(source, lake))
        print(f"planning {episodes:,} episodes of {name}: {told}", flush=True)


def _plan_steps(source: Path, lake: Lake) -> Iterator[tuple[str, float]]:
    yield "listing alone", seconds(lambda: Location.of(str(source)))
    start = time.perf_counter()
    found = prepare(Request(uri=str(source)))
    yield "listing and discovery", time.perf_counter() - start
    yield (
        "plan",
        seconds(
            lambda: make_plan(lake, found.location, found.discovery, source=found.source, conversion=found.conversion)
        ),
    )


def main() -> None:
    """Run the parts that were asked for."""
    if sys.argv[1:2] == ["--child"]:
        print(globals()[sys.argv[2]](*sys.argv[3:]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--source-gb", type=float, default=50.0)
    parser.add_argument("--episodes", type=int, default=100_000)
    words = parser.parse_args()
    parts = words.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown parts {sorted(unknown)}: choose from {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="robomix-benchmark-") as folder:
        for part in parts:
            {
                "limits": lambda place: limits(place, words.rounds),
                "cores": lambda place: cores(place, words.rounds),
                "memory": lambda place: memory(place, words.source_gb),
                "planning": lambda place: planning(place, words.episodes),
            }[part](Path(folder))


if __name__ == "__main__":
    main()
