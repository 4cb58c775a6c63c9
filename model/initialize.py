"""Weights to train from, as a function of a seed and of each weight's name alone."""

import numpy as np
import torch
from torch import nn

ZERO_AT_START = (".film.weight", "modulation.weight")
"""Scales, shifts and gates by prompt (stem.py) and time (pi0_small.py) begin as the identity."""


@torch.no_grad()
def initialize(model: nn.Module, *, seed: int) -> None:
    """Draw all weights anew: matrices and filters normal with variance 1/fan-in, norms neutral, biases 0.

    Token embeddings are normal with variance 1/width, so that they have unit size after π0 scales them. Adding or
    reordering modules leaves the values of all others as they were.
    """
    neutral = {id(norm.weight) for norm in model.modules() if isinstance(norm, nn.LayerNorm | nn.GroupNorm)}
    embeddings = {id(table.weight) for table in model.modules() if isinstance(table, nn.Embedding)}
    for name, weight in model.named_parameters():
        if id(weight) in neutral:
            weight.fill_(1.0)
        elif weight.ndim < 2 or name.endswith(ZERO_AT_START):
            weight.zero_()
        else:
            fan_in = weight.shape[1] if id(weight) in embeddings else weight[0].numel()
            random = np.random.default_rng([seed, *name.encode()])
            weight.copy_(torch.from_numpy(random.standard_normal(weight.shape, np.float32)) / fan_in**0.5)
