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
EXIT_STOPPED = 130
"""Ctrl-C, as typer ends it."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
lake_app = typer.Typer(no_args_is_help=True, help="Look at a lake, check it, clean it.")
recipe_app = typer.Typer(no_args_is_help=True, help="See what a recipe would sample; lock it.")
fleet_app = typer.Typer(no_args_is_help=True, help="Simulated robots that record logs in their native formats.")
app.add_typer(lake_app, name="lake")
app.add_typer(recipe_app, name="recipe")
app.add_typer(fleet_app, name="fleet")

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False, soft_wrap=True)

LakeOption = Annotated[str, typer.Option("--lake", help="Folder or URI of the lake, such as s3://bucket/lake.")]
MovedLakeOption = Annotated[
    str | None, typer.Option("--lake", help="Where the lake is now, if it has moved since it was locked.")
]
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
    retry: Annotated[
        str | None, typer.Option(help="Take only what is in quarantine for this reason, such as decode_error.")
    ] = None,
    accept: Annotated[
        list[str] | None, typer.Option(help="Take the source although this convention check contradicts; may repeat.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(envvar="RAY_ADDRESS", help="A running Ray cluster, such as 10.0.0.1:6379.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    json_: JsonOption = False,
) -> None:
    """Take raw robot logs into a lake. The same command again goes on where it was, and takes only what is new."""
    from ingest.job import Request, ingest
    from ingest.report import dry_run_report, report_lines

    words = tuple(accept or ())
    request = Request(
        uri=uri, source=source, embodiment=embodiment, format=format_, limit=limit, retry=retry, accept=words
    )
    if dry_run:
        for line in dry_run_report(request, lake_uri=lake or None):
            out.print(line, markup=False)
        return
    if not lake:
        raise typer.BadParameter("name the lake to take the logs into, or ask for a --dry-run", param_hint="--lake")
    with _progress("ingest", "episodes") as progress:
        report = ingest(request, lake_uri=lake, progress=progress, ray_address=ray_address)
    for line in report_lines(report):
        (err if json_ else out).print(line, markup=False)
    if json_:
        flat = {name: value for name, value in asdict(report).items() if name != "outcomes"}
        flat |= {str(outcome): count for outcome, count in report.outcomes.items()}
        print(json.dumps(flat))  # noqa: T201
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
    for held in found.quarantine:
        title = f"{held['records']} in quarantine: {held['reason']} ({held['source']}, at {held['stage']}), such as"
        out.print(f"{title}\n  {held['example']}", markup=False)


@lake_app.command("verify")
def lake_verify(
    lake: Annotated[str, typer.Argument(help="Folder or URI of the lake.")], json_: JsonOption = False
) -> None:
    """Read everything again and compare: digests, offsets, counts, tar against Parquet, receipts."""
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
            f"shards ({size}), {found.receipts:,} of them with receipts: {len(found.problems)} problems"
        )
    if found.problems:
        raise typer.Exit(EXIT_PROBLEM)


@lake_app.command("trace")
def lake_trace(
    sample: Annotated[str, typer.Argument(help="A sample's name in its tar, or an episode id (its first frame).")],
    lake: LakeOption,
    out_: Annotated[Path | None, typer.Option("--out", help="A PNG of the log's frame beside the stored one.")] = None,
) -> None:
    """Where a sample came from: raw log, bytes, adapter, run, shard; and whether the log still gives it."""
    from ingest.trace import trace
    from schema.lake import Lake

    found = trace(Lake.open(lake), sample)
    for line in found.lines():
        out.print(line, markup=False)
    if out_ is not None:
        found.save(out_)
        out.print(str(out_), markup=False)


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
    format_: Annotated[str | None, typer.Option("--format", help="One of the robot's log formats.")] = None,
    fault: Annotated[str | None, typer.Option(help="Plant this fault in the log, without a word in it.")] = None,
) -> None:
    """Record simulated robots at work, each in its native log format."""
    from fleet.record import ROBOTS, record

    robots = ROBOTS if robot == "all" else (robot,)
    for name in robots:
        with _progress(f"record {name}", "episodes") as progress:
            folder = record(
                name,
                out=out_,
                num_episodes=episodes,
                seed=seed,
                image_size=image_size,
                log_format=format_,
                fault=fault,
                progress=progress,
            )
        out.print(str(folder), markup=False)


@recipe_app.command("plan")
def recipe_plan(
    recipe: Annotated[str, typer.Argument(help="The recipe, a YAML file.")],
    lake: LakeOption,
    steps: Annotated[int, typer.Option(min=1, help="Training steps to plan for.")] = 30_000,
    batch: Annotated[int, typer.Option(min=1, help="Samples per step, over all ranks.")] = 32,
    picture: Annotated[Path | None, typer.Option(help="Draw it too: a .png, .svg or .html.")] = None,
    json_: JsonOption = False,
) -> None:
    """What a recipe would sample from a lake, without reading a picture."""
    from curation import plan_table
    from curation.plan import plan
    from curation.plan_picture import save_picture
    from curation.select import open_recipe
    from schema.lake import Lake

    opened = Lake.open(lake)
    found = plan(open_recipe(recipe, opened), opened, steps=steps, batch=batch)
    if picture is not None:
        save_picture(found, picture)
    if json_:
        print(json.dumps(asdict(found)))  # noqa: T201
        return
    for title, rows, totals in plan_table.tables(found):
        _rule(title)
        _table(rows, totals=totals)
    _rule("all of it")
    out.print("\n".join(plan_table.sentences(found)), markup=False)


@recipe_app.command("diff")
def recipe_diff(
    first: Annotated[str, typer.Argument(help="A lock, or a recipe (.yaml) as it would be locked now.")],
    second: Annotated[str, typer.Argument(help="What it is compared with, likewise.")],
    lake: Annotated[str, typer.Option("--lake", help="The lake on which recipes are looked at.")] = "",
    json_: JsonOption = False,
) -> None:
    """What changed from one mixture to another: fields, components, hours, shares, statistics."""
    from curation.difference import Outline, difference

    found = difference(*(Outline.at(place, lake_uri=lake) for place in (first, second)))
    if json_:
        print(json.dumps(asdict(found)))  # noqa: T201
        return
    out.print("\n".join(found.sentences()), markup=False)
    if found.components:
        _table(found.rows())


@recipe_app.command("replay")
def recipe_replay(
    lock: Annotated[str, typer.Argument(help="The lock, a folder or URI.")],
    position: Annotated[int, typer.Option(min=0, help="The first position to show.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many to show.")] = 10,
    episode: Annotated[str | None, typer.Option(help="Show the positions of this episode instead.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Look for the episode in so many training steps.")] = 30_000,
    batch: Annotated[int, typer.Option(min=1, help="Samples per step, over all ranks.")] = 32,
    lake: MovedLakeOption = None,
    json_: JsonOption = False,
) -> None:
    """What a lock samples at any position, or at which positions, and before which checkpoints, an episode."""
    from curation import replay
    from curation.lock import Lock

    loaded = Lock.load(lock)
    if episode is None:
        for one in replay.samples_at(loaded, position, count=count):
            out.print(json.dumps(asdict(one)) if json_ else one.told(), markup=False)
        return
    known = replay.checkpoints(loaded, lake_uri=lake)
    found = replay.sightings(loaded, episode, stop=max(steps * batch, *(at for _, at in known), 0))
    seen = [asdict(one) for one in found.at([*known, ("all these steps", found.stop)])]
    if json_:
        print(json.dumps({"episode_id": episode, "seen": seen, "positions": list(found.rows(batch=batch))}))  # noqa: T201
        return
    _table(seen)
    out.print(f"{len(found):,} positions before {found.stop:,}; from {position:,} on, the first {count}:")
    _table(found.rows(batch=batch, start=position, count=count))


@recipe_app.command("lock")
def recipe_lock(
    recipe: Annotated[str, typer.Argument(help="The recipe, a YAML file.")],
    lake: LakeOption,
    out_: Annotated[str | None, typer.Option("--out", help="Write the lock here too; a new folder.")] = None,
    json_: JsonOption = False,
) -> None:
    """Lock a recipe on a lake: which frames, how often, in which order, normalized how. Kept in the lake."""
    from curation.lock import register
    from curation.make_lock import make_lock
    from curation.select import open_recipe
    from schema.lake import Lake

    opened = Lake.open(lake)
    lock = make_lock(open_recipe(recipe, opened), opened)
    folder = f"{opened.uri}/{register(lock, opened)}"
    if out_ is not None:
        lock.save(out_)
    if json_:
        summary = {"digest": lock.digest, "lock": out_ or folder, "components": len(lock.components)}
        print(json.dumps(summary))  # noqa: T201
        return
    frames = sum(component.frames for component in lock.components)
    out.print(f"lock {lock.digest}: {len(lock.components)} components, {frames:,} frames", markup=False)
    out.print(out_ or folder, markup=False)


@app.command("train")
def train_(
    lock: Annotated[str, typer.Argument(help="The lock, a folder or URI.")],
    out_: Annotated[Path, typer.Option("--out", help="Folder for checkpoints and metrics, shared by all workers.")],
    config: Annotated[str, typer.Option(help="How to train: a named config.")] = "tiny_cpu",
    steps: Annotated[
        int | None, typer.Option(min=1, help="End after so many steps, if not when the config says.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share each batch, a CPU or GPU each.")] = 2,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")] = False,
    lake: MovedLakeOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a policy on a lock. Kill it at any moment; the same command with --resume goes on to the same weights."""
    from training.config import named
    from training.train import train

    with _progress("train", "steps") as progress:
        result = train(
            lock,
            config=named(config, steps=steps),
            out=out_,
            resume=resume,
            workers=workers,
            lake=lake,
            progress=progress,
        )
    if json_:
        print(json.dumps(asdict(result)))  # noqa: T201
        return
    out.print(f"{result.step:,} steps, {result.position:,} samples, loss {result.loss:.4g}", markup=False)
    out.print(result.checkpoint, markup=False)


