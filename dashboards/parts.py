"""What pages share: the lake at hand, filters in the URL, cached queries, and the player."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

import polars as pl
import streamlit as st

from dashboards.charts.player import assets
from dashboards.queries.episode import Recorded, Row, instructions, recorded, row
from dashboards.queries.filters import Filters
from dashboards.queries.listing import keys
from dashboards.queries.overview import Overview, overview
from dashboards.queries.predictions import predictions
from schema.errors import RobomixError
from schema.lake import Lake

OVERVIEW_PAGE = "views/overview.py"
EPISODE_PAGE = "views/episode.py"
FAULTS = (RobomixError, OSError, ValueError, ImportError, pl.exceptions.PolarsError)
"""What opening and reading a lake raises where the lake, its store or its keys are at fault."""
_MOMENT_S = 5
"""How long a page goes on with the versions it knows."""
_MAX_FOREIGN = 300
"""Characters that are told of an error that is not worded by robomix."""
_TABLES = ("episodes", "quarantine", "annotations", "predictions")


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A lake as it was found: what is cached is cached for these versions."""

    uri: str
    versions: tuple[int | None, ...]
    committed_at: str

    def __str__(self) -> str:
        return f"{self.uri} · version {self.versions[0]}, committed {self.committed_at}"


def open_lake() -> Moment:
    """The lake at hand as it is now; where it cannot be opened, one message instead of the page."""
    uri = os.environ.get("ROBOMIX_LAKE") or (sys.argv[1] if len(sys.argv) > 1 else "")
    if not uri:
        refuse("No lake is named: start the pages with `robomix dash LAKE`")
    try:
        return st.cache_data(ttl=_MOMENT_S, show_spinner=False)(_moment)(uri)
    except FAULTS as error:
        refuse(error)


def refuse(error: object) -> NoReturn:
    """Say in one message why there is nothing to see, and end the page."""
    text = str(error)
    if isinstance(error, Exception) and not isinstance(error, RobomixError):
        first_line = text.partition("\n")[0][:_MAX_FOREIGN]
        text = f"The lake cannot be read ({type(error).__name__}: {first_line}): `robomix lake verify LAKE` tells more"
    st.error(text, icon=":material/error:")
    st.stop()


def all_counts(moment: Moment) -> tuple[Overview, str]:
    """The lake's overview, and when it was computed, in words."""
    try:
        found, at = st.cache_data(max_entries=4, show_spinner=False)(_overview)(moment)
    except FAULTS as error:
        refuse(error)
    return found, f"version {moment.versions[0]}, computed {at}"


def all_keys(moment: Moment, filters: Filters) -> pl.Series:
    """The ids of all episodes that the filters leave."""
    try:
        return st.cache_resource(max_entries=16, show_spinner=False)(_keys)(moment, filters)
    except FAULTS as error:
        refuse(error)


def one_episode(moment: Moment, episode_id: str) -> tuple[Row, Recorded, pl.DataFrame, pl.DataFrame]:
    """An episode's row, frames, instructions and predictions; one message where it is not there."""
    try:
        return st.cache_resource(max_entries=8, show_spinner=False)(_episode)(moment, episode_id)
    except FAULTS as error:
        refuse(error)


def count(number: int, noun: str) -> str:
    """Such as "1 episode" and "1,200 episodes"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def choose(components: pl.DataFrame, *, key: Callable[[str], str] = str, **others: tuple[str, ...]) -> Filters:
    """Filters in the sidebar, each a parameter of the URL: the components' columns, and `others` with their choices."""
    options = {name: tuple(components[name].unique().sort()) for name in ("source", "embodiment", "task")} | others
    titles = {"absent": "Absent camera"}
    with st.sidebar:
        chosen = {
            name: tuple(
                st.multiselect(
                    titles.get(name, name.capitalize()),
                    choices,
                    key=key(name),
                    bind="query-params",
                    placeholder="Any" if name == "absent" else "All",
                )
            )
            for name, choices in options.items()
        }
    return Filters(**chosen)


def show_player(data: dict[str, Any]) -> None:
    """Cameras and traces on one cursor."""
    html, css, js = assets()
    st.components.v2.component("robomix_player", html=html, css=css, js=js)(data=data, key="player")


def _moment(uri: str) -> Moment:
    lake = Lake.open(uri)
    table = lake.table("episodes")
    assert table is not None
    committed = datetime.fromtimestamp(table.history(1)[0]["timestamp"] / 1000, UTC)
    versions = (int(table.version()), *(lake.version(name) for name in _TABLES[1:]))
    return Moment(uri=lake.uri, versions=versions, committed_at=f"{committed:%Y-%m-%d %H:%M} UTC")


def _overview(moment: Moment) -> tuple[Overview, str]:
    return overview(Lake(moment.uri), version=moment.versions[0]), f"{datetime.now(UTC):%H:%M:%S} UTC"


def _keys(moment: Moment, filters: Filters) -> pl.Series:
    return keys(Lake(moment.uri), filters, version=moment.versions[0])


def _episode(moment: Moment, episode_id: str) -> tuple[Row, Recorded, pl.DataFrame, pl.DataFrame]:
    lake = Lake(moment.uri)
    found = row(lake, episode_id, version=moment.versions[0])
    return found, recorded(lake, found), instructions(lake, episode_id), predictions(lake, episode_id)
