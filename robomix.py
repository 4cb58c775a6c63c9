"""The command line: one verb per job, each a thin call into the packages. `robomix --help` lists them.

Exit codes: 0 all is well; 1 something must be mended first (one message says what); 2 the command's words are off;
3 the job is done, and some episodes are in quarantine.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from schema.errors import RobomixError

EXIT_PROBLEM, EXIT_QUARANTINE = 1, 3

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
lake_app = typer.Typer(no_args_is_help=True, help="Look at a lake, check it, clean it.")
recipe_app = typer.Typer(no_args_is_help=True, help="See what a recipe would sample; lock it.")
fleet_app = typer.Typer(no_args_is_help=True, help="Simulated robots that record logs in their native formats.")
app.add_typer(lake_app, name="lake")
app.add_typer(recipe_app, name="recipe")
app.add_typer(fleet_app, name="fleet")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False)

LakeOption = Annotated[str, typer.Option("--lake", help="Folder or URI of the lake, such as s3://bucket/lake.")]
JsonOption = Annotated[bool, typer.Option("--json", help="End with one JSON object on a line of its own.")]


@app.callback()
def robomix() -> None:
    """A data engine for robot learning: logs of any robot become one lake, exact mixtures and a trained π0."""


@app.command("ingest")
def ingest_(
    uri: Annotated[str, typer.Argument(help="Folder, file or URI with raw robot logs.")],
    lake: Annotated[str, typer.Option("--lake", help="Folder or URI of the lake; made if it is not there.")] = "",
    source: Annotated[
        str | None, typer.Option(help="Name of the source in the lake; by default the log's own.")
    ] = None,
    embodiment: Annotated[str | None, typer.Option(help="Embodiment by name, or a TOML file of your own.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="Log format, if it is not to be detected.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first so many episodes only.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    json_: JsonOption = False,
) -> None:
    """Take raw robot logs into a lake. The same command again goes on where it was, and takes only what is new."""
    from ingest.job import Request, ingest
    from ingest.report import dry_run_report, report_lines

    request = Request(uri=uri, source=source, embodiment=embodiment, format=format_, limit=limit)
    if dry_run:
        for line in dry_run_report(request, lake_uri=lake or None):
            out.print(line, markup=False)
        return
    if not lake:
        raise typer.BadParameter("name the lake to take the logs into, or ask for a --dry-run", param_hint="--lake")
    with _progress("ingest", "episodes") as progress:
        report = ingest(request, lake_uri=lake, progress=progress)
    for line in report_lines(report):
        (err if json_ else out).print(line, markup=False)
    if json_:
        flat = {**asdict(report), **report.outcomes}
        print(json.dumps({name: value for name, value in flat.items() if name != "outcomes"}))  # noqa: T201
    if report.outcomes["quarantined"]:
        raise typer.Exit(EXIT_QUARANTINE)


@lake_app.command("info")
def lake_info(
    lake: Annotated[str, typer.Argument(help="Folder or URI of the lake.")], json_: JsonOption = False
) -> None:
    """What a lake holds, by source, embodiment and task, and what is in quarantine."""
    from schema.info import info
    from schema.lake import Lake

    found = info(Lake.open(lake))
    if json_:
        print(json.dumps(asdict(found)))  # noqa: T201
        return
    out.print(f"lake {found.lake}, version {found.version}", markup=False)
    _table(found.components, totals=("episodes", "frames", "hours"))
    if found.quarantine:
        out.print("\nin quarantine:")
        _table(found.quarantine)


@lake_app.command("verify")
def lake_verify(
    lake: Annotated[str, typer.Argument(help="Folder or URI of the lake.")], json_: JsonOption = False
) -> None:
    """Read everything again and compare: digests, offsets, counts, tar against Parquet."""
    from schema.lake import Lake
    from schema.verify import verify

    with _progress("verify", "shards") as progress:
        found = verify(Lake.open(lake), progress)
    if json_:
        print(json.dumps(asdict(found)))  # noqa: T201
    else:
        for problem in found.problems:
            out.print(f"✗ {problem}", markup=False)
        size = f"{found.size_bytes / 2**20:,.1f} MiB"
        out.print(
            f"{found.episodes:,} episodes, {found.frames:,} frames, {found.pictures:,} pictures in {found.shards:,} "
            f"shards ({size}): {len(found.problems)} problems"
        )
    if found.problems:
        raise typer.Exit(EXIT_PROBLEM)


@lake_app.command("gc")
def lake_gc(
    lake: Annotated[str, typer.Argument(help="Folder or URI of the lake.")],
    older_than_hours: Annotated[float, typer.Option(min=0, help="Leave younger files alone.")] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List them; remove nothing.")] = False,
) -> None:
    """Remove the files of killed ingests that no episode refers to."""
    from schema.gc import find_garbage, remove
    from schema.lake import Lake

    opened = Lake.open(lake)
    garbage = find_garbage(opened, older_than=timedelta(hours=older_than_hours))
    for item in garbage:
        out.print(f"{item.file}  {item.size_bytes:,} bytes", markup=False)
    if not dry_run:
        remove(opened, garbage)
    verb = "would be removed" if dry_run else "removed"
    out.print(f"{len(garbage)} unreferenced files {verb}, {sum(item.size_bytes for item in garbage):,} bytes")


@fleet_app.command("record")
def fleet_record(
    robot: Annotated[str, typer.Argument(help="Which robot of the fleet, or `all`.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder for the logs.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes of each robot.")] = 10,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    image_size: Annotated[int, typer.Option(min=16, max=1024, help="Pictures of so many pixels squared.")] = 224,
) -> None:
    """Record simulated robots at work, each in its native log format."""
    from fleet.record import ROBOTS, record

    robots = ROBOTS if robot == "all" else (robot,)
    for name in robots:
        with _progress(f"record {name}", "episodes") as progress:
            folder = record(name, out=out_, num_episodes=episodes, seed=seed, image_size=image_size, progress=progress)
        out.print(str(folder), markup=False)


@app.command("demo")
def demo(
    out_: Annotated[Path, typer.Option("--out", help="Folder for everything the demo makes.")] = Path("out/demo"),
    episodes: Annotated[int, typer.Option(min=2, help="Episodes of each robot.")] = 12,
) -> None:
    """The whole product on a simulated fleet: record, ingest, lock, draw batches, look at one."""
    from training.demo import run_demo

    with _progress("demo", "steps") as progress:
        result = run_demo(out_, num_episodes=episodes, progress=progress)
    for title, rows in result.tables.items():
        out.print(f"\n{title}")
        _table(rows)
    for line in result.lines:
        out.print(line, markup=False)


def _table(rows: Any, totals: tuple[str, ...] = ()) -> None:
    """Print a sequence of flat dicts as a table, numbers on the right, with sums of the columns in `totals`."""
    rows = list(rows)
    if not rows:
        out.print("  (none)")
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=bool(totals))
    for name in rows[0]:
        is_number = isinstance(rows[0][name], int | float)
        footer = _cell(sum(row[name] for row in rows)) if name in totals else ""
        table.add_column(name, justify="right" if is_number else "left", footer=footer, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    out.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@contextmanager
def _progress(title: str, unit: str) -> Iterator[Any]:
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


def main() -> None:
    """Run the command line; a fault of the user's data or words is one message and an exit code, never a traceback."""
    try:
        app()
    except RobomixError as error:
        err.print(f"error: {error}", style="red", markup=False)
        for note in getattr(error, "__notes__", ()):
            err.print(f"  {note}", markup=False)
        sys.exit(EXIT_PROBLEM)
    except KeyboardInterrupt:
        err.print("stopped; the same command goes on where it was")
        sys.exit(130)


if __name__ == "__main__":
    main()
