"""How long π0 takes beside the π0 in transformers, at real widths: `python benchmarks/model.py`.

Both have the same random weights, loaded by names, and few of the 18 and 27 layers. Times are processor time of one
thread, the best of some turns in which the two alternate; what counts are the ratios, theirs over ours: above 1 ours is
faster. The vocabulary is small, since looking words up costs nothing, and takes most of the memory.

`cells` is everything valid: three cameras and 48 tokens of prompt, forward and backward, and sampling in 10 steps.
`waste` is what only one of the two saves: absent cameras, and the observation's pass for further draws of noise.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from transformers import PI0Config, PI0ForConditionalGeneration

from model.config import Pi0Config, VisionConfig, pi0
from model.observation import Observation
from model.pi0 import Pi0
from model.weights import load_pi0

HORIZON, CAMERAS, PROMPT, VOCABULARY = 50, 3, 48, 1024
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    """Print a line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", default=["cells", "waste"], choices=["cells", "waste"])
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 6])
    parser.add_argument("--types", nargs="+", default=list(TYPES), choices=TYPES)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':<44}{'theirs s':>10}{'ours s':>10}{'ratio':>8}")
    for layers in options.layers:
        for name in options.types:
            theirs, ours = models(layers, TYPES[name])
            if "cells" in options.what:
                cells(theirs, ours, title=f"{layers} layers, {name}", turns=options.turns)
            if "waste" in options.what:
                waste(theirs, ours, title=f"{layers} layers, {name}", turns=options.turns)


def models(layers: int, dtype: torch.dtype) -> tuple[PI0ForConditionalGeneration, Pi0]:
    """Both models with the same weights."""
    encoder = VisionConfig(depth=2)
    config = replace(pi0(), image_encoder=encoder, depth=layers, vocab_size=VOCABULARY)
    theirs = PI0ForConditionalGeneration(their_config(config, encoder)).to(dtype).eval()
    ours = Pi0(config).to(dtype)
    load_pi0(ours, theirs.state_dict())
    return theirs, ours


def their_config(config: Pi0Config, encoder: VisionConfig) -> PI0Config:
    """The same sizes, as transformers has them."""
    shared = {
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "head_dim": config.head_dim,
        "num_key_value_heads": config.num_kv_heads,
        "vocab_size": config.vocab_size,
    }
    vlm, expert = config.vlm, config.action_expert
    return PI0Config(
        vlm_config={
            "model_type": "paligemma",
            "text_config": {
                "model_type": "gemma",
                "hidden_size": vlm.width,
                "intermediate_size": vlm.mlp_width,
                **shared,
            },
            "vision_config": {
                "model_type": "siglip_vision_model",
                "hidden_size": encoder.width,
                "num_hidden_layers": encoder.depth,
                "intermediate_size": encoder.mlp_width,
                "num_attention_heads": encoder.num_heads,
                "image_size": encoder.image_size,
                "patch_size": encoder.patch_size,
                "vision_use_head": False,
            },
            "projection_dim": vlm.width,
            "image_token_id": config.vocab_size,
        },
        dit_config={
            "model_type": "gemma",
            "hidden_size": expert.width,
            "intermediate_size": expert.mlp_width,
            **shared,
        },
        chunk_size=HORIZON,
    )


def observed(*, cameras: int, dtype: torch.dtype) -> Observation:
    """One made-up observation with this many of three cameras, and a full prompt."""
    return Observation(
        images=torch.rand(1, CAMERAS, 224, 224, 3).to(dtype) * 2 - 1,
        image_mask=torch.arange(CAMERAS)[None] < cameras,
        tokens=torch.randint(3, VOCABULARY, (1, PROMPT)),
        token_mask=torch.ones(1, PROMPT, dtype=torch.bool),
        state=torch.randn(1, 32).to(dtype),
    )


