"""What the peers that give torch tensors share: a stored sample → decoded tensors, by the decoder that ours uses."""

from collections.abc import Sequence
from typing import Any

import simplejpeg
import torch
from frames import CAMERAS, CHUNK, DIMS, SIZE

Sample = dict[str, torch.Tensor]


def unpack(jpegs: Sequence[bytes], numbers: bytes) -> Sample:
    """Pictures uint8 [3, 224, 224, 3] decoded in place, state [14] and chunk [50, 14]."""
    pictures = torch.empty((CAMERAS, SIZE, SIZE, 3), dtype=torch.uint8)
    for jpeg, pixels in zip(jpegs, pictures.numpy(), strict=True):
        simplejpeg.decode_jpeg(jpeg, colorspace="RGB", buffer=pixels)
    values = torch.frombuffer(bytearray(numbers), dtype=torch.float32)
    return {"pictures": pictures, "state": values[:DIMS], "chunk": values[DIMS:].view(CHUNK, DIMS)}


def stored(jpegs: Sequence[bytes], numbers: bytes) -> dict[str, bytes]:
    """A sample as a record of plain bytes, for the formats that store records."""
    return {f"camera{camera}": jpeg for camera, jpeg in enumerate(jpegs)} | {"numbers": numbers}


def from_stored(record: dict[str, Any]) -> Sample:
    """The tensors of such a record."""
    return unpack([record[f"camera{camera}"] for camera in range(CAMERAS)], record["numbers"])


class TorchReader:
    """Batches of a loader, epoch after epoch, with nothing to go on from unless a subclass knows better."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self._batches = self._endless()

    def _endless(self) -> Any:
        while True:
            yield from self.loader

    def __next__(self) -> Sample:
        batch: Sample = next(self._batches)
        return batch

    def state(self) -> Any:
        """None: the library keeps no state."""
        return

    def numbers(self, batch: Sample) -> bytes:
        """The states, to tell batches apart."""
        return batch["state"].numpy().tobytes()

    def close(self) -> None:
        """End the generator, and with it the epoch's workers."""
        self._batches.close()
        self.loader = None


class StatefulReader(TorchReader):
    """A reader whose loader has `state_dict`."""

    def state(self) -> Any:
        """The loader's own."""
        return self.loader.state_dict()
