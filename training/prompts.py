"""Which tokenizer a model reads prompts with, and where PaliGemma's is.

A model of PaliGemma's vocabulary reads them by its tokenizer, any other by the built-in words. So a checkpoint says
which; where PaliGemma's lies is the machine's: the folder that ROBOMIX_PALIGEMMA_TOKENIZER names, else the hub.
"""

import os

from model.config import pi0
from model.models import ModelConfig
from model.paligemma_tokenizer import HUB, PaligemmaTokenizer
from model.tokenizer import Tokenizer, WordTokenizer
from schema.errors import ConfigError

FOLDER_VARIABLE = "ROBOMIX_PALIGEMMA_TOKENIZER"


def tokenizer_for(config: ModelConfig) -> Tokenizer:
    """The tokenizer of a model, in its sizes; ConfigError where it is PaliGemma's and cannot be had."""
    room = config.max_prompt_tokens
    try:
        if config.vocab_size != pi0().vocab_size:
            return WordTokenizer(max_tokens=room, vocab_size=config.vocab_size)
        return PaligemmaTokenizer.load(os.environ.get(FOLDER_VARIABLE) or HUB, max_tokens=room)
    except ValueError as error:
        raise ConfigError(f"{error}; PaliGemma's is looked for in the folder that {FOLDER_VARIABLE} names") from error
