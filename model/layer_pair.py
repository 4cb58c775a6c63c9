"""One layer of both experts, which meet in its attention.

It is one module with one `forward`, so that sharding (FSDP2), checkpointing and compilation can wrap it. Prefix
tokens never see the suffix, so their attention is computed apart; this is the same softmax, and the same code fills
and uses the cache in sampling.
"""

# Legend: B batch, P prefix tokens, S suffix tokens, D width of the VLM, E width of the action expert.
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.attention_mask import Layout
from model.config import Pi0Config
from model.gemma import ExpertLayer, KeyValueLayer, KeyValues, attend


class PairOutput(NamedTuple):
    """What a layer pair gives to the next, and to tokens that come later."""

    prefix: Tensor | None
    """[B, P, D]; None from the last pair, where nobody reads it, and where the prefix came as keys and values."""
    suffix: Tensor | None
    """[B, S, E]; None where no suffix was given."""
    key_values: KeyValues
    """Of prefix and suffix: what later tokens attend to."""


class LayerPair(nn.Module):
    """Layer n of the VLM and layer n of the action expert.

    In the last pair the VLM keeps only its keys and values: its queries, output projection and MLP would feed tokens
    that nothing reads, so leaving them out is exact, and no weight is left without a gradient.
    """

    def __init__(self, config: Pi0Config, *, is_last: bool) -> None:
        super().__init__()
        self.vlm = (KeyValueLayer if is_last else ExpertLayer)(config, config.vlm)
        self.action_expert = ExpertLayer(config, config.action_expert)

    def forward(self, prefix: Tensor | KeyValues, suffix_BSE: Tensor | None, layout: Layout) -> PairOutput:
        """Advance prefix and suffix by one layer.

        `prefix` is [B, P, D], or the keys and values this pair gave for earlier tokens: then only the suffix is
        computed.
        """
        next_prefix = None
        if isinstance(prefix, KeyValues):
            key_values = prefix
        else:
            next_prefix, key_values = self._advance_prefix(prefix, layout)
        if suffix_BSE is None:
            return PairOutput(next_prefix, None, key_values)
        return PairOutput(next_prefix, *self._advance_suffix(suffix_BSE, key_values, layout))

    def _advance_prefix(self, prefix_BPD: Tensor, layout: Layout) -> tuple[Tensor | None, KeyValues]:
        normed = self.vlm.input_norm(prefix_BPD)
        key_values = self.vlm.key_values(normed, layout.prefix_rope)
        if not isinstance(self.vlm, ExpertLayer):
            return None, key_values
        queries = self.vlm.queries(normed, layout.prefix_rope)
        return self.vlm.finish(prefix_BPD, attend(queries, key_values, layout.prefix_mask)), key_values

    def _advance_suffix(self, suffix_BSE: Tensor, earlier: KeyValues, layout: Layout) -> tuple[Tensor, KeyValues]:
        """The suffix attends to the prefix's keys, made by the VLM's weights, and to its own in one softmax."""
        expert = self.action_expert
        normed = expert.input_norm(suffix_BSE)
        own = expert.key_values(normed, layout.suffix_rope)
        draws = len(suffix_BSE) // len(earlier.keys)
        shared = (part.repeat_interleave(draws, dim=0) if draws > 1 else part for part in earlier)
        everything = KeyValues(*(torch.cat(parts, dim=2) for parts in zip(shared, own, strict=True)))
        queries = expert.queries(normed, layout.suffix_rope)
        return expert.finish(suffix_BSE, attend(queries, everything, layout.suffix_mask)), everything
