"""A model of PaliGemma's vocabulary reads prompts by its tokenizer, from a folder or the hub; others by our words."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from model.config import pi0, tiny, tiny_cpu
from model.paligemma_tokenizer import PaligemmaTokenizer
from model.tokenizer import WordTokenizer
from schema.errors import ConfigError
from training.prompts import FOLDER_VARIABLE, tokenizer_for


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a tokenizer of PaliGemma's kind, where it is looked for."""
    raw = Tokenizer(models.WordLevel({"<pad>": 0, "<bos>": 2, "<unk>": 3, "\n": 108, "▁": 109}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<bos>", unk_token="<unk>").save_pretrained(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def test_a_model_of_our_words_reads_them_in_its_sizes():
    tokenizer = tokenizer_for(tiny_cpu())

    assert isinstance(tokenizer, WordTokenizer)
    assert (tokenizer.max_tokens, tokenizer.vocab_size) == (32, 1024)
    assert tokenizer.count("put block " * 30) == 62


def test_real_widths_read_paligemmas_tokens_from_the_folder_that_is_named(folder):
    tokenizer = tokenizer_for(pi0())

    assert isinstance(tokenizer, PaligemmaTokenizer)
    assert (tokenizer.max_tokens, tokenizer.vocab_size) == (48, pi0().vocab_size)
    assert tokenizer.count("x") == len(tokenizer.encode("x")) == 3


@pytest.mark.parametrize(("name", "message"), [("nowhere", "there is no folder"), (".", "accept the licence at")])
def test_a_tokenizer_that_is_not_there_is_told_with_where_it_is_looked_for(tmp_path, monkeypatch, name, message):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / name))

    with pytest.raises(ConfigError, match=rf"{message}.*folder that {FOLDER_VARIABLE} names"):
        tokenizer_for(pi0())


def test_a_model_too_small_for_our_words_is_told():
    with pytest.raises(ConfigError, match="vocab_size >= 845"):
        tokenizer_for(tiny())
