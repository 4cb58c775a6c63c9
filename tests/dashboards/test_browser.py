"""The pages in a real browser: what Streamlit's tester cannot see (scripts, pictures, clicks on rows, the URL)."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from schema.lake import Lake
from tests.dashboards.conftest import CHROMIUM, ROOT, first

pytestmark = pytest.mark.slow

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT_MS = 40_000
LEFT = "(cursor) => cursor.getBoundingClientRect().left"
SHOWN = "(canvas) => canvas.dataset.frame + canvas.toDataURL()"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"no browser at {CHROMIUM}: install it with `apt-get install chromium` (`.ci/run` does)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def browser_page(browser: Browser, server: str) -> Iterator[Page]:
    """A page of its own, which each test leads where it wants it."""
    page = browser.new_page(base_url=server, viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    yield page
    page.close()


@pytest.fixture
def player(browser_page: Page, lake: Lake) -> Locator:
    """The player of the episode that has predictions, at its frame 3, with its pictures drawn."""
    browser_page.goto(f"/episode?episode={first(lake)}&frame=3")
    player = browser_page.locator(".player")
    expect(player.locator("canvas")).to_have_count(2)
    for camera in player.locator("canvas").all():
        expect(camera).to_have_attribute("data-frame", "3")
    return player


def test_overview_opens_filters_through_the_url_and_leads_to_the_episodes(browser_page):
    asked = []
    browser_page.on("request", lambda request: asked.append(request.url))
    browser_page.goto("/?source=other")
    expect(browser_page.get_by_text("n = 1 episode in 1 component")).to_be_visible()
    only_bar = browser_page.locator(".mark-rect path").last
    expect(only_bar).to_be_visible()
    assert only_bar.bounding_box()["height"] > 8, "legend and axis leave it no room"
    browser_page.get_by_role("link", name="See 1 episode").click()
    expect(browser_page.get_by_text("n = 1 episode ·")).to_be_visible()
    assert browser_page.url.endswith("/episode?sources=other")
    hosts = {urlsplit(url).hostname for url in asked if url.startswith("http")}
    assert hosts == {"127.0.0.1"}, "the pages ask nobody but their own server"


def test_a_bar_and_a_row_lead_down_to_one_episode(browser_page):
    browser_page.goto("/")
    browser_page.locator(".mark-rect path").last.click()
    expect(browser_page.get_by_text("n = 1 episode ·")).to_be_visible()
    for word in ("sources=other", "embodiments=ur5e", "tasks=put"):
        assert word in browser_page.url
    browser_page.locator("[data-testid=stDataFrame]").click(position={"x": 16, "y": 52})
    expect(browser_page.get_by_text("absent: the log has no such stream")).to_be_visible()
    expect(browser_page.locator(".player .absent")).to_have_text("the log has no such stream")
    expect(browser_page.get_by_text("1 of 1 ·")).to_be_visible()
    assert "episode=" in browser_page.url
    assert "sources=other" in browser_page.url


def test_the_cursor_moves_every_picture_and_every_line(browser_page, player):
    canvases, cursors = player.locator("canvas"), player.locator(".panels .cursor")
    before = [cursor.evaluate(LEFT) for cursor in cursors.all()]
    pictures = [camera.evaluate(SHOWN) for camera in canvases.all()]
    assert len(before) == 2, "one for each panel"
    browser_page.keyboard.press("Shift+ArrowRight")
    browser_page.keyboard.press("ArrowRight")
    for camera in canvases.all():
        expect(camera).to_have_attribute("data-frame", "14")
    moved = {round(cursor.evaluate(LEFT) - left, 2) for cursor, left in zip(cursors.all(), before, strict=True)}
    assert len(moved) == 1, "all lines stand at the same time"
    assert moved.pop() > 0
    assert all(camera.evaluate(SHOWN) != old for camera, old in zip(canvases.all(), pictures, strict=True))
    expect(player.locator(".now")).to_contain_text("14 / 39")


def test_a_click_on_a_trace_seeks_and_play_runs_to_the_end(player):
    plot = player.locator(".panels .plot").first
    box = plot.bounding_box()
    plot.click(position={"x": box["width"] / 2, "y": 10})
    expect(player.locator(".now")).to_contain_text("20 / 39")
    player.get_by_role("button", name="Play").click()
    expect(player.locator("canvas").first).to_have_attribute("data-frame", "39")
    expect(player.get_by_role("button", name="Play")).to_be_visible()


def test_a_predicted_chunk_is_drawn_over_the_recorded_one(player):
    expect(player.locator(".chunk path.predicted")).to_have_count(3)
    expect(player.locator(".panels path.predicted")).to_have_count(3)
    expect(player.locator(".chunk h4")).to_contain_text("frames 0 to 7")


def test_the_next_episode_is_one_click_away(browser_page, player):
    browser_page.get_by_role("link", name="Next").click()
    expect(player.locator("canvas").first).to_have_attribute("data-frame", "0")
    expect(player.locator(".now")).to_contain_text("0 / 39")
    expect(player.locator(".chunk h4")).to_have_count(0)


def test_the_menu_is_ours_whichever_page_is_opened_first():
    """Streamlit takes a folder called `pages` beside the app for a menu of its own, until the app has run once."""
    assert not (ROOT / "dashboards" / "pages").exists()
