"""A Ray cluster of two nodes on this machine's loopback, in a process of its own, and the loss of its second node.

Ray takes 127.0.0.1 for the machine's own address wherever it joins a cluster; a head that was started on loopback alone
then never answers, and whoever joins it hangs. `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0` (`LOOPBACK`) has both sides mean
what they say.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray.cluster_utils import Cluster

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled"}
_HOST = "127.0.0.1"
_QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 10_000,  # a dead node refuses at once; a slow one is not dead
    "health_check_failure_threshold": 3,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoNodes:
    """A running cluster, and how to lose the second node, whose id is `second`."""

    address: str
    second: str
    process: Any

    @property
    def environment(self) -> dict[str, str]:
        """What a process that joins the cluster needs."""
        return LOOPBACK | {"RAY_ADDRESS": ""}

    def lose_second(self) -> None:
        """Kill all processes of the second node at once (SIGKILL); they are gone on return."""
        self._say("lose")
        assert self.process.stdout.readline() == "lost\n"

    def _say(self, word: str) -> None:
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """A cluster of two CPUs that inherits this process's environment and ends with the block, with all it started."""
    folder = tempfile.mkdtemp(prefix="rx-")  # short: a socket's path in it has 107 bytes
    environment = {**os.environ, **LOOPBACK, "RAY_TMPDIR": folder}
    environment.pop("RAY_ADDRESS", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ingest.two_nodes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        told = process.stdout.readline() if process.stdout else ""
        assert told, "the cluster did not start"
        yield TwoNodes(**json.loads(told), process=process)
        process.communicate(timeout=30)  # the end of its input is its own
    finally:
        process.kill()  # the kernel ends what it started
        process.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def _main() -> None:
    """Start the nodes, say where they are, obey standard input until it ends."""
    node = {"num_cpus": 1, "node_ip_address": _HOST}
    spared = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    head = {**node, **spared, "_system_config": _QUICK_TO_NOTICE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(**node)
    print(json.dumps({"address": cluster.address, "second": second.node_id}), flush=True)
    for line in sys.stdin:
        assert line == "lose\n"
        cluster.remove_node(second, allow_graceful=False)
        print("lost", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _main()
