"""Damaged logs of every format: refused by a message that names the file, or taken as another episode.

Never may a driver stop with anything but a message, hang, take gigabytes, or take other content under the digest of the
recorded episode. A decoder that crashes takes its process with it, which an ingest outlives (`ingest.tasks`); such
cases are counted. How many mutations of each format is `ROBOMIX_FUZZ`:

    ROBOMIX_FUZZ=2000 ./run test -n0 -s tests/ingest/test_fuzz.py

prints how far it is and a line for each format; killed, it goes on where it was as long as no code has changed.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from schema.digest import digest_bytes
from tests.ingest.fuzz_logs import LOGS

REPO = Path(__file__).parents[2]
BRIEF = 8
COUNT = int(os.environ.get("ROBOMIX_FUZZ", str(BRIEF)))
SILENT_S = 300.0
"""A worker that says nothing for so long, on however busy a machine, hangs; of work it may do `LONGEST_S`."""
_SAVE_EVERY = 100


class Worker:
    """`fuzz_worker` in a process of its own, started anew where a case ended it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._process = folder, None
        self._errors = folder / "stderr.txt"

    def fate(self, name: str, number: int) -> dict:
        """What became of a case; its failures say so where the process died, or hung twice.

        A virtual machine that stands still for seconds has them counted as the case's own.
        """
        fate = self._once(name, number)
        return self._once(name, number) if fate["failures"] and fate["failures"][0].startswith("hangs") else fate

    def _once(self, name: str, number: int) -> dict:
        if self._process is None or self._process.poll() is not None:
            self._start()
        self._process.stdin.write(f"{name}\t{number}\n".encode())
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], SILENT_S)
        line = self._process.stdout.readline() if ready else b""
        if line:
            return json.loads(line)
        self.stop()
        where = self._errors.read_text(errors="replace")[-2500:]
        code = -self._process.returncode
        if not ready or code == signal.SIGXCPU:
            return {"failures": [f"hangs: {where}"]}
        if code > 0 and "in detect" not in where:
            return {"failures": [], "crash": code}  # a worker's, which an ingest outlives
        return {"failures": [f"the driver would die of {code}: {where}"]}

    def _start(self) -> None:
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.ingest.fuzz_worker", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=REPO,
                env={**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
            )
        assert self._process.stdout.readline() == b"ready\n", self._errors.read_text()

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.stdin.close()
            try:
                self._process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()


@dataclass(kw_only=True)
class Tally:
    """How the mutations of one log have ended so far."""

    done: int = 0
    fates: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    failures: list = field(default_factory=list)

    def add(self, number: int, fate: dict) -> None:
        self.done += 1
        self.failures += [f"{number}: {fate.get('file')}: {failure}" for failure in fate["failures"]]
        self.reasons.update(fate.get("refused", []))
        self.fates["crashed"] += "crash" in fate
        self.fates["refused"] += bool(fate.get("refused"))
        self.fates["another"] += bool(fate.get("others")) and not fate.get("refused")
        self.fates["unharmed"] += bool(fate.get("same")) and not fate.get("others") and not fate.get("refused")
        self.fates["failed"] += bool(fate["failures"])

    def line(self, name: str) -> str:
        told = ", ".join(f"{count} {word}" for word, count in self.fates.items())
        return f"{name}: {self.done} of {COUNT}: {told}; {dict(self.reasons.most_common(8))}"


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    started = Worker(tmp_path_factory.mktemp("fuzz"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def code():
    """A digest of all code that could change what becomes of a case."""
    files = [file for folder in ("ingest", "schema", "tests/ingest") for file in (REPO / folder).rglob("*.py")]
    return digest_bytes(*(file.read_bytes() for file in sorted(files)))


@pytest.mark.timeout(300 if COUNT <= BRIEF else 0)
@pytest.mark.parametrize("name", LOGS)
def test_a_damaged_log_is_refused_by_name_or_taken_as_another_episode(worker, code, name, pytestconfig):
    place = f"fuzz/{name.replace(' ', '_')}"
    kept = pytestconfig.cache.get(place, {}) if COUNT > BRIEF else {}
    tally = Tally()
    if kept.get("code") == code:
        tally = Tally(**{key: Counter(v) if isinstance(v, dict) else v for key, v in kept["tally"].items()})
    told = time.monotonic()
    for number in range(tally.done, COUNT):
        tally.add(number, worker.fate(name, number))
        if COUNT > BRIEF and (tally.done % _SAVE_EVERY == 0 or tally.done == COUNT):
            pytestconfig.cache.set(place, {"code": code, "tally": vars(tally)})
            print(f"\n{tally.line(name)} ({time.monotonic() - told:.0f} s)", end="", flush=True)
    assert not tally.failures, "\n".join([tally.line(name), *tally.failures[:20]])
