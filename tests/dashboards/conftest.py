"""A small lake with everything that the pages show, the pages in a tester, and a real server with a real browser."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from streamlit.testing.v1 import AppTest

from schema.lake import Lake
from schema.tables import PREDICTIONS, QUARANTINE
from tests.lakes import make_episode, make_lake, quarantine_row, store

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
CHECKPOINT = "file:///runs/tiny/step_10"


def append(lake: Lake, name: str, rows: list[dict], schema: pa.Schema) -> None:
    lake.create_table(name)
    write_deltalake(lake.path(name), pa.Table.from_pylist(rows, schema=schema), mode="append")


def add_predictions(lake: Lake, episode_id: str, *, starts: tuple[int, ...] = (0, 10)) -> None:
    names = ["action.joint_position.shoulder_pan", "action.joint_position.elbow", "action.gripper.gripper"]
    rows = [
        {
            "checkpoint_uri": CHECKPOINT,
            "episode_id": episode_id,
            "frame": start,
            "dimension": name,
            "values": [0.5] * 8,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
            "format_version": 1,
        }
        for start in starts
        for name in names
    ]
    append(lake, "predictions", rows, PREDICTIONS)


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Twelve episodes of two robots × two tasks, one that lacks a camera, one with predictions, some quarantine."""
    folder = tmp_path_factory.mktemp("dashboards")
    lake = make_lake(folder, num_episodes=3, num_frames=40)
    whole = make_episode(90, source="other", num_frames=20)
    partial = replace(
        whole,
        cameras={"base": whole.cameras["base"]},
        absent_cameras={"left_wrist": "the log has no such stream"},
        not_stored={"depth": 20},
        success=False,
        is_simulated=False,
    )
    store(lake, folder, [partial], bundle_id="partial")
    append(lake, "quarantine", [quarantine_row("record-7", source="other")], QUARANTINE)
    add_predictions(lake, first(lake))
    return lake


def first(lake: Lake) -> str:
    """The episode that has predictions: of ur5e, with all cameras."""
    return make_episode(0, num_frames=40).episode_id


@pytest.fixture
def empty_lake(tmp_path: Path) -> Lake:
    return Lake.open_or_create(str(tmp_path / "lake"))


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Opens a page over a lake with parameters in its URL, as the app does."""

    def opened(uri: str, page: str = "overview", **parameters: str | list[str]) -> AppTest:
        monkeypatch.setenv("ROBOMIX_LAKE", uri)
        tester = AppTest.from_file(str(ROOT / "dashboards/app.py"), default_timeout=60)
        tester.query_params.update(parameters)
        if page != "overview":
            tester.switch_page(f"views/{page}.py")
        return tester.run()

    return opened


@pytest.fixture(scope="session")
def server(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server over the lake."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    start = f"from dashboards.serve import serve; serve({lake.uri!r}, port={port}, open_browser=False)"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", start], cwd=ROOT, stdout=stream, stderr=stream, env={**os.environ, "NO_PROXY": "*"}
        )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            assert process.poll() is None, log.read_text()
            try:
                with urlopen(f"{address}/_stcore/health", timeout=5):
                    break
            except (URLError, ConnectionError):
                time.sleep(0.25)
        else:
            pytest.fail(f"the server did not come up: {log.read_text()}")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
