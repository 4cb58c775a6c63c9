"""The flow time as a vector of sines and cosines."""

# Legend: B batch, E width of the action expert.
import math

import torch
from torch import Tensor


def embed_time(time_B: Tensor, width: int, *, min_period: float, max_period: float) -> Tensor:
    """[B, E] float32: sines, then cosines of 2πt/period, with E/2 periods spaced geometrically between the two.

    This is φ of arXiv 2410.24164, Appendix B. The phase reaches 1571 rad per unit of t, where one float32 ulp of t or
    of a frequency moves the velocity by 2e-4; so it is computed in float64, which MPS does not have.
    """
    fraction = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float64, device=time_B.device)
    period = min_period * (max_period / min_period) ** fraction
    phase_BE = time_B.double()[:, None] * (2 * math.pi / period)
    return torch.cat([phase_BE.sin(), phase_BE.cos()], dim=1).float()
