"""A peer's side of the conversation with `benchmarks/peers.py`: a JSON object per line in, one per line out.

{"do": "write", "frames": DIR, "to": DIR} → {"seconds"}; {"do": "open", "data": DIR, "workers": N} → {"first_batch_s"};
{"do": "slice", "seconds": S} → {"samples", "seconds", "cpu_s"}; {"do": "memory"} → {"pss", "pss_file"} in bytes;
{"do": "resume"} → {"resume_s", "exact"}, or {"resume_s": null} from one that keeps no state; {"error"} where it failed.
Processor time and memory are those of the whole session: this process and the workers it started.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

BATCH = 32
WARM_S = 0.3
"""Each slice begins unmeasured for so long, so that batches made ahead while others were measured do not count."""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Reader(Protocol):
    """Batches without end, each of BATCH samples."""

    def __next__(self) -> Any:
        """The next batch, decoded."""

    def state(self) -> Any:
        """What goes on behind the batch that was given last, or None where the library has no such thing."""

    def numbers(self, batch: Any) -> bytes:
        """The batch's states as bytes, to tell batches apart."""

    def close(self) -> None:
        """Stop workers."""


Open = Callable[[Path, int, Any], Reader]
"""(data, workers, state or None) → a reader."""


class Server:
    """Answers the driver until its input ends."""

    def __init__(self, *, write: Callable[[Any, Path], None], open_reader: Open) -> None:
        self._write, self._open = write, open_reader
        self._reader: Reader | None = None
        self._opened: tuple[Path, int] | None = None

    def ready(self) -> dict[str, Any]:
        """Nothing: asked once, so that imports are over before anything is measured."""
        return {}

    def write(self, frames: str, to: str) -> dict[str, Any]:
        """Write the dataset in the library's own form."""
        from frames import Frames  # noqa: PLC0415  beside this file

        Path(to).mkdir(parents=True)
        start = time.perf_counter()
        self._write(Frames(Path(frames)), Path(to))
        return {"seconds": time.perf_counter() - start}

    def open(self, data: str, workers: int) -> dict[str, Any]:
        """Make the reader and take the first batch."""
        if self._reader is not None:
            self._reader.close()
        self._opened = (Path(data), workers)
        start = time.perf_counter()
        self._reader = self._open(*self._opened, None)
        next(self._reader)
        return {"first_batch_s": time.perf_counter() - start}

    def slice(self, seconds: float) -> dict[str, Any]:
        """Batches for some seconds."""
        reader = self._at_hand()
        start = time.perf_counter()
        while time.perf_counter() - start < WARM_S:
            next(reader)
        cpu, start, samples = cpu_seconds(), time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < seconds:
            next(reader)
            samples += BATCH
        return {"samples": samples, "seconds": passed, "cpu_s": cpu_seconds() - cpu}

    def memory(self) -> dict[str, Any]:
        """Proportional set size, and how much of it is pages of files, which the kernel may drop."""
        return {"pss": _rollup("Pss:"), "pss_file": _rollup("Pss_File:")}

    def resume(self) -> dict[str, Any]:
        """Go on from a saved state in a new reader: how long to its first batch, and whether it is the one due."""
        reader, opened = self._at_hand(), self._opened
        assert opened is not None
        state = reader.state()
        if state is None:
            return {"resume_s": None}
        due = reader.numbers(next(reader))
        reader.close()
        start = time.perf_counter()
        self._reader = self._open(*opened, state)
        batch = next(self._reader)
        return {"resume_s": time.perf_counter() - start, "exact": self._reader.numbers(batch) == due}

    def _at_hand(self) -> Reader:
        assert self._reader is not None, "the driver opens a reader first"
        return self._reader


def serve(*, write: Callable[[Any, Path], None], open_reader: Open) -> None:
    """Answer the driver's lines; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    server = Server(write=write, open_reader=open_reader)
    for line in sys.stdin:
        words = json.loads(line)
        try:
            answer = getattr(server, words.pop("do"))(**words)
        except Exception as error:  # noqa: BLE001  told to the driver, which names the peer and goes on
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        answers.write(json.dumps(answer) + "\n")


def endless(epoch: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from epoch()


def _session() -> Iterator[Path]:
    """The processes of this session, as folders of /proc."""
    own = os.getsid(0)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == own:
                yield folder
        except ProcessLookupError:
            continue


def cpu_seconds() -> float:
    """Processor time of the session's processes so far, in user and system mode, ended children included."""
    ticks = 0
    for folder in _session():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks * _TICK_S


def _rollup(field: str) -> int:
    total = 0
    for folder in _session():
        try:
            text = (folder / "smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(field))
    return total
