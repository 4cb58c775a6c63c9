"""The command line: one verb per job, each a thin call into the packages. `robomix --help` lists them.

Exit codes: 0 all is well; 1 something must be mended first (one message says what); 2 the command's words are off;
3 the job is done, and some episodes are in quarantine.
"""

import sys
import traceback
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from recipe_verbs import recipe_app
from schema.errors import RobomixError
from terminal import JsonOption, LakeOption, MovedLakeOption, err, json_line, out, progress, rule, table

EXIT_PROBLEM, EXIT_QUARANTINE = 1, 3
EXIT_STOPPED = 130
"""Ctrl-C, as typer ends it."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
lake_app = typer.Typer(no_args_is_help=True, help="Look at a lake, check it, clean it.")
fleet_app = typer.Typer(no_args_is_help=True, help="Simulated robots that record logs in their native formats.")
app.add_typer(lake_app, name="lake")
app.add_typer(recipe_app, name="recipe")
app.add_typer(fleet_app, name="fleet")


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
    with progress("ingest", "episodes") as bar:
        report = ingest(request, lake_uri=lake, progress=bar, ray_address=ray_address)
    for line in report_lines(report):
        (err if json_ else out).print(line, markup=False)
    if json_:
        flat = {name: value for name, value in asdict(report).items() if name != "outcomes"}
        flat |= {str(outcome): count for outcome, count in report.outcomes.items()}
        json_line(flat)
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
        json_line(asdict(found))
        return
    out.print(f"lake {found.lake}, version {found.version}", markup=False)
    table(found.components, totals=("episodes", "frames", "hours"))
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

    with progress("verify", "shards") as bar:
        found = verify(Lake.open(lake), bar)
    if json_:
        json_line(asdict(found))
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
        with progress(f"record {name}", "episodes") as bar:
            folder = record(
                name,
                out=out_,
                num_episodes=episodes,
                seed=seed,
                image_size=image_size,
                log_format=format_,
                fault=fault,
                progress=bar,
            )
        out.print(str(folder), markup=False)


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

    with progress("train", "steps") as bar:
        result = train(
            lock,
            config=named(config, steps=steps),
            out=out_,
            resume=resume,
            workers=workers,
            lake=lake,
            progress=bar,
        )
    if json_:
        json_line(asdict(result))
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

    with progress("validate", "chunks") as bar:
        found = validate(Policy.load(checkpoint), Lock.load(lock), lake=Lake(lake) if lake else None, progress=bar)
    if json_:
        json_line(asdict(found))
        return
    out.print(f"{found.held_out_episodes} episodes held out; errors are RMSE of sampled chunks", markup=False)
    table(asdict(row) for row in found.losses)
    table(asdict(row) for row in found.errors)


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

    with progress("predict", "chunks") as bar:
        found = predict(
            Policy.load(checkpoint),
            Lock.load(lock),
            checkpoint_uri=checkpoint if "://" in checkpoint else str(Path(checkpoint).resolve()),
            episodes=episode or (),
            every=every,
            lake=Lake(lake) if lake else None,
            progress=bar,
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
        demo.Plan(folder=folder, logs=tuple(logs or ()), episodes=episodes, training_steps=steps), progress
    )
    rule("accounting")
    counted = [
        {"source": r.source, "discovered": r.discovered, **r.outcomes, "frames": r.frames} for r in shown.reports
    ]
    table(counted, totals=tuple(counted[0])[1:])
    rule(f"shares planned, and realised over {shown.drawn:,} samples")
    table(shown.shares, totals=("episodes", "frames"))
    rule(f"loss {shown.losses[0]:.3f} → {shown.losses[1]:.3f}; errors of chunks on episodes never trained on (RMSE)")
    table(asdict(row) for row in shown.validation.errors)
    rule("made")
    for what, place in shown.places.items():
        out.print(f"{what:<20}{place}", markup=False)
    out.print(f"{'a page to look at':<20}./run dash {shown.places['lake']}", markup=False)


def main() -> None:
    """Run the command line; a fault of the user's data or words is one message and an exit code, never a traceback.

    A fault of robomix's own is told by its whole traceback, without any credential.
    """
    try:
        app()
    except RobomixError as error:
        err.print(f"error: {error}", style="red", markup=False)
        for note in getattr(error, "__notes__", ()):
            err.print(f"  {note}", markup=False)
        sys.exit(EXIT_PROBLEM)
    except Exception:  # noqa: BLE001 - told in full: it is a fault of robomix
        err.print(traceback.format_exc().rstrip(), markup=False)
        sys.exit(EXIT_PROBLEM)
    except SystemExit as stop:
        if stop.code == EXIT_STOPPED:
            err.print("stopped; the same command goes on where it was")
        raise


if __name__ == "__main__":
    main()
