"""Two drivers at once: neither writes what the other has, and both account for every record."""

import pytest

from schema.lake import Lake
from tests.ingest.driving import aloha_source, assert_sound, closes, contents, ended, run, start

pytest_plugins = ["tests.ingest.ray_cluster"]
pytestmark = pytest.mark.slow

EPISODES = 12


def test_two_drivers_of_the_same_source_store_each_episode_once(cluster, tmp_path):
    source = aloha_source(tmp_path / "logs", EPISODES)
    words = ["ingest", str(source), "--json", "--lake", str(tmp_path / "lake")]

    drivers = [start(words, cluster, driver=kind) for kind in ("ray", "ray", "alone")]
    first, second, third = (ended(driver) for driver in drivers)

    lake = Lake.open(str(tmp_path / "lake"))
    assert (first.code, second.code, third.code) == (0, 0, 0), first.err + second.err + third.err
    assert closes(first.account)
    assert closes(second.account)
    assert closes(third.account)
    assert sum(driver.account["committed"] for driver in (first, second, third)) == EPISODES
    assert lake.scan("episodes").collect().height == lake.annotations().collect().height == EPISODES
    assert_sound(lake)


def test_two_drivers_of_sources_that_overlap_store_each_episode_once(cluster, tmp_path):
    one, other = aloha_source(tmp_path / "one", 8), aloha_source(tmp_path / "other", 8, first=4)
    lake = str(tmp_path / "lake")

    words = [["ingest", str(place), "--json", "--lake", lake] for place in (one, other)]
    drivers = [start(said, cluster, driver=kind) for said, kind in zip(words, ("ray", "alone"), strict=True)]
    first, second = (ended(driver) for driver in drivers)
    again = run(words[1], cluster, driver="alone")

    assert (first.code, second.code, again.code) == (0, 0, 0), first.err + second.err + again.err
    assert closes(first.account)
    assert closes(second.account)
    assert first.account["committed"] + second.account["committed"] == EPISODES
    assert again.account["duplicate"] == 8
    assert len(contents(Lake.open(lake))) == EPISODES
