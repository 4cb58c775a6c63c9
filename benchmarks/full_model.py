"""The whole π0 in bfloat16 on this machine: `python benchmarks/full_model.py --folder FOLDER`.

Writes a checkpoint of random weights there, in shards and under openpi's names, unless there is one (7 GB, of which
0.5 GB are the released files' dead weights); then builds the model, loads it, and samples one chunk from three cameras
and 48 tokens. Peaks are of resident memory, pages of mapped files among them.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from safetensors.torch import save_file

from model.config import pi0
from model.observation import Observation
from model.pi0 import Pi0
from model.weight_files import TensorFiles
from model.weights import export_openpi, new_pi0

INDEX, SHARD_BYTES = "model.safetensors.index.json", 10**9
BYTES_PER_WEIGHT = torch.bfloat16.itemsize


def main() -> None:
    """Print a line per step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    folder = parser.parse_args().folder
    if not (folder / INDEX).is_file():
        write(folder)
    files = list(folder.glob("*.safetensors"))
    print(f"checkpoint: {len(files)} files, {sum(file.stat().st_size for file in files) / 1e9:.2f} GB")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    print(f"machine: {memory / 2**30:.1f} GiB, {torch.get_num_threads()} threads", flush=True)
    reset_peak()
    start = time.perf_counter()
    model = new_pi0(pi0(), TensorFiles(folder), dtype=torch.bfloat16)
    count = sum(weight.numel() for weight in model.parameters())
    own, peak = count * BYTES_PER_WEIGHT, peak_bytes()
    print(f"model: {count:,} weights, {own / 1e9:.2f} GB")
    print(
        f"loading: {time.perf_counter() - start:.1f} s, peak {peak / 1e9:.2f} GB, {peak / own:.2f} of the model",
        flush=True,
    )
    reset_peak()
    seen, noise = observed(), torch.randn(1, 50, 32)
    start, started = time.perf_counter(), time.process_time()
    actions = model.sample(seen, noise)
    took, worked = time.perf_counter() - start, time.process_time() - started
    assert actions.isfinite().all()
    print(f"sampling {tuple(actions.shape)}: {took:.1f} s, {worked:.1f} s of CPU, peak {peak_bytes() / 1e9:.2f} GB")


def write(folder: Path) -> None:
    """A checkpoint of random weights, one shard after the other, so that memory holds one."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        shapes = {name: tuple(like.shape) for name, like in export_openpi(Pi0(pi0())).items()}
    generator, file_of = torch.Generator().manual_seed(0), {}
    for number, names in enumerate(shards(shapes)):
        file = f"model-{number:05}.safetensors"
        tensors = {
            name: torch.empty(shapes[name], dtype=torch.bfloat16).normal_(0.0, 0.02, generator=generator)
            for name in names
        }
        save_file(tensors, folder / file)
        file_of |= dict.fromkeys(names, file)
        print(f"wrote {file}, {len(names)} tensors", file=sys.stderr, flush=True)
    (folder / INDEX).write_text(json.dumps({"weight_map": file_of}))


def shards(shapes: dict[str, tuple[int, ...]]) -> Iterator[list[str]]:
    """The names in groups of at most `SHARD_BYTES`, or one name."""
    names: list[str] = []
    size = 0
    for name, shape in shapes.items():
        more = torch.Size(shape).numel() * BYTES_PER_WEIGHT
        if names and size + more > SHARD_BYTES:
            yield names
            names, size = [], 0
        names.append(name)
        size += more
    yield names


def observed() -> Observation:
    """One made-up observation: three cameras and a full prompt."""
    return Observation(
        images=torch.rand(1, 3, 224, 224, 3) * 2 - 1,
        image_mask=torch.ones(1, 3, dtype=torch.bool),
        tokens=torch.randint(3, pi0().vocab_size, (1, 48)),
        token_mask=torch.ones(1, 48, dtype=torch.bool),
        state=torch.randn(1, 32),
    )


def reset_peak() -> None:
    """Let the peak of resident memory begin at what it is now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most memory that was resident since."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
