"""litdata: chunks of 64 MB written by `optimize`, read by its own loader with shuffle."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from frames import Frames
from litdata import StreamingDataLoader, StreamingDataset, optimize
from serve import BATCH, serve
from torch_samples import Sample, StatefulReader, from_stored, stored


def _records(number: int, *, folder: Path) -> Iterator[dict[str, bytes]]:
    for jpegs, numbers in Frames(folder)[number].samples():
        yield stored(jpegs, numbers)


def write(frames: Frames, to: Path) -> None:
    """By one process, as the others."""
    optimize(
        fn=partial(_records, folder=frames.folder),
        inputs=list(range(len(frames))),
        output_dir=str(to),
        chunk_bytes="64MB",
        num_workers=1,
    )


class Decoded(StreamingDataset):  # type: ignore[misc, unused-ignore]
    """Its samples, decoded where they are read."""

    def __getitem__(self, index: Any) -> Sample:
        return from_stored(super().__getitem__(index))


def open_reader(data: Path, workers: int, state: Any) -> StatefulReader:
    """All chunks of all samples shuffled by its own order."""
    dataset = Decoded(str(data), shuffle=True, drop_last=True)
    loader = StreamingDataLoader(
        dataset, batch_size=BATCH, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    if state is not None:
        loader.load_state_dict(state)
    return StatefulReader(loader)


if __name__ == "__main__":
    serve(write=write, open_reader=open_reader)
