"""Our loader and its peers on the same frames in one interleaved run, beside the bare loop that is their limit.

    ./run python benchmarks/peers.py [--quick] [--json] [--plot FILE] [--only NAME …] [--cache DIR]

Each reader runs in a process and an environment of its own (made under --cache the first time), in its documented
fast form, with our JPEG decoder where it lets us choose; `benchmarks/peers/with_<name>.py` says how. In each round
every reader has one slice of some seconds while the others are stopped; quoted are medians over the rounds of its
samples/s, and of its ratio to the bare loop within the round, by time and by processor time. A reader that does not
install or fails is named with the reason, and the others go on.
"""

import argparse
import json
import os
import selectors
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from peers_environments import SCRIPTS, SPECS, Spec, python_of, variables
from peers_report import plot, table

WORKERS = (0, 2)
LIMIT = "bare_loop"
ANSWER_S = 900.0
"""A reader that is silent for so long has failed."""


class PeerError(Exception):
    """A reader failed; the message is its own."""


@dataclass(kw_only=True)
class Found:
    """What one reader gave; the lists are by round, the mappings by number of workers."""

    name: str
    title: str
    write_s: float = 0.0
    disk_bytes: int = 0
    rates: dict[int, list[float]] = field(default_factory=dict)
    """Samples a second."""
    cpu: dict[int, list[float]] = field(default_factory=dict)
    """Processor seconds a sample."""
    first_batch_s: dict[int, float] = field(default_factory=dict)
    resume_s: dict[int, float | None] = field(default_factory=dict)
    exact: dict[int, bool] = field(default_factory=dict)
    pss: dict[int, int] = field(default_factory=dict)
    pss_file: dict[int, int] = field(default_factory=dict)
    failed: str | None = None


