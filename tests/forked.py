"""Processes that begin with what a driver of robomix imports: forked by a server that has imported it once.

They are processes like any other, to be killed at any moment, but each would else spend three seconds on imports.
"""

import atexit
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import pytest

_TESTS_OWN = ("AWS_", "FSSPEC_", "RAY_")


@cache
def _server() -> ForkServerContext:
    """Started once, in an environment that is no test's own: some of it is read as libraries are imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ingest.job", "ingest.formats.aloha", "recipe_verbs", "robomix", "s3fs"])
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(_TESTS_OWN)]:
            patch.delenv(name)
        patch.setenv("RAY_AUTH_MODE", "disabled")
        forkserver.ensure_running()
    return context


def pool(processes: int) -> ProcessPoolExecutor:
    """So many processes with the environment of now."""
    return ProcessPoolExecutor(
        processes, mp_context=_server(), initializer=_begin, initargs=(dict(os.environ), str(Path.cwd()))
    )


class Forked:
    """A process that runs `script` as Python, with these words behind its name; asked like a `subprocess.Popen`."""

    def __init__(self, script: str, words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        self._said = TemporaryDirectory()
        self._process = _server().Process(target=_run, args=(script, list(words), str(cwd), dict(env), self._said.name))
        self._process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.join()
        self._said.cleanup()

    @property
    def returncode(self) -> int | None:
        """The code that it ended with, less than 0 by a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it wrote to standard output and error."""
        self._process.join(timeout)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired("a forked driver", timeout or 0)
        out, err = (Path(self._said.name, name).read_text(encoding="utf-8") for name in ("out", "err"))
        return out, err


def _begin(env: Mapping[str, str], cwd: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)


def _run(script: str, words: list[str], cwd: str, env: Mapping[str, str], said: str) -> None:
    import sys  # noqa: PLC0415 - in the process

    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        to = os.open(Path(said, name), os.O_CREAT | os.O_WRONLY)
        os.dup2(to, stream.fileno())
    _begin(env, cwd)
    sys.argv = ["robomix", *words]
    try:
        exec(script, {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()  # which a process of multiprocessing leaves out, and by which Ray says good-bye