@app.command("validate")
def validate_(
    checkpoint: Annotated[str, typer.Argument(help="The checkpoint, a folder.")],
    lock: Annotated[str, typer.Argument(help="The lock that it was trained on.")],
    lake: MovedLakeOption = None,
    json_: JsonOption = False,
) -> None:
    """How good a checkpoint is on the episodes that its lock holds out, beside two baselines."""
    from curation.lock import Lock
    from schema.lake import Lake
    from training.policy import Policy
    from training.validate import validate

    with _progress("validate", "chunks") as progress:
        found = validate(Policy.load(checkpoint), Lock.load(lock), lake=Lake(lake) if lake else None, progress=progress)
    if json_:
        print(json.dumps(asdict(found)))  # noqa: T201
        return
    out.print(f"{found.held_out_episodes} episodes held out; errors are RMSE of sampled chunks", markup=False)
    _table(asdict(row) for row in found.losses)
    _table(asdict(row) for row in found.errors)


@app.command("predict")
def predict_(
    checkpoint: Annotated[str, typer.Argument(help="The checkpoint, a folder.")],
    lock: Annotated[str, typer.Argument(help="The lock that it was trained on.")],
    episode: Annotated[list[str] | None, typer.Option(help="Only this episode; may be given again.")] = None,
    every: Annotated[int, typer.Option(min=1, help="A chunk from every so manieth frame.")] = 10,
    lake: MovedLakeOption = None,
) -> None:
    """Put a checkpoint's chunks for the held-out episodes into the lake, beside what was recorded."""
    from curation.lock import Lock
    from schema.lake import Lake
    from training.policy import Policy
    from training.predict import predict

    with _progress("predict", "chunks") as progress:
        found = predict(
            Policy.load(checkpoint),
            Lock.load(lock),
            checkpoint_uri=checkpoint if "://" in checkpoint else str(Path(checkpoint).resolve()),
            episodes=episode or (),
            every=every,
            lake=Lake(lake) if lake else None,
            progress=progress,
        )
    out.print(f"{found.chunks:,} chunks of {found.episodes} episodes", markup=False)