class Talk:
    """A reader's process; stopped whenever it is not asked."""

    def __init__(self, spec: Spec, python: Path, *, cache: Path) -> None:
        with (cache / f"{spec.name}.log").open("w") as log:
            self._process = subprocess.Popen(
                [python, SCRIPTS / spec.script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=variables(spec, cache),
            )
        self._stdout = selectors.DefaultSelector()
        assert self._process.stdout is not None
        self._stdout.register(self._process.stdout, selectors.EVENT_READ)
        try:
            self.ask("ready")
        except BaseException:
            self.end()
            raise

    def ask(self, do: str, **words: Any) -> dict[str, Any]:
        """Its answer; PeerError where it fails, ends or is silent for too long."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write(json.dumps({"do": do, **words}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"ended before {do!r}; its log says why") from None
        if not self._stdout.select(ANSWER_S):
            raise PeerError(f"no answer to {do!r} within {ANSWER_S:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"ended during {do!r}; its log says why")
        self._signal(signal.SIGSTOP)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{do}: {answer['error']}")
        return answer

    def end(self) -> None:
        """Kill it and its workers."""
        self._signal(signal.SIGKILL)
        self._stdout.close()
        with self._process:  # closes its pipes and waits
            return

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return


def frames_in(cache: Path, *, episodes: int, steps: int) -> Path:
    """The folder of the common frames, made where it is not there yet."""
    folder = cache / "data" / f"{episodes}x{steps}"
    if not (folder / "frames").exists():
        shutil.rmtree(folder / "making", ignore_errors=True)
        words = [sys.executable, SCRIPTS / "frames.py", folder / "making", str(episodes), str(steps)]
        subprocess.run(words, check=True)
        (folder / "making").rename(folder / "frames")
    return folder


def dataset(spec: Spec, python: Path, *, cache: Path, folder: Path) -> dict[str, Any]:
    """Seconds and bytes of the reader's own form of the frames, written by a process of its own if not there yet."""
    written, to = folder / f"{spec.name}.json", folder / spec.name
    if not written.exists():
        shutil.rmtree(to, ignore_errors=True)
        talk = Talk(spec, python, cache=cache)
        try:
            answer = talk.ask("write", frames=str(folder / "frames"), to=str(to))
        finally:
            talk.end()
        size = sum(file.stat().st_size for file in to.rglob("*") if file.is_file())
        written.write_text(json.dumps(answer | {"bytes": size}))
    found: dict[str, Any] = json.loads(written.read_text())
    return found


class Run:
    """All readers, side by side."""

    def __init__(self, words: argparse.Namespace) -> None:
        self.cache: Path = words.cache
        self.seconds, self.rounds = words.seconds, words.rounds
        self.cache.mkdir(parents=True, exist_ok=True)
        self.folder = frames_in(self.cache, episodes=words.episodes, steps=words.steps)
        self._talks: dict[str, Talk] = {}
        self.specs = [spec for spec in SPECS if not words.only or spec.name in {*words.only, LIMIT}]
        self.found = [Found(name=spec.name, title=spec.title) for spec in self.specs]
        self._each(self._write)

    def _each(self, do: Callable[[Spec, Found], None]) -> None:
        """What is to be done to begin with each reader that has not failed."""
        for spec, found in zip(self.specs, self.found, strict=True):
            try:
                if found.failed is None:
                    do(spec, found)
            except (PeerError, subprocess.CalledProcessError) as error:
                self._leave_out(found, error)

    def _write(self, spec: Spec, found: Found) -> None:
        """Environment and dataset."""
        python = python_of(spec, self.cache)
        written = dataset(spec, python, cache=self.cache, folder=self.folder)
        found.write_s, found.disk_bytes = written["seconds"], written["bytes"]

    def _start(self, spec: Spec, found: Found) -> None:
        """A new process, so that no reader inherits memory, threads or open files of an earlier one."""
        self._talks[found.name] = Talk(spec, python_of(spec, self.cache), cache=self.cache)

    def _leave_out(self, found: Found, error: Exception) -> None:
        found.failed = str(error)
        print(f"{found.title} is left out from here on: {error}", file=sys.stderr)
        if talk := self._talks.pop(found.name, None):
            talk.end()

    def ask(self, found: Found, do: str, **words: Any) -> dict[str, Any] | None:
        """Its answer, or None from one that has failed, now or before."""
        talk = self._talks.get(found.name)
        if talk is None:
            return None
        try:
            return talk.ask(do, **words)
        except PeerError as error:
            self._leave_out(found, error)
            return None

    def measure(self, workers: int) -> None:
        """Start, open, rounds, memory, resume."""
        self._each(self._start)
        for found in self.found:
            if answer := self.ask(found, "open", data=str(self.folder / found.name), workers=workers):
                found.first_batch_s[workers] = answer["first_batch_s"]
        for number in range(self.rounds):
            print(f"{workers} workers, round {number + 1} of {self.rounds}", file=sys.stderr)
            turn = number % len(self.found)
            for found in self.found[turn:] + self.found[:turn]:
                if answer := self.ask(found, "slice", seconds=self.seconds):
                    found.rates.setdefault(workers, []).append(answer["samples"] / answer["seconds"])
                    found.cpu.setdefault(workers, []).append(answer["cpu_s"] / max(1, answer["samples"]))
        for found in self.found:
            if answer := self.ask(found, "memory"):
                found.pss[workers], found.pss_file[workers] = answer["pss"], answer["pss_file"]
            if answer := self.ask(found, "resume"):
                found.resume_s[workers] = answer["resume_s"]
                found.exact[workers] = answer.get("exact", False)
        self.end()

    def end(self) -> None:
        """Kill every reader."""
        while self._talks:
            self._talks.popitem()[1].end()


def rows(found: list[Found], *, samples: int) -> list[dict[str, Any]]:
    """Per reader what the table shows: medians, and ratios to the limit within each round."""
    limit = next(one for one in found if one.name == LIMIT)
    if limit.failed:
        raise PeerError(f"the bare loop itself failed ({limit.failed}), and there is nothing to compare with")
    result = []
    for one in found:
        row: dict[str, Any] = asdict(one) | {"write_rate": samples / one.write_s if one.write_s else None}
        for workers, rates in one.rates.items():
            ratios = [rate / most for rate, most in zip(rates, limit.rates[workers], strict=False)]
            costs = [cost / least for cost, least in zip(one.cpu[workers], limit.cpu[workers], strict=False)]
            row[f"at_{workers}"] = {
                "rate": statistics.median(rates),
                "ratio": statistics.median(ratios),
                "ratio_range": (min(ratios), max(ratios)),
                "cpu_ratio": statistics.median(costs),
                "cpu_range": (min(costs), max(costs)),
            }
        result.append(row)
    return result


def main() -> None:
    """Measure, print the table, keep the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "robomix-benchmarks")
    parser.add_argument("--only", nargs="+", choices=[spec.name for spec in SPECS], help="and the bare loop")
    parser.add_argument("--seconds", type=float, default=4.0, help="per slice")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--steps", type=int, default=100, help="per episode")
    parser.add_argument("--quick", action="store_true", help="16 episodes, 3 rounds of slices of 1 s")
    parser.add_argument("--json", action="store_true", help="all numbers, in place of the table")
    parser.add_argument("--plot", type=Path, help="a PNG")
    words = parser.parse_args()
    if words.quick:
        words.seconds, words.rounds, words.episodes = 1.0, 3, 16
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    start = time.perf_counter()
    run = Run(words)
    try:
        for workers in WORKERS:
            run.measure(workers)
    finally:
        run.end()
    result = rows(run.found, samples=words.episodes * words.steps)
    print(json.dumps(result, indent=1) if words.json else table(result))
    if words.plot:
        plot(result, words.plot)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
