"""Episodes: a list to choose from, and one of them with its cameras and traces on one cursor."""

import polars as pl
import streamlit as st

from dashboards.charts.facts import facts
from dashboards.charts.player import player
from dashboards.parts import (
    EPISODE_PAGE,
    Moment,
    all_counts,
    all_keys,
    choose,
    count,
    one_episode,
    open_lake,
    show_player,
)
from dashboards.pictures import ROUTE
from dashboards.queries.episode import Recorded, Row, in_words, missing, notes, provenance
from dashboards.queries.filters import ORIGINS, OUTCOMES, Filters, list_key
from dashboards.queries.listing import PAGE_SIZE, neighbours, rows
from dashboards.queries.predictions import Predicted, chunk
from schema.lake import Lake


def page() -> None:
    """A list, or the episode that the URL names."""
    moment = open_lake()
    counts, computed = all_counts(moment)
    cameras = tuple(counts.absent["camera"].unique().sort())
    filters = choose(counts.components, key=list_key, outcome=OUTCOMES, origin=ORIGINS, absent=cameras)
    wanted = all_keys(moment, filters)
    if episode_id := st.query_params.get("episode"):
        show_episode(moment, episode_id, wanted, filters=filters)
    else:
        show_list(moment, wanted, filters, computed=computed)


def show_list(moment: Moment, wanted: pl.Series, filters: Filters, *, computed: str) -> None:
    """A page of the episodes that the filters leave; a click opens one."""
    st.title("Episodes")
    st.caption(f"n = {count(len(wanted), 'episode')} · {computed} · {moment.uri}")
    if wanted.is_empty():
        st.info("No episodes match these filters: take one away" if filters.parameters() else "No episodes yet")
        return
    pages = -(-len(wanted) // PAGE_SIZE)
    number = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
    shown = wanted.slice((number - 1) * PAGE_SIZE, PAGE_SIZE)
    table = st.dataframe(
        rows(Lake(moment.uri), shown, version=moment.versions[0]),
        hide_index=True,
        height="content",
        on_select="rerun",
        selection_mode="single-row",
        key="episodes",
        column_order=(
            *("task", "instruction", "duration_s", "num_frames", "outcome", "origin", "embodiment", "source"),
            *("cameras", "recorded_at", "episode_id"),
        ),
        column_config={
            "duration_s": st.column_config.NumberColumn("seconds", format="%.2f"),
            "num_frames": st.column_config.NumberColumn("frames", format="localized"),
            "instruction": st.column_config.TextColumn(width=340),
        },
    )
    if table["selection"]["rows"]:
        st.query_params["episode"] = shown[table["selection"]["rows"][0]]
        st.rerun()


def show_episode(moment: Moment, episode_id: str, wanted: pl.Series, *, filters: Filters) -> None:
    """One episode: title and way on, player, chunk, and where it came from."""
    place, before, after = neighbours(wanted, episode_id)
    heading, steps = st.columns([3, 2], vertical_alignment="center")
    with steps.container(horizontal=True, horizontal_alignment="right"):
        way("List", None, filters, icon="list")
        way("Previous", before, filters, icon="arrow_back", is_dead=before is None)
        way("Next", after, filters, icon="arrow_forward", is_dead=after is None)
    episode, found, told, predicted = one_episode(moment, episode_id)
    heading.markdown(f"## {episode['task'] or 'Episode'}")
    facts = (
        f"{place + 1:,} of {len(wanted):,}" if place is not None else "outside the filters",
        f"{episode['embodiment']} · {episode['source']}",
        f"{episode['num_frames']:,} frames, {episode['duration_s']:.2f} s at {episode['rate_hz']:.4g} Hz",
        {True: "success", False: "failure", None: "outcome unknown"}[episode["success"]],
        {True: "simulated", False: "real", None: "origin unknown"}[episode["is_simulated"]],
    )
    st.caption(" · ".join(facts))
    frame = st.query_params.get("frame", "0")
    overlay = choose_chunk(predicted, found)
    show_player(
        player(
            episode, found, url=ROUTE, instructions=told, frame=int(frame) if frame.isdecimal() else 0, chunk=overlay
        )
    )
    show_origin(episode, told, str(moment))


def choose_chunk(predicted: pl.DataFrame, found: Recorded) -> list[Predicted]:
    """The chunk to lay over the recorded one, where a checkpoint has predicted any."""
    if predicted.is_empty():
        return []
    left, right = st.columns([2, 3])
    uris = predicted["checkpoint_uri"].unique().sort().to_list()
    checkpoint = left.selectbox("Checkpoint", uris, key="checkpoint", bind="query-params")
    starts = predicted.filter(pl.col("checkpoint_uri") == checkpoint)["frame"].unique().sort().to_list()
    start = starts[0]
    if len(starts) > 1:
        start = right.select_slider("Predicted chunk starts at frame", starts, key="chunk", bind="query-params")
    return chunk(predicted, found, checkpoint=checkpoint, start=start)


def show_origin(episode: Row, told: pl.DataFrame, version: str) -> None:
    """Instructions, provenance, and what is not here."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader("Where it came from")
        st.html(facts(provenance(episode)))
        st.caption(version)
    with right:
        st.subheader("Instructions")
        st.html(facts(in_words(told)))
        st.subheader("Not here")
        st.html(facts(missing(episode)))
        if episode["notes"]:
            st.subheader("Notes of the adapter")
            st.html(facts(notes(episode)))


def way(label: str, episode_id: str | None, filters: Filters, *, icon: str, is_dead: bool = False) -> None:
    """A link to another episode, or to the list, with the same filters."""
    more = {"episode": episode_id} if episode_id else {}
    parameters = filters.parameters(**more)
    st.page_link(EPISODE_PAGE, label=label, icon=f":material/{icon}:", query_params=parameters, disabled=is_dead)


page()
