"""webdataset: sequential tar shards, a shuffle buffer of encoded samples, batches made in the worker."""

from pathlib import Path
from typing import Any

import webdataset as wds
from frames import CAMERAS, Frames
from serve import BATCH, serve
from torch.utils.data import default_collate
from torch_samples import Sample, TorchReader, unpack


def write(frames: Frames, to: Path) -> None:
    """Shards of 16 MB, so that there are some for each worker."""
    with wds.ShardWriter(str(to / "%05d.tar"), maxsize=16 << 20, verbose=0) as sink:
        number = 0
        for episode in frames:
            for jpegs, numbers in episode.samples():
                pictures = {f"{camera}.jpg": jpeg for camera, jpeg in enumerate(jpegs)}
                sink.write({"__key__": f"{number:08d}", **pictures, "numbers.bin": numbers})
                number += 1


def _unpack(record: dict[str, Any]) -> Sample:
    return unpack([record[f"{camera}.jpg"] for camera in range(CAMERAS)], record["numbers.bin"])


def open_reader(data: Path, workers: int, _: Any) -> TorchReader:
    """Shards and 1,000 samples shuffled; each worker has its own shards."""
    shards = sorted(map(str, data.glob("*.tar")))
    pipe = wds.WebDataset(shards, shardshuffle=len(shards)).shuffle(1000).map(_unpack)
    pipe = pipe.batched(BATCH, collation_fn=default_collate, partial=False).repeat()
    return TorchReader(wds.WebLoader(pipe, batch_size=None, num_workers=workers))


if __name__ == "__main__":
    serve(write=write, open_reader=open_reader)
