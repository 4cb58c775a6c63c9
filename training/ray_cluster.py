"""Ray for training: enough CPUs for the workers, or one message."""

import os

import ray

from schema import cluster
from schema.errors import ConfigError

_STATE_TRACKING = "RAY_TRAIN_ENABLE_STATE_TRACKING"
"""Ray Train asks the dashboard for its own state, and floods the log where there is none."""


def start_ray(*, workers: int) -> None:
    """Join or start the cluster.

    Raises:
        ConfigError: the cluster cannot be joined, or has too few CPUs for so many workers.
    """
    os.environ.setdefault(_STATE_TRACKING, "0")
    cluster.start_ray()
    there = cluster.num_cpus()
    if there < workers:
        raise ConfigError(f"found {there} CPUs in the Ray cluster, expected one for each of {workers} workers")


def has_gpus() -> bool:
    """Whether the cluster has any GPU; then each worker takes one."""
    return bool(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
