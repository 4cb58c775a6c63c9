"""How long π0 takes beside the π0 in transformers, at real widths: `python benchmarks/model.py`.

Both have the same random weights, loaded by names, and few of the 18 and 27 layers. Times are processor time of one
thread, medians of turns in which the two alternate; what counts is the median of each turn's ratio, theirs over ours:
above 1 ours is faster. In the first turn the results are compared too. The vocabulary is small, since looking words up
costs nothing, and takes most of the memory.

`sample` and `learn` (forward and backward) have everything valid: three cameras and 48 tokens of prompt. `camera` and
`draws` are what only one of the two saves: absent cameras, and the observation's pass for further draws of noise; they
are measured against ours without the saving, and against transformers.

On CPUs without units for bfloat16 torch is slow in it, and model/products.py goes round that: `bf16-plain` is bfloat16
with both as torch has it. Measure those with few turns. A cell by itself: `--layers 6 --types bf16 --what sample`.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor, nn
from transformers import PI0Config, PI0ForConditionalGeneration

from model import products
from model.config import Pi0Config, VisionConfig, pi0
from model.observation import Observation
from model.pi0 import Pi0
from model.weights import new_pi0

HORIZON, CAMERAS, PROMPT, DRAWS, VOCABULARY = 50, 3, 48, 4, 1024
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "bf16-plain": torch.bfloat16}
LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.4}
"""How far apart results may be: of numbers about 1, of which bfloat16 keeps eight bits, layer after layer."""

Work = Callable[[], Tensor]
Match = tuple[str, Work, Work]
"""What is compared, the slower of the two as we hope, and ours."""


def main() -> None:
    """Print a line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", default=list(MATCHES), choices=MATCHES)
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 6])
    parser.add_argument("--types", nargs="+", default=["fp32", "bf16"], choices=TYPES)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'':<52}{'theirs s':>10}{'ours s':>10}{'ratio':>8}", flush=True)
    for layers in options.layers:
        for name in options.types:
            products.IS_SLOW = products.IS_SLOW and name != "bf16-plain"
            theirs, ours = models(layers, TYPES[name])
            for what in options.what:
                for title, first, second in MATCHES[what](theirs, ours):
                    limit = LIMITS[TYPES[name]]
                    compare(f"{layers} layers, {name}: {title}", first, second, turns=options.turns, limit=limit)


def models(layers: int, dtype: torch.dtype) -> tuple[PI0ForConditionalGeneration, Pi0]:
    """Both models with the same weights."""
    encoder = VisionConfig(depth=2)
    config = replace(pi0(), image_encoder=encoder, depth=layers, vocab_size=VOCABULARY)
    theirs = PI0ForConditionalGeneration(their_config(config, encoder)).to(dtype).eval()
    return theirs, new_pi0(config, theirs.state_dict(), dtype=dtype)


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


def sample(theirs: PI0ForConditionalGeneration, ours: Pi0) -> Iterator[Match]:
    """Sampling in 10 steps."""
    dtype = ours.state_proj.weight.dtype
    seen, noise = observed(cameras=CAMERAS, dtype=dtype), torch.randn(1, HORIZON, 32).to(dtype)
    given = as_they_take_it(seen)
    yield "sample", lambda: theirs.sample_actions(noise=noise, **given), lambda: ours.sample(seen, noise)


def learn(theirs: PI0ForConditionalGeneration, ours: Pi0) -> Iterator[Match]:
    """Forward and backward."""
    dtype = ours.state_proj.weight.dtype
    seen, noise = observed(cameras=CAMERAS, dtype=dtype), torch.randn(1, HORIZON, 32).to(dtype)
    given, moment = as_they_take_it(seen), torch.tensor([0.5])
    yield (
        "forward and backward",
        lambda: backward(theirs, theirs(noise=noise, timestep=moment, **given).logits),
        lambda: backward(ours, ours(seen, noise, moment)),
    )


def camera(theirs: PI0ForConditionalGeneration, ours: Pi0) -> Iterator[Match]:
    """Sampling with one of three cameras, trimmed, beside the same with the absent ones computed."""
    dtype = ours.state_proj.weight.dtype
    alone, noise = observed(cameras=1, dtype=dtype), torch.randn(1, HORIZON, 32).to(dtype)
    given = as_they_take_it(alone)
    yield (
        "1 of 3 cameras, beside ours of all slots",
        lambda: ours.sample(alone, noise),
        lambda: ours.sample(alone.trimmed(), noise),
    )
    yield (
        "1 of 3 cameras, beside transformers",
        lambda: theirs.sample_actions(noise=noise, **given),
        lambda: ours.sample(alone.trimmed(), noise),
    )


def draws(theirs: PI0ForConditionalGeneration, ours: Pi0) -> Iterator[Match]:
    """Forward and backward of four draws of noise for one observation, beside as many passes."""
    dtype = ours.state_proj.weight.dtype
    seen, times = observed(cameras=CAMERAS, dtype=dtype), torch.linspace(0.1, 0.9, DRAWS)
    noises, given = torch.randn(DRAWS, HORIZON, 32).to(dtype), as_they_take_it(seen)
    each = list(zip(noises.split(1), times.split(1), strict=True))

    def together() -> Tensor:
        return backward(ours, ours(seen, noises, times))

    yield (
        "4 draws, beside ours in 4 passes",
        lambda: torch.cat([backward(ours, ours(seen, noise, time)) for noise, time in each]),
        together,
    )
    yield (
        "4 draws, beside transformers",
        lambda: torch.cat([backward(theirs, theirs(noise=n, timestep=t, **given).logits) for n, t in each]),
        together,
    )


MATCHES = {"sample": sample, "learn": learn, "camera": camera, "draws": draws}


def backward(model: nn.Module, velocity: Tensor) -> Tensor:
    """The velocity, after the backward pass of its square; gradients are let go."""
    velocity.float().square().mean().backward()
    model.zero_grad(set_to_none=True)
    return velocity.detach()


def compare(title: str, theirs: Work, ours: Work, *, turns: int, limit: float) -> None:
    """Print the median times of both, taken in turns, and the median ratio; SystemExit where their results differ."""
    times = []
    for turn in range(turns):
        (first, theirs_s), (second, ours_s) = _timed(theirs), _timed(ours)
        if (away := float((first.float() - second.float()).abs().max())) > limit:
            raise SystemExit(f"{title}: results are {away:.2g} apart, expected at most {limit:.2g}")
        times.append((theirs_s, ours_s, theirs_s / ours_s))
        print(f"  turn {turn + 1} of {turns}: {theirs_s:.2f} s and {ours_s:.2f} s", file=sys.stderr, flush=True)
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    print(f"{title:<52}{medians[0]:>10.2f}{medians[1]:>10.2f}{medians[2]:>8.2f}", flush=True)


def _timed(run: Work) -> tuple[Tensor, float]:
    start = time.process_time()
    found = run()
    return found, time.process_time() - start


if __name__ == "__main__":
    main()
