"""Facts about one thing as a list of names and values, in full: long paths break instead of being cut off."""

from html import escape

import polars as pl

_STYLE = (
    "display:grid;grid-template-columns:max-content minmax(0,1fr);gap:0.35rem 1.25rem;margin:0;padding:0;"
    "font-size:0.9rem;line-height:1.35"
)


def facts(pairs: pl.DataFrame) -> str:
    """HTML for the first two columns of a table, all text escaped."""
    rows = (
        f'<dt style="opacity:0.62;margin:0;padding:0">{escape(str(name))}</dt>'
        f'<dd style="margin:0;padding:0;overflow-wrap:anywhere">{escape(str(value))}</dd>'
        for name, value in pairs.select(pl.nth(0, 1)).iter_rows()
    )
    return f'<dl style="{_STYLE}">{"".join(rows)}</dl>'
