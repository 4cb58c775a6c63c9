"""Ray for training: joined where a cluster runs, else started on this machine.

Workers are fresh processes: they find the packages by PYTHONPATH, and one thread each keeps their sums the same on any
machine.
"""

import logging
import os
from pathlib import Path

import ray

from schema.errors import ConfigError

_STATE_TRACKING = "RAY_TRAIN_ENABLE_STATE_TRACKING"
"""Ray Train asks the dashboard for its own state, and floods the log where there is none."""


def start_ray(*, workers: int) -> None:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine; nothing where one runs already.

    Raises:
        ConfigError: the cluster cannot be joined, or has too few CPUs for so many workers.
    """
    os.environ.setdefault(_STATE_TRACKING, "0")
    if not ray.is_initialized():
        _start()
    there = int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]
    if there < workers:
        raise ConfigError(f"found {there} CPUs in the Ray cluster, expected one for each of {workers} workers")


def has_gpus() -> bool:
    """Whether the cluster has any GPU; then each worker takes one."""
    return bool(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]


def _start() -> None:
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    try:
        ray.init(
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            runtime_env={"env_vars": variables},
        )
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        address = os.environ.get("RAY_ADDRESS")
        reason = str(error.__cause__ or error).strip().splitlines()[-1]
        raise ConfigError(
            f"cannot join the Ray cluster of RAY_ADDRESS={address!r}: {reason}; start it (`ray start --head`), or "
            "unset RAY_ADDRESS to use this machine alone"
        ) from error
