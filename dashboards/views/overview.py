"""Overview: what the lake holds, what it lacks, what could not be taken."""

import polars as pl
import streamlit as st

from dashboards.charts.shares import MAX_BARS, SELECTION, shares, time_unit
from dashboards.parts import EPISODE_PAGE, all_counts, choose, count, open_lake
from dashboards.queries.filters import Filters
from dashboards.queries.overview import Overview, Totals, narrowed, totals

MEASURES = ("hours", "episodes", "frames")


def page() -> None:
    """Everything, top to bottom."""
    moment = open_lake()
    counts, computed = all_counts(moment)
    st.title("Overview")
    st.caption(f"{moment}")
    if counts.components.is_empty():
        st.info("This lake has no episodes yet: take some in with `robomix ingest URI --lake LAKE`")
        show_quarantine(counts.quarantine, computed)
        return
    filters = choose(counts.components)
    found = narrowed(counts, filters)
    if found.components.is_empty():
        st.info("No episodes match these filters: take one away")
        return
    sums = totals(found.components)
    show_totals(sums, found, filters)
    show_components(found.components, sums, filters, computed=computed)
    left, right = st.columns(2, gap="large")
    with left:
        show_absent(found.absent, filters, computed)
    with right:
        show_quarantine(found.quarantine, computed)


def show_totals(sums: Totals, found: Overview, filters: Filters) -> None:
    """The numbers that people ask for first, and the way to their episodes."""
    unit, factor = time_unit(found.components)
    judged = f"{sums.success / sums.judged:.0%}" if sums.judged else "–"
    numbers = (
        (unit.capitalize(), f"{sums.hours * factor:,.3g}" if sums.hours < 100 else f"{sums.hours:,.0f}", ""),
        ("Episodes", f"{sums.episodes:,}", ""),
        ("Frames", f"{sums.frames:,}", ""),
        ("Embodiments × tasks", f"{sums.embodiments} × {sums.tasks}", ""),
        ("Success", judged, f"{sums.success:,} of {sums.judged:,} judged; {sums.episodes - sums.judged:,} unknown"),
        ("Simulated", f"{sums.simulated / sums.episodes:.0%}", f"{sums.simulated:,} of {sums.episodes:,} episodes"),
        ("In quarantine", f"{found.quarantine['records'].sum():,}", "records that could not be taken"),
    )
    for column, (label, value, note) in zip(st.columns(len(numbers)), numbers, strict=True):
        column.metric(label, value, help=note or None)
    with st.container(horizontal=True):
        link(f"See {count(sums.episodes, 'episode')}", filters.parameters())
        if sums.failure:
            link(count(sums.failure, "failure"), filters.parameters(outcome=("failure",)))
        if unknown := sums.episodes - sums.judged:
            link(f"{unknown:,} of unknown outcome", filters.parameters(outcome=("unknown",)))
        if 0 < sums.simulated < sums.episodes:
            link(f"{sums.simulated:,} simulated", filters.parameters(origin=("simulated",)))


def show_components(components: pl.DataFrame, sums: Totals, filters: Filters, *, computed: str) -> None:
    """Bars and rows by source × embodiment × task; a click on either opens the episodes."""
    heading, choice = st.columns([3, 1], vertical_alignment="bottom")
    heading.subheader("By source, embodiment and task")
    with choice.container(horizontal_alignment="right"):
        measure = st.segmented_control(
            "Measure", MEASURES, default="hours", key="measure", bind="query-params", label_visibility="collapsed"
        )
    chart = st.altair_chart(shares(components, measure or "hours"), on_select="rerun", key="shares")
    if picked := chart["selection"].get(SELECTION):
        open_component(picked[0], filters)
    more = f"; the {MAX_BARS} largest are drawn" if components.height > MAX_BARS else ""
    st.caption(f"n = {count(sums.episodes, 'episode')} in {count(components.height, 'component')}{more} · {computed}")
    unit, factor = time_unit(components)
    table = st.dataframe(
        components.with_columns(pl.col("cameras").list.len(), pl.col("hours") * factor),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="components",
        column_config={
            "hours": st.column_config.NumberColumn(unit, format="%.2f"),
            "frames": st.column_config.NumberColumn(format="localized"),
            "megabytes": st.column_config.NumberColumn("MB", format="%.1f"),
            "rate_hz": st.column_config.NumberColumn("Hz", format="%.4g"),
        },
    )
    if table["selection"]["rows"]:
        open_component(components.row(table["selection"]["rows"][0], named=True), filters)


def show_absent(absent: pl.DataFrame, filters: Filters, computed: str) -> None:
    """Cameras that robots have and episodes lack."""
    st.subheader("Absent cameras")
    if absent.is_empty():
        st.caption(f"None: every episode has every camera of its robot · {computed}")
        return
    table = st.dataframe(absent, hide_index=True, on_select="rerun", selection_mode="single-row", key="absent_table")
    st.caption(f"n = {count(int(absent['episodes'].sum()), 'absence')} · {computed}")
    if table["selection"]["rows"]:
        row = absent.row(table["selection"]["rows"][0], named=True)
        open_component(row, filters, absent=(row["camera"],))


def show_quarantine(quarantine: pl.DataFrame, computed: str) -> None:
    """What could not be taken, with an example of each kind."""
    st.subheader("Quarantine")
    if quarantine.is_empty():
        st.caption(f"Empty: every record that was found has been taken · {computed}")
        return
    st.dataframe(
        quarantine.select("source", "reason", "records", "message", "raw_uri", "record_index", "stage", "faults"),
        hide_index=True,
        column_config={
            "message": st.column_config.TextColumn("such as", width="large"),
            "faults": st.column_config.NumberColumn(help="Different places in the code"),
        },
    )
    st.caption(f"n = {count(int(quarantine['records'].sum()), 'record')} · {computed} · by source only")


def link(label: str, parameters: dict[str, list[str] | str]) -> None:
    """A way to the episodes of these filters."""
    st.page_link(EPISODE_PAGE, label=label, icon=":material/arrow_forward:", query_params=parameters)


def open_component(row: dict[str, str], filters: Filters, **more: tuple[str, ...]) -> None:
    """Leave for the episodes of one component."""
    chosen = {name: (row[name],) for name in ("source", "embodiment", "task")}
    st.switch_page(EPISODE_PAGE, query_params=filters.parameters(**chosen, **more))


page()
