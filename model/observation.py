"""What π0 sees at one time step: pictures, prompt and state, batched and padded, with masks of what is really there."""

# Legend: B batch, C cameras, S side of the pictures, L prompt tokens, W padded state width.
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """A batch of observations. Padding may hold anything finite: what a mask leaves out changes no result."""

    images: Tensor
    """[B, C, S, S, 3] float in [-1, 1], see `normalize_images`."""
    image_mask: Tensor
    """[B, C] bool: false where a robot lacks the camera."""
    tokens: Tensor
    """[B, L] int64, right-padded."""
    token_mask: Tensor
    """[B, L] bool."""
    state: Tensor
    """[B, W] float, normalized, zero in padded dimensions."""

    def __post_init__(self) -> None:
        """Reject shapes and types that would broadcast or train silently wrong; ValueError lists all of them."""
        batch, cameras = self.image_mask.shape
        shape = self.images.shape
        wrong = []
        if len(shape) != 5 or shape[:2] != (batch, cameras) or shape[2] != shape[3] or shape[4] != 3:
            wrong.append(f"images have shape {tuple(shape)}, expected ({batch}, {cameras}, S, S, 3)")
        if not self.images.is_floating_point():
            wrong.append(f"images are {self.images.dtype}, expected floats: use normalize_images")
        if self.tokens.shape != self.token_mask.shape or self.tokens.ndim != 2 or len(self.tokens) != batch:
            shapes = f"{tuple(self.tokens.shape)} and {tuple(self.token_mask.shape)}"
            wrong.append(f"tokens and token_mask have shapes {shapes}, expected ({batch}, L) twice")
        if self.state.ndim != 2 or len(self.state) != batch:
            wrong.append(f"state has shape {tuple(self.state.shape)}, expected ({batch}, W)")
        if self.image_mask.dtype != torch.bool or self.token_mask.dtype != torch.bool:
            wrong.append(f"masks are {self.image_mask.dtype} and {self.token_mask.dtype}, expected bool")
        if wrong:
            raise ValueError("; ".join(wrong))

    def refuse_unusable(self) -> None:
        """ValueError that lists what no action can follow from: numbers that are not finite, no camera at all.

        Training need not ask: there such a sample shows in the loss, and a sample without cameras is finite.
        """
        wrong = [
            f"{what} of samples {rows} {problem}"
            for what, problem, is_wrong_B in (
                ("state", "has numbers that are not finite", ~self.state.isfinite().all(dim=1)),
                ("pictures", "have numbers that are not finite", ~self.images.isfinite().all(dim=(1, 2, 3, 4))),
                ("image_mask", "has no camera: at least one picture must be there", ~self.image_mask.any(dim=1)),
            )
            if (rows := is_wrong_B.nonzero()[:, 0].tolist())
        ]
        if wrong:
            raise ValueError("; ".join(wrong))

    def trimmed(self) -> "Observation":
        """The same observation without cameras that are absent and prompt columns that are padding in every sample.

        No result changes, since neither is attended to, and neither is computed. Worth it where shapes may change;
        compiled models want shapes that stay the same. One camera and one column stay, so that something is there.
        """
        longest = max(1, int(self.token_mask.sum(dim=1).max()))
        here = self.image_mask.any(dim=0).nonzero()[:, 0].tolist() or [0]
        return replace(
            self,
            images=self.images[:, here],
            image_mask=self.image_mask[:, here],
            tokens=self.tokens[:, :longest],
            token_mask=self.token_mask[:, :longest],
        )

    def rows(self, rows: Tensor) -> "Observation":
        """The observations of these samples, [B'] int64 or [B] bool."""
        return Observation(**{name: getattr(self, name)[rows] for name in self.__slots__})

    def by_cameras(self) -> "list[tuple[Tensor, Observation]]":
        """Samples that have the same cameras together: where they were, [B'] int64, and what they are, trimmed."""
        sets_GC, group_B = torch.unique(self.image_mask, dim=0, return_inverse=True)
        places = [(group_B == group).nonzero()[:, 0] for group in range(len(sets_GC))]
        return [(rows, self.rows(rows).trimmed()) for rows in places]

    def to(self, device: torch.device | str) -> "Observation":
        """The same observation on another device."""
        return Observation(
            images=self.images.to(device, non_blocking=True),
            image_mask=self.image_mask.to(device, non_blocking=True),
            tokens=self.tokens.to(device, non_blocking=True),
            token_mask=self.token_mask.to(device, non_blocking=True),
            state=self.state.to(device, non_blocking=True),
        )


def normalize_images(images: Tensor) -> Tensor:
    """Pictures of bytes 0…255 as float32 in [-1, 1], as SigLIP was trained; the padding of a fitted picture is -1."""
    if images.dtype != torch.uint8:
        raise ValueError(f"images are {images.dtype}, expected uint8: these may be normalized already")
    return images.float().div_(127.5).sub_(1.0)
