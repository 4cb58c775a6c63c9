"""Which tokenizer a model reads prompts with, and where PaliGemma's is.

A model of PaliGemma's vocabulary reads them by its tokenizer, any other by the built-in words. So a checkpoint says
which; where PaliGemma's lies is the machine's: the folder that ROBOMIX_PALIGEMMA_TOKENIZER names, else the hub.
"""

import os
from pathlib import Path

from model.config import pi0
from model.models import ModelConfig
from model.paligemma_tokenizer import HUB, PaligemmaTokenizer
from model.tokenizer import Tokenizer, WordTokenizer
from schema.errors import ConfigError

FOLDER_VARIABLE = "ROBOMIX_PALIGEMMA_TOKENIZER"


def tokenizer_for(config: ModelConfig) -> Tokenizer:
    """The tokenizer of a model, in its sizes; ConfigError where it is PaliGemma's and cannot be had."""
    room, folder = config.max_prompt_tokens, os.environ.get(FOLDER_VARIABLE)
    try:
        if config.vocab_size != pi0().vocab_size:
            return WordTokenizer(max_tokens=room, vocab_size=config.vocab_size)
        if folder and not Path(folder).is_dir():
            raise ValueError(f"there is no folder {folder}")
        return PaligemmaTokenizer.load(folder or HUB, max_tokens=room)
    except ValueError as error:
        raise ConfigError(
            f"the model's tokenizer cannot be had: {error}; PaliGemma's is looked for in the folder that "
            f"{FOLDER_VARIABLE} names, else on the hub"
        ) from error
