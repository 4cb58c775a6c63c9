"""Each page in Streamlit's tester: it opens, filters, and says what is wrong in one message."""

import pytest

from tests.dashboards.conftest import first
from tests.lakes import make_lake

PAGES = ("overview", "episode")


def metrics(page):
    return {one.label: one.value for one in page.metric}


def only_error(page):
    assert not page.exception
    assert len(page.error) == 1
    return page.error[0].value


def test_overview_counts_the_lake(lake, open_page):
    page = open_page(lake.uri)
    assert not page.exception
    assert metrics(page) | {"Episodes": "13", "Frames": "500", "In quarantine": "1", "Success": "0%"} == metrics(page)
    assert "version 2" in page.caption[0].value


def test_overview_filters_by_the_url(lake, open_page):
    page = open_page(lake.uri, embodiment="ur5e", task="push block")
    assert metrics(page)["Episodes"] == "3"


def test_overview_filters_by_its_widgets(lake, open_page):
    page = open_page(lake.uri)
    page.multiselect(key="source").select("other").run()
    assert metrics(page)["Episodes"] == "1"


def test_overview_ignores_words_of_the_url_that_mean_nothing(lake, open_page):
    page = open_page(lake.uri, source="nowhere")
    assert not page.exception
    assert metrics(page)["Episodes"] == "13"


def test_overview_without_a_match_says_so(lake, open_page):
    page = open_page(lake.uri, source="other", task="push block")
    assert "No episodes match" in page.info[0].value


def test_overview_shows_examples_of_quarantine(lake, open_page):
    tables = [one.value for one in open_page(lake.uri).dataframe]
    (quarantine,) = [one for one in tables if "message" in one.columns]
    assert quarantine["message"].to_list() == ["record-7 is broken"]


def test_overview_of_an_empty_lake_says_what_to_do(empty_lake, open_page):
    page = open_page(empty_lake.uri)
    assert not page.exception
    assert "robomix ingest" in page.info[0].value


def test_episodes_of_an_empty_lake_say_so(empty_lake, open_page):
    page = open_page(empty_lake.uri, "episode")
    assert not page.exception
    assert page.info[0].value == "No episodes yet"


@pytest.mark.parametrize("page", PAGES)
def test_no_lake_is_one_message(tmp_path, open_page, page):
    assert "no lake at" in only_error(open_page(str(tmp_path / "nothing"), page))


@pytest.mark.parametrize("page", PAGES)
def test_no_name_of_a_lake_is_one_message(open_page, monkeypatch, page):
    monkeypatch.setattr("sys.argv", ["app.py"])
    assert "robomix dash" in only_error(open_page("", page))


@pytest.mark.parametrize("page", PAGES)
def test_a_broken_table_is_one_message(tmp_path, open_page, page):
    lake = make_lake(tmp_path, num_episodes=1)
    for log in (tmp_path / "lake/episodes/_delta_log").glob("*.json"):
        log.write_text("{broken")
    assert "cannot be read" in only_error(open_page(lake.uri, page))


@pytest.mark.parametrize("page", PAGES)
def test_a_missing_file_of_the_catalogue_is_one_message(tmp_path, open_page, page):
    lake = make_lake(tmp_path, num_episodes=1)
    for file in (tmp_path / "lake/episodes").glob("*.parquet"):
        file.unlink()
    assert "lake cannot be read" in only_error(open_page(lake.uri, page))


def test_episodes_are_listed_and_filtered(lake, open_page):
    page = open_page(lake.uri, "episode", absent="left_wrist")
    assert not page.exception
    assert page.dataframe[0].value["cameras"].to_list() == ["1, 1 absent"]


def test_an_episode_opens_with_its_chunk(lake, open_page):
    page = open_page(lake.uri, "episode", episode=first(lake), chunk="10")
    assert not page.exception
    assert not page.error
    assert page.select_slider(key="chunk").value == 10
    assert "40 frames" in page.caption[0].value


def test_an_episode_without_predictions_offers_no_chunk(lake, open_page):
    page = open_page(lake.uri, "episode", sources="other", episode=_other(lake))
    assert not page.exception
    assert not page.selectbox
    assert "1 of 1" in page.caption[0].value
    assert "failure" in page.caption[0].value


def test_an_unknown_episode_is_one_message(lake, open_page):
    assert "no episode 'nope'" in only_error(open_page(lake.uri, "episode", episode="nope"))


@pytest.mark.parametrize("ending", ["tar", "parquet"])
def test_an_episode_whose_shard_is_gone_is_one_message(tmp_path, open_page, ending):
    lake = make_lake(tmp_path, num_episodes=1)
    for file in (tmp_path / "lake/shards").glob(f"*/*.{ending}"):
        file.unlink()
    episode_id = lake.episodes().collect()["episode_id"][0]
    assert f".{ending} is missing" in only_error(open_page(lake.uri, "episode", episode=episode_id))


def _other(lake):
    rows = lake.episodes().collect()
    return rows.filter(rows["source"] == "other")["episode_id"][0]
