"""What the command line's verbs share: consoles that repeat no credential, tables, bars, words that several take."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from schema.credentials import masked


class _Masking(Console):
    """A console that repeats no credential, whatever an exception or a file says."""

    def print(self, *objects: Any, **style: Any) -> None:
        super().print(*(masked(item) if isinstance(item, str) else item for item in objects), **style)


out = _Masking(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = _Masking(stderr=True, highlight=False, soft_wrap=True)

LakeOption = Annotated[str, typer.Option("--lake", help="Folder or URI of the lake, such as s3://bucket/lake.")]
MovedLakeOption = Annotated[
    str | None, typer.Option("--lake", help="Where the lake is now, if it has moved since it was locked.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="End with one JSON object on a line of its own.")]


def json_line(value: dict[str, Any]) -> None:
    """Print one JSON object on a line of its own, without any credential."""
    print(masked(json.dumps(value)))  # noqa: T201


def rule(title: str) -> None:
    """Print a title above what follows."""
    out.print(f"\n── {title} ──", markup=False)


def table(rows: Any, totals: tuple[str, ...] = ()) -> None:
    """Print a sequence of flat dicts as a table, numbers on the right, with sums of the columns in `totals`."""
    rows = list(rows)
    if not rows:
        out.print("  (none)")
        return
    grid = Table(box=None, pad_edge=False, header_style="bold", show_footer=bool(totals))
    for name in rows[0]:
        is_number = isinstance(rows[0][name], int | float)
        footer = _cell(sum(row[name] for row in rows)) if name in totals else ""
        grid.add_column(name, justify="right" if is_number else "left", footer=footer, no_wrap=True)
    for row in rows:
        grid.add_row(*(_cell(value) for value in row.values()))
    out.print(grid)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@contextmanager
def progress(title: str, unit: str) -> Iterator[Any]:
    """A bar on standard error; gives a function of (done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
