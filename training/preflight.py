"""What can be known before any work: whether this lock, this config and this lake fit together, all in one message."""

import fsspec

from curation.lock import Lock
from schema.errors import ConfigError, problems
from schema.lake import Lake
from training.config import TrainingConfig
from training.prompts import tokenizer_for

_SHOWN = 3


def preflight(lock: Lock, config: TrainingConfig, *, world_size: int, lake: Lake) -> None:
    """ConfigError that lists everything that speaks against training so; lists folders, reads no shard."""
    lines = [*_model_problems(lock, config), *_prompt_problems(lock, config), *missing_shards(lock, lake)]
    if world_size < 1 or config.global_batch % world_size:
        lines.append(
            f"the global batch {config.global_batch} cannot be split evenly over {world_size} workers: "
            "choose --workers that divide it"
        )
    title = f"the lock cannot be trained on with config {config.name!r}:"
    error = problems(ConfigError, title, lines)
    if error is not None:
        raise error


def missing_shards(lock: Lock, lake: Lake) -> list[str]:
    """A line where shards of the lock are gone from the lake, by listing each of their folders once."""
    wanted = {name for table in (lock.runs, lock.held_out) for name in table["shard"].unique().to_pylist()}
    there: set[str] = set()
    for folder in sorted({name.rpartition("/")[0] for name in wanted}):
        there |= _listed(lake, folder)
    files = {f"{name}.{kind}" for name in wanted for kind in ("tar", "parquet")}
    gone = sorted(files - there)
    if not gone:
        return []
    told = ", ".join(gone[:_SHOWN]) + (" …" if len(gone) > _SHOWN else "")
    return [
        f"{len(gone)} of {len(files)} files of its shards are gone from {lake.uri}: {told}; bring them back, ingest "
        "again and make a new lock, or say with --lake where the lake is now"
    ]


def _listed(lake: Lake, folder: str) -> set[str]:
    fs: fsspec.AbstractFileSystem = lake.fs
    try:
        found = fs.ls(lake.path(folder), detail=False)
    except FileNotFoundError:
        return set()
    return {f"{folder}/{path.rstrip('/').rsplit('/', 1)[-1]}" for path in found}


def _model_problems(lock: Lock, config: TrainingConfig) -> list[str]:
    model = config.model_config(lock)
    lines = []
    if lock.image_size != model.image_size:
        lines.append(
            f"its pictures are {lock.image_size}×{lock.image_size}, model {config.model!r} takes "
            f"{model.image_size}: make a lock with `image_size: {model.image_size}`"
        )
    if lock.width != model.action_width:
        lines.append(
            f"its vectors are padded to {lock.width}, model {config.model!r} takes {model.action_width}: "
            f"make a lock with `width: {model.action_width}`"
        )
    return lines


def _prompt_problems(lock: Lock, config: TrainingConfig) -> list[str]:
    """A line where a prompt would be cut: what is lost is the end of the instruction."""
    try:
        tokenizer = tokenizer_for(config.model_config(lock))
    except ConfigError as error:
        return [str(error)]
    room, longest, example = tokenizer.max_tokens, 0, ""
    for prompt in prompts(lock):
        length = tokenizer.count(prompt)
        if length > longest:
            longest, example = length, prompt
    if longest <= room:
        return []
    return [
        f"its longest prompt has {longest} tokens, model {config.model!r} takes {room}: "
        f"shorten the instruction, or leave out the prompt's tag ({example!r})"
    ]


def prompts(lock: Lock) -> set[str]:
    """Every prompt that the lock can give."""
    found: set[str] = set()
    for table in (lock.runs, lock.held_out):
        columns = (table[name].to_pylist() for name in ("component", "instructions"))
        for component, texts in zip(*columns, strict=True):
            prefix = lock.components[component].prompt_prefix
            found.update(prefix + text for text in texts)
    return found
