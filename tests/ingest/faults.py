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