@app.command("dash")
def dash(
    lake: Annotated[str, typer.Argument(help="Folder or URI of the lake.")],
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="On this machine only; the next free one if taken.")
    ] = 8501,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address; open nothing.")] = False,
) -> None:
    """Look at a lake in the browser: what it holds, and every episode frame by frame."""
    from dashboards.serve import serve

    serve(lake, port=port, open_browser=not no_browser)


@app.command("demo")
def demo_(
    logs: Annotated[
        list[str] | None, typer.Argument(help="Logs of your own, instead of the simulated fleet's.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for everything the demo makes.")] = Path("out/demo"),
    episodes: Annotated[int, typer.Option(min=6, help="Episodes of each simulated robot.")] = 48,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps, if not the config's.")] = None,
) -> None:
    """The whole product once over: logs, lake, lock, a tiny π0, its errors on what it never saw, a page to look at."""
    import demo

    shown = demo.show(
        demo.Plan(folder=folder, logs=tuple(logs or ()), episodes=episodes, training_steps=steps), _progress
    )
    _rule("accounting")
    counted = [
        {"source": r.source, "discovered": r.discovered, **r.outcomes, "frames": r.frames} for r in shown.reports
    ]
    _table(counted, totals=tuple(counted[0])[1:])
    _rule(f"shares planned, and realised over {shown.drawn:,} samples")
    _table(shown.shares, totals=("episodes", "frames"))
    _rule(f"loss {shown.losses[0]:.3f} → {shown.losses[1]:.3f}; errors of chunks on episodes never trained on (RMSE)")
    _table(asdict(row) for row in shown.validation.errors)
    _rule("made")
    for what, place in shown.places.items():
        out.print(f"{what:<20}{place}", markup=False)
    out.print(f"{'a page to look at':<20}./run dash {shown.places['lake']}", markup=False)


def _rule(title: str) -> None:
    out.print(f"\n── {title} ──", markup=False)


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
        table.add_column(name, justify="right" if is_number else "left", footer=footer, no_wrap=True)
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
    except SystemExit as stop:
        if stop.code == EXIT_STOPPED:
            err.print("stopped; the same command goes on where it was")
        raise


if __name__ == "__main__":
    main()
