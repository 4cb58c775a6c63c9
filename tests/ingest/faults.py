"""Faults in the worker processes of an ingest: what runs in place of `ingest.bundle.run_bundle`.

Each is a function inside a function, which Ray ships to its workers by value.
"""

from collections.abc import Callable
from typing import Any

from ingest.plan import PlannedBundle
from schema.commit import Bundle

RunBundle = Callable[[Any, PlannedBundle], Bundle]


def reading(fault: Callable[[Callable[[], Any], Any], Any]) -> RunBundle:
    """A worker whose format reads a record by `fault(read, record)`, where `read()` is the real thing."""

    def run(job, bundle):
        import ingest.bundle as module  # noqa: PLC0415 - in the worker

        find = module.format_named
        real = find(job.format)

        class Reader:
            NAME, VERSION = real.NAME, real.VERSION

            @staticmethod
            def read(location, record):
                return fault(lambda: real.read(location, record), record)

        module.format_named = lambda _: Reader
        try:
            return module.run_bundle(job, bundle)
        finally:
            module.format_named = find

    return run


def replacing(owner: str, name: str, make: Callable[[Any], Any]) -> RunBundle:
    """A worker where `ingest.bundle`'s `owner.name` is `make(the real one)` while a bundle runs."""

    def run(job, bundle):
        import ingest.bundle as module  # noqa: PLC0415 - in the worker

        holder = getattr(module, owner)
        real = getattr(holder, name)
        setattr(holder, name, make(real))
        try:
            return module.run_bundle(job, bundle)
        finally:
            setattr(holder, name, real)

    return run


def at_work(folder: str, environment: dict[str, str]) -> RunBundle:
    """A worker of this environment that has a file of its process id in `folder` for as long as it does a bundle."""

    def run(job, bundle):
        import os  # noqa: PLC0415 - in the worker
        from pathlib import Path  # noqa: PLC0415

        import ingest.bundle as module  # noqa: PLC0415

        os.environ.update(environment)
        mark = Path(folder, str(os.getpid()))
        mark.touch()
        try:
            return module.run_bundle(job, bundle)
        finally:
            mark.unlink(missing_ok=True)

    return run
