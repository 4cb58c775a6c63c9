"""Linear layers and attention, quick in bfloat16 on any CPU.

Without units for bfloat16 (AVX-512, or Arm's own) torch multiplies it number by number, more than five times slower
than float32. There weights stay bfloat16, which is half the memory, and each product is computed in float32 and
rounded. That is what units for bfloat16 do: they too add up in float32.
"""

# Legend: B batch, N heads, T tokens that attend, S tokens attended to, F head dimension.
import torch
from torch import Tensor, nn
from torch.nn import functional

_ASK = "_is_mkldnn_bf16_supported"
IS_SLOW = hasattr(torch.ops.mkldnn, _ASK) and not getattr(torch.ops.mkldnn, _ASK)()
"""Whether bfloat16 on this machine's CPU is slow; only torch knows what torch uses."""


class Linear(nn.Linear):
    """`nn.Linear`, and the same weights."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out], of the type of `x`."""
        if not _is_slow(self.weight):
            return super().forward(x)
        bias = None if self.bias is None else self.bias.float()
        return functional.linear(x.float(), self.weight.float(), bias).to(x.dtype)


def attention(query_BNTF: Tensor, key_BNSF: Tensor, value_BNSF: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Softmax attention, [B, N, T, F]; `mask` is added to the logits."""
    given = (query_BNTF, key_BNSF, value_BNSF)
    if not _is_slow(query_BNTF):
        return functional.scaled_dot_product_attention(*given, attn_mask=mask)
    query, key, value = (part.float() for part in given)
    mask = None if mask is None else mask.float()
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask).to(query_BNTF.dtype)


def _is_slow(x: Tensor) -> bool:
    return IS_SLOW and x.dtype == torch.bfloat16 and x.device.type == "cpu"
