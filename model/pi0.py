"""π0: a vision-language model and an action expert that read each other layer by layer (arXiv 2410.24164).

`forward` gives the velocity of the flow at noisy actions. flow_matching.py makes a loss of it, and `sample`
(flow_model.py) integrates it to actions over what `remember` computes once. Time runs from 1 (noise) to 0 (data).
"""

# Legend: B batch, C cameras, S side of the pictures, K tokens per picture, L prompt tokens, P = C*K + L prefix tokens,
# D width of the VLM, H chunk steps, W padded action width, E width of the action expert.
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.attention_mask import Layout, lay_out
from model.config import Pi0Config, VisionConfig
from model.flow_model import FlowModel
from model.gemma import KeyValues, RMSNorm
from model.layer_pair import LayerPair
from model.observation import Observation
from model.products import Linear
from model.siglip import Siglip
from model.stem import Stem
from model.time_embedding import embed_time


class Memory(NamedTuple):
    """What the steps of sampling share."""

    key_values: list[KeyValues]
    """Of prefix and state, for each layer."""
    layout: Layout
    """Of the actions."""


class Pi0(FlowModel):
    """The model. Chunk length, cameras and prompt length are shapes of the data; weights are as torch initializes them.

    For training from scratch call `initialize` (initialize.py); for released weights, weights.py. To compile, compile
    each of `layers`. Under FSDP2, register `sample` with `register_fsdp_forward_method` and let the root's policy not
    cast its inputs: the model casts them itself, and a time in bfloat16 would be useless.
    """

    def __init__(self, config: Pi0Config) -> None:
        super().__init__()
        self.config = config
        vlm_width, width = config.vlm.width, config.action_expert.width
        encoder = config.image_encoder
        self.image_encoder = (
            Siglip(encoder, vlm_width) if isinstance(encoder, VisionConfig) else Stem(encoder, vlm_width)
        )
        self.embed_tokens = nn.Embedding(config.vocab_size, vlm_width)
        self.layers = nn.ModuleList(LayerPair(config, is_last=n == config.depth - 1) for n in range(config.depth))
        self.action_norm = RMSNorm(width, config.rms_norm_eps)
        self.state_proj = Linear(config.action_width, width)
        self.action_in_proj = Linear(config.action_width, width)
        self.action_time_mlp_in = Linear(2 * width, width)
        self.action_time_mlp_out = Linear(width, width)
        self.action_out_proj = Linear(width, config.action_width)

    def forward(self, observation: Observation, noisy_actions: Tensor, time: Tensor) -> Tensor:
        """[B*K, H, W] velocity noise - actions at x_t [B*K, H, W], for times [B*K] in [0, 1].

        K draws of an observation, side by side, share its pass through the prefix, which costs most.
        """
        draws = len(time) // len(observation.state)
        prefix, valid_BP = self.embed_prefix(observation)
        state_B1E = self.embed_state(observation.state).repeat_interleave(draws, dim=0)
        suffix = torch.cat([state_B1E, self.embed_actions(noisy_actions, time)], dim=1)
        layout = self._lay_out(prefix, valid_BP, noisy_actions.shape[1]).with_draws(draws)
        for layer in self.layers:
            prefix, suffix, _ = layer(prefix, suffix, layout)
        return self._read_velocity(suffix[:, 1:])

    def remember(self, observation: Observation, *, horizon: int) -> Memory:
        """All that the velocity of `horizon` actions depends on besides themselves and time, computed once.

        The state's token comes before the actions' and sees none of them, so it is part of it.
        """
        prefix, valid_BP = self.embed_prefix(observation)
        layout, state = self._lay_out(prefix, valid_BP, horizon), self.embed_state(observation.state)
        before_actions, key_values = layout.of_state(), []
        for layer in self.layers:
            prefix, state, found = layer(prefix, state, before_actions)
            key_values.append(found)
        return Memory(key_values, layout.of_actions())

    def recall(self, memory: Memory, noisy_actions_BHW: Tensor, time_B: Tensor) -> Tensor:
        """[B, H, W] velocity for what was remembered: the same as `forward`, without computing the observation again.

        This is what sampling does in each step; `torch.compile` makes one graph of it.
        """
        actions = self.embed_actions(noisy_actions_BHW, time_B)
        for layer, key_values in zip(self.layers, memory.key_values, strict=True):
            actions = layer(key_values, actions, memory.layout).suffix
        return self._read_velocity(actions)

    def embed_prefix(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """[B, P, D] tokens of all pictures, then of the prompt, and [B, P] whether each is really there."""
        size = self.config.image_encoder.image_size
        if observation.images.shape[-2] != size:
            raise ValueError(f"images have side {observation.images.shape[-2]}, but the encoder takes {size}")
        prompt_BLD = self.embed_tokens(observation.tokens) * math.sqrt(self.config.vlm.width)
        images_BCKD = self.image_encoder(observation.images.to(prompt_BLD.dtype), prompt_BLD, observation.token_mask)
        image_mask = observation.image_mask.repeat_interleave(images_BCKD.shape[2], dim=1)
        prefix_BPD = torch.cat([images_BCKD.flatten(1, 2), prompt_BLD.to(images_BCKD.dtype)], dim=1)
        return prefix_BPD, torch.cat([image_mask, observation.token_mask], dim=1)

    def embed_state(self, state_BW: Tensor) -> Tensor:
        """[B, 1, E]."""
        state_BE: Tensor = self.state_proj(state_BW.to(self.state_proj.weight.dtype))
        return state_BE[:, None]

    def embed_actions(self, noisy_actions_BHW: Tensor, time_B: Tensor) -> Tensor:
        """[B, H, E]: W3 swish(W2 [W1 a; φ(t)]) for each action (Appendix B)."""
        config = self.config
        actions_BHE = self.action_in_proj(noisy_actions_BHW.to(self.action_in_proj.weight.dtype))
        time_BE = embed_time(
            time_B, config.action_expert.width, min_period=config.min_period, max_period=config.max_period
        )
        time_BHE = time_BE.to(actions_BHE.dtype)[:, None].expand_as(actions_BHE)
        mixed = self.action_time_mlp_in(torch.cat([actions_BHE, time_BHE], dim=-1))
        tokens: Tensor = self.action_time_mlp_out(functional.silu(mixed))
        return tokens

    def _lay_out(self, prefix_BPD: Tensor, valid_BP: Tensor, horizon: int) -> Layout:
        head_dim, theta = self.config.head_dim, self.config.rope_theta
        return lay_out(valid_BP, horizon=horizon, head_dim=head_dim, theta=theta, dtype=prefix_BPD.dtype)

    def _read_velocity(self, actions_BHE: Tensor) -> Tensor:
        """[B, H, W] from the action tokens after the last layer; no view, which FSDP2's hooks on results could lose."""
        velocity: Tensor = self.action_out_proj(self.action_norm(actions_BHE))
        return velocity.clone()
