"""How much of a lake each component is: one bar per source × embodiment × task."""

import altair as alt
import polars as pl

MAX_BARS = 20
SELECTION = "component"
_COMPONENT = ["source", "embodiment", "task"]
_FORMATS = {"hours": ",.2f", "episodes": ",d", "frames": ",d"}
_BAR_PX = 30
_AROUND_PX = 110
"""What legend, axis and its title take of the chart's height."""
_NAMES = alt.Axis(labelLimit=360, labelOverlap=False, ticks=False, domain=False, labelFontSize=12)


def time_unit(components: pl.DataFrame) -> tuple[str, float]:
    """In what to say how long these components are, and how many of it an hour has."""
    return ("hours", 1.0) if components["hours"].sum() >= 1 else ("minutes", 60.0)


def shares(components: pl.DataFrame, measure: str) -> alt.LayerChart | alt.FacetChart:
    """Bars by a measure (hours, episodes or frames), the largest first and at most `MAX_BARS`; a click selects one."""
    unit, factor = time_unit(components)
    shown = (
        components.sort(measure, "source", "embodiment", "task", descending=[True, False, False, False])
        .head(MAX_BARS)
        .select(
            *_COMPONENT,
            "episodes",
            "frames",
            hours=pl.col("hours") * factor,
            label=pl.format("{} · {}", "task", "source"),
        )
    )
    titles = {"hours": unit.capitalize(), "episodes": "Episodes", "frames": "Frames"}
    bars = alt.Chart(shown).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=_NAMES),
        x=alt.X(f"{measure}:Q", title=titles[measure], axis=alt.Axis(grid=True, tickCount=6)),
        tooltip=[
            *_COMPONENT,
            *(alt.Tooltip(name, title=title, format=_FORMATS[name]) for name, title in titles.items()),
        ],
    )
    click = alt.selection_point(name=SELECTION, fields=_COMPONENT)
    return alt.layer(
        bars.mark_bar(cornerRadiusEnd=3, height={"band": 0.72}, cursor="pointer")
        .encode(
            color=alt.Color("embodiment:N", title=None, legend=alt.Legend(orient="top", direction="horizontal")),
            opacity=alt.condition(click, alt.value(1.0), alt.value(0.45)),
        )
        .add_params(click),
        bars.mark_text(align="left", dx=5).encode(text=alt.Text(f"{measure}:Q", format=_FORMATS[measure])),
    ).properties(height=_BAR_PX * max(1, shown.height) + _AROUND_PX)
