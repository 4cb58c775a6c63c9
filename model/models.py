"""Every model that can be trained, by name: its sizes, the module that is built of them, and the sizes as JSON.

They are `ActionModel`s (flow_model.py): one can take another's place in training, checkpoints and policies.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

from model import config as sizes
from model.config import Pi0Config
from model.distilbert import TextConfig
from model.hybrid_vit import HybridConfig
from model.octo_style import OctoStyle, OctoStyleConfig
from model.openvla_style import OpenVlaStyle, OpenVlaStyleConfig
from model.pi0 import Pi0
from model.pi0_small import Pi0Small, Pi0SmallConfig

ModelConfig = Pi0Config | Pi0SmallConfig | OpenVlaStyleConfig | OctoStyleConfig
Model = Pi0 | Pi0Small | OpenVlaStyle | OctoStyle


def pi0_small_cpu() -> Pi0SmallConfig:
    """Every part of π0-small in about the size of `tiny_cpu`, to learn on one CPU core."""
    return Pi0SmallConfig(
        text=TextConfig(vocab_size=1024, max_tokens=32, width=64, depth=2, num_heads=2, mlp_width=128),
        image=HybridConfig(image_size=64, channels=8, units=1, width=64, depth=1, num_heads=2, mlp_width=128),
        max_prompt_tokens=32,
        width=64,
        encoder_depth=2,
        expert_depth=3,
        num_heads=2,
        mlp_width=128,
    )


NAMED: Mapping[str, Callable[[], ModelConfig]] = {
    **sizes.NAMED,
    "pi0_small": Pi0SmallConfig,
    "pi0_small_cpu": pi0_small_cpu,
    "openvla_style": OpenVlaStyleConfig,
    "octo_style": OctoStyleConfig,
}
"""Sizes by the name that a training config gives."""
_KINDS: Mapping[str, type[ModelConfig]] = {
    "pi0": Pi0Config,
    "pi0_small": Pi0SmallConfig,
    "openvla_style": OpenVlaStyleConfig,
    "octo_style": OctoStyleConfig,
}


def build(config: ModelConfig) -> Model:
    """A model of these sizes, its weights as torch initializes them."""
    match config:
        case Pi0Config():
            return Pi0(config)
        case Pi0SmallConfig():
            return Pi0Small(config)
        case OpenVlaStyleConfig():
            return OpenVlaStyle(config)
        case OctoStyleConfig():
            return OctoStyle(config)


def fitted(config: ModelConfig, *, chunk_steps: int, num_cameras: int) -> ModelConfig:
    """The same sizes for chunks of this length and this many camera slots, where they decide shapes of weights."""
    match config:
        case OctoStyleConfig():
            return replace(config, chunk_steps=chunk_steps)
        case Pi0SmallConfig():
            return replace(config, num_cameras=num_cameras)
        case _:
            return config


def config_as_json(config: ModelConfig) -> dict[str, Any]:
    """The sizes as JSON has them, and of which kind of model they are."""
    (kind,) = (name for name, one in _KINDS.items() if type(config) is one)
    return {"kind": kind, **asdict(config)}


def config_of_json(found: Mapping[str, Any]) -> ModelConfig:
    """The inverse of `config_as_json`; KeyError or TypeError where it is none."""
    parts = {name: value for name, value in found.items() if name not in _NOT_SIZES}
    config: ModelConfig = _filled(_KINDS[found.get("kind", "pi0")], parts)
    return config


_NOT_SIZES = {"kind", "image_encoder_kind"}
"""The latter in checkpoints from before there were other kinds: an encoder's fields tell which it is."""


def _filled(kind: Any, found: Mapping[str, Any]) -> Any:
    """A dataclass of its fields' JSON."""
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints[name], value) for name, value in found.items()})


def _value(hint: Any, found: Any) -> Any:
    if isinstance(found, Mapping):
        (kind,) = (
            one
            for one in (get_args(hint) or (hint,))
            if is_dataclass(one) and found.keys() <= {field.name for field in fields(one)}
        )
        return _filled(kind, found)
    return tuple(found) if isinstance(found, list) else found
