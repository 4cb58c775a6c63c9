"""Prompts to tokens: what a tokenizer owes the model, and a small built-in one that needs no download.

A prompt is <bos>, the cleaned text and a newline, as in π0, padded on the right.
"""

# Legend: B prompts, L tokens per prompt.
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from model.vocabulary import WORDS

PAD, NEWLINE, BOS, SPELLED = range(4)
"""Tokens of padding, prompt end, prompt start, and "a word spelled in bytes follows"."""
_FIRST_BYTE = 4
_FIRST_WORD = _FIRST_BYTE + 256
_TOKENS = {word: _FIRST_WORD + place for place, word in reversed(list(enumerate(WORDS)))}
_ENDLESS = 1 << 20
_PIECES = re.compile(r"\w+|[^\w\s]")
"""Words and single marks."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompts:
    """A batch of tokenized prompts, as `Observation` takes it."""

    tokens_BL: Tensor
    """[B, L] int64, right-padded."""
    mask_BL: Tensor
    """[B, L] bool."""


class Tokenizer(Protocol):
    """Prompts to padded tokens; the same text always gives the same tokens."""

    @property
    def vocab_size(self) -> int:
        """All tokens are below this."""

    @property
    def max_tokens(self) -> int:
        """L, whatever the texts: static shapes keep compiled models from being compiled again."""

    def __call__(self, texts: Sequence[str]) -> Prompts:
        """Tokenize; a text that does not fit is cut, with a warning that shows what was lost."""

    def count(self, text: str) -> int:
        """Tokens of a prompt, however many: what is over `max_tokens` would be cut."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WordTokenizer:
    """One token per common word of robot instructions (vocabulary.py), any other word as its UTF-8 bytes.

    Case is dropped. For models trained from scratch: no released model knows these tokens.
    """

    max_tokens: int = 48
    vocab_size: int = 1024
    """Leaves room for words to be appended to the vocabulary."""

    def __post_init__(self) -> None:
        if self.max_tokens < 2 or self.vocab_size < _FIRST_WORD + len(WORDS):
            needed = f"max_tokens >= 2 and vocab_size >= {_FIRST_WORD + len(WORDS)}"
            raise ValueError(f"a tokenizer needs {needed}, got {self}")

    def __call__(self, texts: Sequence[str]) -> Prompts:
        """Tokens and mask, both [B, max_tokens]."""
        tokens_BL = torch.full((len(texts), self.max_tokens), PAD, dtype=torch.int64)
        mask_BL = torch.zeros(tokens_BL.shape, dtype=torch.bool)
        for row, text in enumerate(texts):
            tokens = encode(text, max_tokens=self.max_tokens)
            tokens_BL[row, : len(tokens)] = torch.tensor(tokens)
            mask_BL[row, : len(tokens)] = True
        return Prompts(tokens_BL=tokens_BL, mask_BL=mask_BL)

    def count(self, text: str) -> int:
        """Tokens of a prompt, however many."""
        return len(encode(text, max_tokens=_ENDLESS))


def clean(text: str) -> str:
    """The text as π0's prompts have it: stripped, underscores and newlines as spaces."""
    return text.strip().replace("_", " ").replace("\n", " ")


@lru_cache(maxsize=65_536)
def encode(text: str, *, max_tokens: int) -> tuple[int, ...]:
    """<bos>, words, newline; at most `max_tokens`, cutting the last words and keeping the newline.

    What was cut is logged as a warning, once for a text.
    """
    words = [_word(piece) for piece in _PIECES.findall(clean(text).lower())]
    tokens = [token for word in words for token in word]
    room = max_tokens - 2
    if len(tokens) > room:
        lost = decode(tokens[room:])
        _log.warning("prompt has %d tokens, %d fit; lost %r of %r", len(tokens) + 2, max_tokens, lost, text)
    return (BOS, *tokens[:room], NEWLINE)


def decode(tokens: Sequence[int]) -> str:
    """The words and marks of these tokens, separated by spaces; bytes that are no UTF-8 become U+FFFD."""
    pieces: list[bytes] = []
    is_spelling = False
    for token in tokens:
        is_byte = _FIRST_BYTE <= token < _FIRST_WORD
        if is_byte and is_spelling:
            pieces[-1] += bytes([token - _FIRST_BYTE])
        elif is_byte:
            pieces.append(bytes([token - _FIRST_BYTE]))
        elif token == SPELLED:
            pieces.append(b"")
        elif _FIRST_WORD <= token < _FIRST_WORD + len(WORDS):
            pieces.append(WORDS[token - _FIRST_WORD].encode())
        is_spelling = is_byte or token == SPELLED
    return " ".join(piece.decode(errors="replace") for piece in pieces)


def _word(piece: str) -> tuple[int, ...]:
    if piece in _TOKENS:
        return (_TOKENS[piece],)
    return (SPELLED, *(_FIRST_BYTE + byte for byte in piece.encode(errors="replace")))
