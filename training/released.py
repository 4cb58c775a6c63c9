"""A policy of released weights: what openpi and LeRobot published acts in a robot's own names and canonical units.

Its parts are those of any policy; what a checkpoint of robomix keeps is put together here from the weights, from the
statistics that were published with them, and from the family's codec (`training.released_codecs`).
"""
# Legend: R dimensions of the released checkpoint's state or action.

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.pi0 import Pi0
from model.tokenizer import Tokenizer
from model.weight_files import TensorFiles
from schema.embodiment import load_embodiment
from schema.errors import ConfigError, problems
from training.checkpoint import Head
from training.policy import Policy
from training.released_codecs import ReleasedCodec, released_codec, width
from training.spec import PolicySpec, RobotSpec, ScaleSpec, SlotSpec

SLOTS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
"""Of all released π0, in their order."""
_OPENPI_EPS, _LEROBOT_EPS = 1e-6, 1e-8
"""What either adds to a standard deviation before it divides by it."""
_SAMPLING_STEPS = 10
_LEROBOT_FILE = "policy_preprocessor_step_*_normalizer_processor.safetensors"


def released_policy(
    model: Pi0,
    stats: str | Path,
    *,
    codec: str,
    tokenizer: Tokenizer | None = None,
    device: str | torch.device = "cpu",
) -> Policy:
    """A policy of a model with released weights (`model.weights.new_pi0`, `model.jax_weights`), as they were trained.

    Args:
        model: In whatever precision it is to act.
        stats: openpi's `norm_stats.json`, or a folder that LeRobot saved a policy in.
        codec: The family, a key of `training.released_codecs.RELEASED`.
        tokenizer: PaliGemma's, from where `training.prompts` looks for it, if none is given.
        device: Where it acts.

    Raises:
        ConfigError: there is no such codec, or the statistics are not there, or not of the family's widths.
    """
    theirs = released_codec(codec)
    scales = read_stats(Path(stats), theirs)
    embodiment = load_embodiment(theirs.embodiment)
    robot = RobotSpec(
        name=embodiment.name,
        embodiment=embodiment.model_dump(mode="json"),
        action_space=theirs.action_space,
        rate_hz=embodiment.rate_hz,
        prompt_prefix="",
        slots=tuple(_slot(name, theirs) for name in SLOTS),
        state=scales["state"],
        action=scales["action"],
        released=codec,
    )
    spec = PolicySpec(
        recipe=codec,
        layout="pi",
        width=model.config.action_width,
        chunk_steps=theirs.chunk_steps,
        action_form="delta" if any(theirs.is_delta) else "stored",
        image_size=model.config.image_size,
        sampling_steps=_SAMPLING_STEPS,
        model={},
        robots=(robot,),
        has_noise_in_padding=True,
    )
    head = Head(position=0, step=0, lock="none: these are released weights", config={"name": codec}, policy=spec)
    return Policy(model, head, device=torch.device(device), tokenizer=tokenizer)


def read_stats(path: Path, codec: ReleasedCodec) -> dict[str, ScaleSpec]:
    """`state` and `action`: means and what is divided by, of the family's dimensions; ConfigError lists what is wrong.

    Files of models that were padded have more dimensions; those beyond the family's are padding.
    """
    if path.is_dir():
        found, eps = _lerobot_stats(path), _LEROBOT_EPS
    else:
        found, eps = _openpi_stats(path), _OPENPI_EPS
    lines, scales = [], {}
    for role, pieces in (("state", codec.state), ("action", codec.action)):
        needed = width(pieces)
        mean, std = (_numbers(found.get(role, {}).get(what)) for what in ("mean", "std"))
        if min(len(mean), len(std)) < needed:
            lines.append(
                f"{role} has {len(mean)} means and {len(std)} standard deviations, codec {codec.name!r} needs {needed} "
                "of each: name the statistics of this robot"
            )
        elif not (np.isfinite(mean[:needed]).all() and np.isfinite(std[:needed]).all() and min(std[:needed]) >= 0):
            lines.append(
                f"{role} has means {mean} and standard deviations {std}, expected finite numbers, none below 0"
            )
        else:
            scales[role] = ScaleSpec(mean=tuple(mean[:needed]), std=tuple(one + eps for one in std[:needed]))
    error = problems(ConfigError, f"these statistics cannot be used ({path}):", lines)
    if error is not None:
        raise error
    return scales


def _slot(name: str, codec: ReleasedCodec) -> SlotSpec:
    camera = codec.cameras.get(name)
    return SlotSpec(slot=name, cameras=() if camera is None else (camera,), is_required=camera is not None)


def _openpi_stats(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        found = json.loads(path.read_bytes())["norm_stats"]
        return {"state": dict(found.get("state", {})), "action": dict(found.get("actions", {}))}
    except OSError as error:
        raise ConfigError(
            "no statistics there: expected openpi's norm_stats.json, such as assets/trossen/norm_stats.json beside "
            f"the weights, or a folder of LeRobot's ({path})"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"the file holds no `norm_stats` of state and actions: {error!r} ({path})") from error


def _lerobot_stats(folder: Path) -> dict[str, Mapping[str, Any]]:
    files = sorted(folder.glob(_LEROBOT_FILE))
    if len(files) != 1:
        raise ConfigError(f"found {len(files)} files {_LEROBOT_FILE}, expected the one of a LeRobot policy ({folder})")
    tensors = TensorFiles(files[0])
    return {
        role: {what: tensors[f"{name}.{what}"].tolist() for what in ("mean", "std") if f"{name}.{what}" in tensors}
        for role, name in (("state", "observation.state"), ("action", "action"))
    }


def _numbers(found: object) -> Sequence[float]:
    try:
        return [float(one) for one in found] if isinstance(found, list) else []
    except (TypeError, ValueError):
        return []
