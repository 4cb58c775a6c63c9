"""What others call π0's weights: openpi's names for each of ours, and other projects' names as openpi's.

openpi's PyTorch names are the common ground. LeRobot writes them behind `model.`; transformers has names of its own for
π0 and three generations of them for PaliGemma, whose weights π0 begins with.
"""

import re
from collections.abc import Iterator

from model.config import Pi0Config, VisionConfig

Shape = tuple[int, ...]

TRUNK = "paligemma_with_expert."
PALIGEMMA = TRUNK + "paligemma."
VLM = PALIGEMMA + "model."
VISION = VLM + "vision_tower.vision_model."
LANGUAGE = VLM + "language_model."
EXPERT = TRUNK + "gemma_expert.model."
EMBEDDING = LANGUAGE + "embed_tokens.weight"
TIED_HEAD = PALIGEMMA + "lm_head.weight"
"""The token embedding once more; files keep one name of the two, or both."""
EXPERT_HEAD = TRUNK + "gemma_expert.lm_head.weight"
EXPERT_EMBEDDING = EXPERT + "embed_tokens.weight"

PROJECTIONS = ("state_proj", "action_in_proj", "action_out_proj", "action_time_mlp_in", "action_time_mlp_out")
_KEY_VALUE_PARTS = {"input_norm": "input_layernorm", "k_proj": "self_attn.k_proj", "v_proj": "self_attn.v_proj"}
_OTHER_PARTS = {
    "q_proj": "self_attn.q_proj",
    "o_proj": "self_attn.o_proj",
    "post_norm": "post_attention_layernorm",
    "mlp.gate_proj": "mlp.gate_proj",
    "mlp.up_proj": "mlp.up_proj",
    "mlp.down_proj": "mlp.down_proj",
}
_VISION_PARTS = {
    "norm1": "layer_norm1",
    "attention.q_proj": "self_attn.q_proj",
    "attention.k_proj": "self_attn.k_proj",
    "attention.v_proj": "self_attn.v_proj",
    "attention.out_proj": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^model\.(?=paligemma_with_expert\.|state_|action_|time_mlp_)", ""),  # LeRobot
        (r"^time_mlp_", "action_time_mlp_"),  # LeRobot's first releases
        (r"^embed_action_time\.", ""),  # transformers' π0, this and the next two
        (r"^model\.vlm\.", VLM),
        (r"^model\.dit\.", EXPERT),
        (r"^language_model\.model\.", LANGUAGE),  # PaliGemma as on the hub
        (r"^(language_model\.)?lm_head\.", PALIGEMMA + "lm_head."),
        (r"^(model\.)?(?=(language_model|vision_tower|multi_modal_projector)\.)", VLM),  # PaliGemma in transformers
        (r"\.vision_tower\.(?!vision_model\.)", ".vision_tower.vision_model."),  # transformers after 5.5
    )
)


def openpi_name(name: str) -> str:
    """What openpi calls a tensor of openpi's, LeRobot's, transformers' π0 or PaliGemma; unknown names stay."""
    for pattern, replacement in _RULES:
        name = pattern.sub(replacement, name)
    return name


def openpi_names(config: Pi0Config) -> dict[str, str]:
    """Our name of each parameter → openpi's; ValueError for a model whose image encoder is not SigLIP."""
    return dict(_pairs(config, siglip_of(config)))


def siglip_of(config: Pi0Config) -> VisionConfig:
    """The sizes of the model's SigLIP; ValueError where it has another image encoder."""
    if not isinstance(config.image_encoder, VisionConfig):
        raise ValueError(f"only models with SigLIP have released weights, this one has {config.image_encoder}")
    return config.image_encoder


def unused_shapes(config: Pi0Config) -> dict[str, Shape]:
    """Tensors in released files, by openpi's names, that no result depends on, and their shapes.

    They are the VLM's queries, output projection, MLP and norms after its last keys and values, both language heads
    (the VLM's is the token embedding once more) and transformers' token embedding of the action expert.
    """
    vlm, heads_width = config.vlm, config.num_heads * config.head_dim
    shapes = {
        "q_proj": (heads_width, vlm.width),
        "o_proj": (vlm.width, heads_width),
        "post_norm": (vlm.width,),
        "mlp.gate_proj": (vlm.mlp_width, vlm.width),
        "mlp.up_proj": (vlm.mlp_width, vlm.width),
        "mlp.down_proj": (vlm.width, vlm.mlp_width),
    }
    last = f"{LANGUAGE}layers.{config.depth - 1}."
    return {
        **{f"{last}{_OTHER_PARTS[ours]}.weight": shape for ours, shape in shapes.items()},
        LANGUAGE + "norm.weight": (vlm.width,),
        TIED_HEAD: (config.vocab_size, vlm.width),
        EXPERT_HEAD: (config.vocab_size, config.action_expert.width),
        EXPERT_EMBEDDING: (config.vocab_size, config.action_expert.width),
    }


def _pairs(config: Pi0Config, vision: VisionConfig) -> Iterator[tuple[str, str]]:
    """(our name, openpi's name) of every parameter."""
    yield "embed_tokens.weight", EMBEDDING
    yield "action_norm.weight", EXPERT + "norm.weight"
    yield from (pair for name in PROJECTIONS for pair in _affine(name, name))
    for layer in range(config.depth):
        parts = {**_KEY_VALUE_PARTS, **_OTHER_PARTS}
        for ours, theirs in _KEY_VALUE_PARTS.items() if layer == config.depth - 1 else parts.items():
            yield f"layers.{layer}.vlm.{ours}.weight", f"{LANGUAGE}layers.{layer}.{theirs}.weight"
        for ours, theirs in parts.items():
            yield f"layers.{layer}.action_expert.{ours}.weight", f"{EXPERT}layers.{layer}.{theirs}.weight"
    yield "image_encoder.position", VISION + "embeddings.position_embedding.weight"
    yield from _affine("image_encoder.patch", VISION + "embeddings.patch_embedding")
    yield from _affine("image_encoder.norm", VISION + "post_layernorm")
    yield from _affine("image_encoder.projector", VLM + "multi_modal_projector.linear")
    for layer in range(vision.depth):
        for ours, theirs in _VISION_PARTS.items():
            yield from _affine(f"image_encoder.layers.{layer}.{ours}", f"{VISION}encoder.layers.{layer}.{theirs}")


def _affine(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{ours}.{kind}", f"{theirs}.{kind}") for kind in ("weight", "bias"))
