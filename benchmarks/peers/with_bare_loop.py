"""The reference: simplejpeg in a bare loop of the same threads into reused buffers, and nothing else.

It takes the common frames' own pictures in shuffled order from the page cache; each thread decodes batch after batch
and waits for nobody, so that nothing that decodes by these threads can be faster.
"""

import mmap
import os
import queue
import threading
from pathlib import Path

import numpy as np
import simplejpeg
from frames import CAMERAS, SIZE, Frames
from numpy.typing import NDArray
from serve import BATCH, serve


def write(frames: Frames, to: Path) -> None:
    """A link to the frames: the reference has no form of its own."""
    for file in frames.folder.iterdir():
        os.link(file, to / file.name)


class BareLoop:
    """Batches of pictures; with 0 workers decoded where they are asked for."""

    def __init__(self, data: Path, workers: int, _: None) -> None:
        with (data / "pictures.bin").open("rb") as file:
            self._bytes = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._ends = np.load(data / "ends.npy").tolist()
        self._done: queue.Queue[None] = queue.Queue(maxsize=4 * max(1, workers))
        self._closed = False
        self._own = self._batches(seed=0)
        self._threads = [threading.Thread(target=self._work, args=(seed,), daemon=True) for seed in range(workers)]
        for thread in self._threads:
            thread.start()

    def _batches(self, *, seed: int) -> "_Batches":
        return _Batches(self._bytes, self._ends, seed=seed)

    def _work(self, seed: int) -> None:
        batches = self._batches(seed=seed)
        while not self._closed:
            next(batches)
            self._done.put(None)

    def __next__(self) -> None:
        if self._threads:
            self._done.get()
        else:
            next(self._own)

    def state(self) -> None:
        """None: there is nothing to go on from."""

    def numbers(self, _: None) -> bytes:
        """None: it reads no numbers."""
        return b""

    def close(self) -> None:
        """Stop the threads."""
        self._closed = True
        for thread in self._threads:
            while thread.is_alive():
                while not self._done.empty():
                    self._done.get_nowait()
                thread.join(0.01)


class _Batches:
    """Batches of pictures in shuffled order, decoded into one buffer."""

    def __init__(self, data: memoryview, ends: list[int], *, seed: int) -> None:
        self._data, self._ends = data, ends
        self._random = np.random.default_rng(seed)
        self._buffer = np.empty((BATCH * CAMERAS, SIZE, SIZE, 3), np.uint8)
        self._order: list[int] = []

    def __next__(self) -> NDArray[np.uint8]:
        if len(self._order) < len(self._buffer):
            self._order = self._random.permutation(len(self._ends) - 1).tolist()
        for pixels in self._buffer:
            place = self._order.pop()
            jpeg = self._data[self._ends[place] : self._ends[place + 1]]
            simplejpeg.decode_jpeg(jpeg, colorspace="RGB", buffer=pixels)
        return self._buffer


if __name__ == "__main__":
    serve(write=write, open_reader=BareLoop)
