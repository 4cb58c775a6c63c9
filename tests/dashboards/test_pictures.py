"""The route that serves stored pictures."""

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboards.pictures import MAX_FRAMES, ROUTE, Pictures, routes
from schema.errors import SchemaError
from schema.lake import Lake
from tests.dashboards.conftest import first
from tests.lakes import make_episode, make_lake


def test_pictures_come_byte_for_byte(lake):
    data = Pictures(lake)(first(lake), "c1", start=5, stop=8)
    sizes = np.frombuffer(data[: 3 * 2 * 4], "<u4")
    ends = 3 * 2 * 4 + np.cumsum(sizes)
    jpegs = [data[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    cameras = make_episode(0, num_frames=40).cameras
    assert jpegs == [cameras[name][frame].jpeg for frame in (5, 6, 7) for name in ("base", "left_wrist")]
    assert len(data) == ends[-1]


@pytest.mark.parametrize(("start", "stop"), [(0, 41), (5, 5), (0, MAX_FRAMES + 1)])
def test_frames_that_are_not_there_are_refused(lake, start, stop):
    with pytest.raises(SchemaError, match="ask for 1 to"):
        Pictures(lake)(first(lake), "c1", start=start, stop=stop)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{ROUTE}/nope/c1/0-4", "no episode 'nope'"),
        (f"{ROUTE}/{make_episode(0, num_frames=40).episode_id}/c9/0-4", "of conversion 'c9'"),
    ],
)
def test_what_the_catalogue_does_not_list_is_not_served(lake, path, message):
    answer = TestClient(Starlette(routes=routes(lake))).get(path)
    assert answer.status_code == 404
    assert message in answer.text


def test_a_shard_that_is_gone_is_told(tmp_path):
    lake = make_lake(tmp_path, num_episodes=1)
    (tar,) = (tmp_path / "lake").glob("shards/*/*.tar")
    tar.unlink()
    client = TestClient(Starlette(routes=routes(Lake(lake.uri))))
    episode_id = lake.episodes().collect()["episode_id"][0]
    answer = client.get(f"{ROUTE}/{episode_id}/c1/0-4")
    assert answer.status_code == 404
    assert "is missing from" in answer.text
