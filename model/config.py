"""Sizes of π0: as released, as in the paper, and two small ones: for tests, and to learn on a CPU.

A config holds what decides the shapes of the weights, and nothing else: batch, chunk length and the number of
cameras are shapes of the data. The image encoder is chosen by the type of `Pi0Config.image_encoder`.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionConfig:
    """A SigLIP vision transformer (siglip.py); the defaults are So400m/14 at 224 pixels."""

    image_size: int = 224
    """Side of the square pictures it takes, in pixels."""
    patch_size: int = 14
    width: int = 1152
    depth: int = 27
    mlp_width: int = 4304
    num_heads: int = 16
    layer_norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size or self.width % self.num_heads:
            raise ValueError(f"image_size must be a multiple of patch_size, width of num_heads, got {self}")

    @property
    def num_tokens(self) -> int:
        """Tokens per picture."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True, kw_only=True, slots=True)
class StemConfig:
    """A small convolutional stem modulated by the prompt (stem.py): for models trained from scratch on a CPU only."""

    image_size: int = 64
    """Side of the square pictures it takes, in pixels: a multiple of 16."""
    channels: tuple[int, int, int] = (24, 48, 64)
    """Feature maps at 1/4, 1/8 and 1/16 of the picture's side."""

    def __post_init__(self) -> None:
        if self.image_size % 16:
            raise ValueError(
                f"the stem halves a picture to 1/16 of its side: image_size {self.image_size} is no multiple of 16"
            )

    @property
    def num_tokens(self) -> int:
        """Tokens per picture."""
        return (self.image_size // 16) ** 2


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpertConfig:
    """What one of the two Gemma experts has for itself; what both share is in `Pi0Config`."""

    width: int
    mlp_width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pi0Config:
    """All sizes of one π0."""

    image_encoder: VisionConfig | StemConfig
    vlm: ExpertConfig
    """Processes images and prompt (Gemma 2B)."""
    action_expert: ExpertConfig
    """Processes state and noisy actions (300M)."""
    depth: int
    """Layer pairs: both experts have this many layers, since each attends to the other's layer of the same number."""
    num_heads: int
    """Query heads of either expert. π0's appendix prints 18, its depth; the released weights have 8."""
    head_dim: int
    vocab_size: int
    num_kv_heads: int = 1
    max_prompt_tokens: int = 48
    """What a tokenizer pads prompts to: a shape of the data, kept here since released models were trained with it."""
    action_width: int = 32
    """Padded width of state and action vectors."""
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e4
    min_period: float = 4e-3
    """Shortest period of the time embedding, in units of the flow time t."""
    max_period: float = 4.0

    def __post_init__(self) -> None:
        wrong = []
        if self.num_heads % self.num_kv_heads:
            wrong.append(f"num_heads {self.num_heads} is no multiple of num_kv_heads {self.num_kv_heads}")
        if self.head_dim % 2:
            wrong.append(f"head_dim {self.head_dim} must be even: rotary embeddings turn pairs")
        if self.action_expert.width % 2:
            wrong.append(
                f"action_expert.width {self.action_expert.width} must be even: time is embedded as sine and cosine"
            )
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def image_size(self) -> int:
        """Side of the square pictures it takes, in pixels."""
        return self.image_encoder.image_size


def pi0() -> Pi0Config:
    """π0 as released: SigLIP So400m/14, Gemma 2B and a 300M action expert (arXiv 2410.24164, Appendix B)."""
    return Pi0Config(
        image_encoder=VisionConfig(),
        vlm=ExpertConfig(width=2048, mlp_width=16384),
        action_expert=ExpertConfig(width=1024, mlp_width=4096),
        depth=18,
        num_heads=8,
        head_dim=256,
        vocab_size=257_152,
    )


def pi0_paper() -> Pi0Config:
    """π0 with state and actions padded to 18 numbers, as the paper trains it; released weights have 32."""
    return replace(pi0(), action_width=18)


def tiny() -> Pi0Config:
    """Every part of π0 at its smallest: for tests and for comparison with other implementations, not to learn."""
    return Pi0Config(
        image_encoder=VisionConfig(image_size=56, width=48, depth=2, mlp_width=88, num_heads=4),
        vlm=ExpertConfig(width=64, mlp_width=128),
        action_expert=ExpertConfig(width=32, mlp_width=96),
        depth=3,
        num_heads=8,
        head_dim=16,
        vocab_size=320,
        max_prompt_tokens=12,
    )


def tiny_cpu() -> Pi0Config:
    """A π0 that learns on one CPU core: the same trunk and objective, small, with a stem in place of SigLIP.

    What it does differently, and why, is in docs/model.md.
    """
    return Pi0Config(
        image_encoder=StemConfig(),
        vlm=ExpertConfig(width=64, mlp_width=128),
        action_expert=ExpertConfig(width=64, mlp_width=128),
        depth=3,
        num_heads=2,
        head_dim=32,
        vocab_size=1024,
        max_prompt_tokens=32,
    )


NAMED = {"pi0": pi0, "pi0_paper": pi0_paper, "tiny": tiny, "tiny_cpu": tiny_cpu}
"""Sizes of π0 by name; other models' are in models.py."""
