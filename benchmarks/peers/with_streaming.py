"""MosaicML Streaming: MDS shards of 64 MB on local disk, its own loader, shuffled by its default py1e."""

from pathlib import Path
from typing import Any

import cpu_torchvision  # noqa: F401  first
from frames import CAMERAS, Frames
from serve import BATCH, serve
from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
from streaming.base.util import clean_stale_shared_memory
from torch_samples import Sample, StatefulReader, from_stored, stored

COLUMNS = {f"camera{camera}": "bytes" for camera in range(CAMERAS)} | {"numbers": "bytes"}


def write(frames: Frames, to: Path) -> None:
    """Uncompressed, without hashes: its fastest."""
    with MDSWriter(out=str(to), columns=COLUMNS, size_limit=64 << 20, exist_ok=True) as writer:
        for episode in frames:
            for jpegs, numbers in episode.samples():
                writer.write(stored(jpegs, numbers))


class Decoded(StreamingDataset):  # type: ignore[misc, unused-ignore]
    """Its samples, decoded where they are read."""

    def __getitem__(self, index: Any) -> Sample:
        return from_stored(super().__getitem__(index))


def open_reader(data: Path, workers: int, state: Any) -> StatefulReader:
    """One node; `batch_size` given to the dataset as its documentation asks."""
    clean_stale_shared_memory()
    dataset = Decoded(local=str(data), shuffle=True, batch_size=BATCH, num_canonical_nodes=1)
    loader = StreamingDataLoader(
        dataset, batch_size=BATCH, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    if state is not None:
        loader.load_state_dict(state)
    return StatefulReader(loader)


if __name__ == "__main__":
    serve(write=write, open_reader=open_reader)
