"""The way to a Ray cluster, one for all jobs: the given one, or the one of RAY_ADDRESS, else one of this machine's own.

Workers are fresh processes: they find the packages by PYTHONPATH, and one thread each keeps their sums the same on any
machine. A cluster of this machine's own listens on loopback only and ends with the process.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray

from schema.errors import ConfigError, RobomixError


def start_ray(address: str | None = None) -> None:
    """Join or start the cluster; nothing where this process has one already.

    ConfigError where it cannot be joined, RobomixError where this machine's own does not come up.
    """
    if ray.is_initialized():
        return
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    address = address or os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {} if address else {"_node_ip_address": "127.0.0.1"}
    # Of lost machines Ray would tell on standard output, also behind a --json line; tasks tell of them by errors.
    ray._private.worker._worker_logs_enabled = False  # noqa: SLF001 - nothing public says so
    try:
        with nullcontext() if address else _loopback():
            ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                logging_level=logging.ERROR,  # a warning tells of Ray's tokens, which is nothing to act on
                log_to_driver=False,
                runtime_env={"env_vars": variables},
                **own,
            )
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[-1]
        raise ConfigError(
            f"cannot join the Ray cluster of RAY_ADDRESS={address!r}: {reason}; start it (`ray start --head`), set "
            "RAY_AUTH_MODE=token if it asks for a token, or name no address to use this machine alone"
        ) from error
    except Exception as error:
        if type(error) is not Exception:  # which Ray raises where its own processes do not come up
            raise
        raise RobomixError(
            f"Ray did not start on this machine: {error}; see whether it is overloaded or its memory or disk is full, "
            "and run the same command again"
        ) from error


@contextmanager
def _loopback() -> Iterator[None]:
    """Ray takes 127.0.0.1 as said; else for the machine's outward address, and would listen on all that it has."""
    constants = ray._private.ray_constants  # noqa: SLF001 - nothing public says so
    before, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before  # a cluster that this process joins later may be elsewhere


def num_cpus() -> int:
    """CPUs of the cluster that this process has joined."""
    return int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
