"""PaliGemma's tokenizer, which released weights were trained with: <bos>, the cleaned text, a newline, as openpi's.

Case stays. transformers supplies the tokenizer, from a folder or, with its licence accepted, from the hub.
"""

# Legend: B prompts, L tokens per prompt.
import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch

from model.tokenizer import Prompts, clean

HUB = "google/paligemma-3b-pt-224"
"""Where the tokenizer is published, behind a licence."""
_PAD = 0

_log = logging.getLogger(__name__)


class HubTokenizer(Protocol):
    """What is asked of a tokenizer of transformers."""

    bos_token_id: int | None
    name_or_path: str

    def encode(self, text: str, /, *, add_special_tokens: bool, split_special_tokens: bool) -> list[int]:
        """The tokens of a text."""

    def decode(self, tokens: list[int], /) -> str:
        """The text of tokens."""


class PaligemmaTokenizer:
    """Prompts as π0's released weights know them; a `Tokenizer` (tokenizer.py)."""

    def __init__(self, tokenizer: HubTokenizer, *, max_tokens: int = 48, vocab_size: int = 257_152) -> None:
        self.max_tokens, self.vocab_size = max_tokens, vocab_size
        self._tokenizer = tokenizer
        self._newline = self._tokens("\n")
        bos = tokenizer.bos_token_id
        if bos is None or not self._newline:
            raise ValueError(
                f"{tokenizer.name_or_path!r} has bos {bos!r} and newline {self._newline!r}, "
                "expected tokens for both: it is no PaliGemma tokenizer"
            )
        self._bos = bos
        self.encode = lru_cache(65_536)(self._encode)
        """The tokens of a text, at most `max_tokens`; remembered, so that a text that is cut is told of once."""

    @classmethod
    def load(cls, source: str | Path = HUB, *, max_tokens: int = 48) -> "PaligemmaTokenizer":
        """The tokenizer in a folder (`tokenizer.json` and `tokenizer_config.json`), or of this name on the hub."""
        from transformers import AutoTokenizer  # noqa: PLC0415 - a second, and most models have a tokenizer of words

        try:
            tokenizer = AutoTokenizer.from_pretrained(str(source))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"no tokenizer can be had from {str(source)!r} ({str(error).splitlines()[0]}): give a folder that has "
                f"one, or accept the licence at https://huggingface.co/{HUB} and log in"
            ) from error
        return cls(tokenizer, max_tokens=max_tokens)

    def __call__(self, texts: Sequence[str]) -> Prompts:
        """Tokens and mask, both [B, max_tokens]; a text that does not fit is cut, and a warning shows what."""
        tokens_BL = torch.full((len(texts), self.max_tokens), _PAD, dtype=torch.int64)
        mask_BL = torch.zeros(tokens_BL.shape, dtype=torch.bool)
        for row, text in enumerate(texts):
            tokens = self.encode(text)
            tokens_BL[row, : len(tokens)] = torch.tensor(tokens)
            mask_BL[row, : len(tokens)] = True
        return Prompts(tokens_BL=tokens_BL, mask_BL=mask_BL)

    def count(self, text: str) -> int:
        """Tokens of a prompt, however many."""
        return len(self._whole(text))

    def _encode(self, text: str) -> tuple[int, ...]:
        tokens = self._whole(text)
        if len(tokens) > self.max_tokens:
            lost = self._tokenizer.decode(tokens[self.max_tokens :])
            _log.warning("prompt has %d tokens, %d fit; lost %r of %r", len(tokens), self.max_tokens, lost, text)
        return tuple(tokens[: self.max_tokens])

    def _whole(self, text: str) -> list[int]:
        return [self._bos, *self._tokens(clean(text)), *self._newline]

    def _tokens(self, text: str) -> list[int]:
        """Without what marks beginning and end; text that looks like a special token is text."""
        return self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