def as_they_take_it(seen: Observation) -> dict[str, Any]:
    """The same as transformers takes it: pictures of all three slots are encoded, tokens of absent ones left out."""
    pictures = torch.full((1, 256 * int(seen.image_mask.sum())), VOCABULARY)
    tokens = torch.cat([pictures, seen.tokens], dim=1)
    return {
        "state": seen.state,
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "pixel_values": seen.images.movedim(-1, 2),
        "pixel_attention_mask": seen.image_mask,
    }


def cells(theirs: PI0ForConditionalGeneration, ours: Pi0, *, title: str, turns: int) -> None:
    """Forward and backward, and sampling, with everything valid."""
    dtype = ours.state_proj.weight.dtype
    seen = observed(cameras=CAMERAS, dtype=dtype)
    noise, moment = torch.randn(1, HORIZON, 32).to(dtype), torch.tensor([0.5])
    given = as_they_take_it(seen)

    def sample_theirs() -> torch.Tensor:
        return theirs.sample_actions(noise=noise, **given)

    def sample_ours() -> torch.Tensor:
        return ours.sample(seen, noise)

    limit = 1e-3 if dtype == torch.float32 else 0.2
    assert (sample_theirs() - sample_ours()).abs().max() < limit
    compare(f"{title}: sample", sample_theirs, sample_ours, turns=turns)

    def learn_theirs() -> None:
        theirs(noise=noise, timestep=moment, **given).logits.float().square().mean().backward()
        theirs.zero_grad(set_to_none=True)

    def learn_ours() -> None:
        ours(seen, noise, moment).float().square().mean().backward()
        ours.zero_grad(set_to_none=True)

    compare(f"{title}: forward and backward", learn_theirs, learn_ours, turns=turns)


def waste(theirs: PI0ForConditionalGeneration, ours: Pi0, *, title: str, turns: int) -> None:
    """One of three cameras, against ours that computes all slots too; and four draws of noise for an observation."""
    dtype = ours.state_proj.weight.dtype
    noise = torch.randn(1, HORIZON, 32).to(dtype)
    alone = observed(cameras=1, dtype=dtype)
    masked = ours.sample(alone, noise)
    assert (ours.sample(alone.trimmed(), noise) - masked).abs().max() < (1e-4 if dtype == torch.float32 else 0.2)
    compare(
        f"{title}: sample, 1 of 3 cameras, masked",
        lambda: ours.sample(alone, noise),
        lambda: ours.sample(alone.trimmed(), noise),
        turns=turns,
    )
    given = as_they_take_it(alone)
    compare(
        f"{title}: sample, 1 of 3 cameras, theirs",
        lambda: theirs.sample_actions(noise=noise, **given),
        lambda: ours.sample(alone.trimmed(), noise),
        turns=turns,
    )
    seen, draws = observed(cameras=CAMERAS, dtype=dtype), 4
    moments, noises = torch.linspace(0.1, 0.9, draws), torch.randn(draws, HORIZON, 32).to(dtype)
    one_by_one = as_they_take_it(seen)

    def draw_theirs() -> None:
        for draw in range(draws):
            found = theirs(noise=noises[draw : draw + 1], timestep=moments[draw : draw + 1], **one_by_one).logits
            found.float().square().mean().backward()
        theirs.zero_grad(set_to_none=True)

    def draw_ours() -> None:
        ours(seen, noises, moments).float().square().mean().backward()
        ours.zero_grad(set_to_none=True)

    compare(f"{title}: 4 draws, forward and backward", draw_theirs, draw_ours, turns=turns)


def compare(title: str, theirs: Callable[[], object], ours: Callable[[], object], *, turns: int) -> None:
    """Print the best times of both, taken in turns, and their ratio."""
    best = [
        min(times) for times in zip(*([_seconds(one) for one in (theirs, ours)] for _ in range(turns)), strict=True)
    ]
    print(f"{title:<44}{best[0]:>10.2f}{best[1]:>10.2f}{best[0] / best[1]:>8.2f}", flush=True)


def _seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    main()
