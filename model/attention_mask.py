"""Who may attend to whom, and where each token stands.

π0's tokens form three blocks: images and prompt (0), state (1), noisy actions (2). A token attends to its own block
and to earlier ones (arXiv 2410.24164, Appendix B), so nothing in the prefix depends on the suffix and its keys and
values can be computed once. All of this is built once per forward pass, outside the layers, which alone are meant to
be compiled.
"""

# Legend: B batch, T all tokens, P prefix tokens (block 0), S suffix tokens (blocks 1 and 2), F head dimension.
from dataclasses import dataclass, replace

import torch
from torch import Tensor

PREFIX, STATE, ACTIONS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotations of the tokens' queries and keys."""

    cos: Tensor
    """[B, 1, T, F/2] float32."""
    sin: Tensor
    """[B, 1, T, F/2] float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Masks, to be added to the logits, and rotations of prefix and suffix; shared by all layers."""

    prefix_mask: Tensor
    """[B, 1, P, P], 0 where a row may attend, else -inf."""
    suffix_mask: Tensor
    """[B, 1, S, P + S], the same."""
    prefix_rope: Rope
    suffix_rope: Rope

    def of_state(self) -> "Layout":
        """The same with the state as the only token of the suffix: it sees no actions, so they need not be there."""
        mask, rope = self.suffix_mask[:, :, :1], self.suffix_rope
        num_seen = self.prefix_mask.shape[-1] + 1
        return replace(self, suffix_mask=mask[..., :num_seen], suffix_rope=Rope(rope.cos[:, :, :1], rope.sin[:, :, :1]))

    def of_actions(self) -> "Layout":
        """The same with the actions as suffix, and the state among what came before."""
        rope = Rope(self.suffix_rope.cos[:, :, 1:], self.suffix_rope.sin[:, :, 1:])
        return replace(self, suffix_mask=self.suffix_mask[:, :, 1:], suffix_rope=rope)

    def with_draws(self, draws: int) -> "Layout":
        """The same for `draws` suffixes side by side over each prefix."""
        if draws == 1:
            return self
        mask, cos, sin = (
            part.repeat_interleave(draws, dim=0)
            for part in (self.suffix_mask, self.suffix_rope.cos, self.suffix_rope.sin)
        )
        return replace(self, suffix_mask=mask, suffix_rope=Rope(cos, sin))


def block_mask(valid_BT: Tensor, blocks_T: Tensor) -> Tensor:
    """[B, T, T] bool: row i may attend to column j where both are valid and j's block is not later than i's."""
    is_visible_TT = blocks_T[None, :] <= blocks_T[:, None]
    return valid_BT[:, :, None] & valid_BT[:, None, :] & is_visible_TT


def position_ids(valid_BT: Tensor) -> Tensor:
    """[B, T] int64: the number of valid tokens before each one; absent tokens do not advance the count."""
    return valid_BT.cumsum(dim=1) - 1


def suffix_blocks(horizon: int, device: torch.device) -> Tensor:
    """[1 + horizon] int64: the blocks of one state token and `horizon` action tokens."""
    blocks = torch.full((1 + horizon,), ACTIONS, device=device)
    blocks[0] = STATE
    return blocks


def lay_out(prefix_valid_BP: Tensor, *, horizon: int, head_dim: int, theta: float, dtype: torch.dtype) -> Layout:
    """Masks (of `dtype`) and rotations for this prefix followed by a state token and `horizon` action tokens.

    Every row attends at least to itself: a padded row with nothing to attend to would be NaN, and NaN times a weight
    of zero is NaN in every layer after. No valid row ever sees a padded one.
    """
    batch, num_prefix = prefix_valid_BP.shape
    device = prefix_valid_BP.device
    valid_BT = torch.cat([prefix_valid_BP, prefix_valid_BP.new_ones(batch, 1 + horizon)], dim=1)
    blocks_T = torch.cat([torch.full((num_prefix,), PREFIX, device=device), suffix_blocks(horizon, device)])
    is_self_TT = torch.eye(len(blocks_T), dtype=torch.bool, device=device)
    is_allowed_BTT = block_mask(valid_BT, blocks_T) | is_self_TT
    mask_BTT = torch.zeros(is_allowed_BTT.shape, dtype=dtype, device=device).masked_fill_(~is_allowed_BTT, -torch.inf)
    rope = _rope(position_ids(valid_BT), head_dim, theta)
    return Layout(
        prefix_mask=mask_BTT[:, None, :num_prefix, :num_prefix],
        suffix_mask=mask_BTT[:, None, num_prefix:],
        prefix_rope=Rope(rope.cos[:, :, :num_prefix], rope.sin[:, :, :num_prefix]),
        suffix_rope=Rope(rope.cos[:, :, num_prefix:], rope.sin[:, :, num_prefix:]),
    )


def _rope(position_BT: Tensor, head_dim: int, theta: float) -> Rope:
    """Cosines and sines of position times theta^(-2i/F), in float32 whatever the model computes in."""
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float32, device=position_BT.device) / head_dim
    angle = position_BT[:, None, :, None].float() / theta**exponent
    return Rope(angle.cos(), angle.sin())
