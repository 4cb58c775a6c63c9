"""Which tokenizer a model reads prompts with, and where PaliGemma's is.

A model of PaliGemma's vocabulary reads them by its tokenizer, any other by the built-in words. So a checkpoint says
which; where PaliGemma's lies is the machine's: the folder that ROBOMIX_PALIGEMMA_TOKENIZER names, else the hub.
"""

import os

from model.config import Pi0Config, pi0
from model.paligemma_tokenizer import HUB, PaligemmaTokenizer
from model.tokenizer import Tokenizer, WordTokenizer
from schema.errors import ConfigError

FOLDER_VARIABLE = "ROBOMIX_PALIGEMMA_TOKENIZER"


def tokenizer_for(config: Pi0Config) -> Tokenizer:
    """The tokenizer of a model, in its sizes; ConfigError where it is PaliGemma's and cannot be had."""
    size = {"max_tokens": config.max_prompt_tokens}
    if config.vocab_size != pi0().vocab_size:
        return WordTokenizer(vocab_size=config.vocab_size, **size)
    try:
        return PaligemmaTokenizer.load(os.environ.get(FOLDER_VARIABLE) or HUB, **size)
    except ValueError as error:
        raise ConfigError(f"{error}; a folder is named by {FOLDER_VARIABLE}") from error
