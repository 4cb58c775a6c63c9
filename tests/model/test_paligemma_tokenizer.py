"""PaliGemma's tokenizer, with a small one of its kind in its place."""

import logging

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from model import tokenizer as builtin
from model.paligemma_tokenizer import PaligemmaTokenizer

BOS, NEWLINE = 2, 108
WORDS = ["put", "the", "red", "block", "on", "plate", "Pick", "up", "pick"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as the hub's: pieces with "▁" for spaces, <bos> and <image> as special tokens."""
    folder = tmp_path_factory.mktemp("tokenizer")
    pieces = {"<pad>": 0, "<eos>": 1, "<bos>": BOS, "<unk>": 3, "\n": NEWLINE, "▁": 109}
    for place, word in enumerate(WORDS):
        pieces |= {word: 200 + 2 * place, "▁" + word: 201 + 2 * place}
    raw = Tokenizer(models.WordLevel(pieces, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    raw.decoder = decoders.Metaspace(prepend_scheme="never")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )
    fast.add_special_tokens({"additional_special_tokens": ["<image>"]})
    fast.save_pretrained(folder)
    return folder


def test_a_prompt_is_bos_the_clean_text_and_a_newline(folder):
    tokenizer = PaligemmaTokenizer.load(folder)
    prompts = tokenizer(["put the red block", "pick_up\nthe block "])
    assert prompts.tokens_BL.shape == (2, 48)
    assert prompts.tokens_BL[0, :7].tolist() == [BOS, 200, 203, 205, 207, NEWLINE, 0]
    assert prompts.tokens_BL[1, :6].tolist() == [BOS, 216, 215, 203, 207, NEWLINE]
    assert prompts.mask_BL.sum(dim=1).tolist() == [6, 6]


def test_case_is_kept(folder):
    tokenizer = PaligemmaTokenizer.load(folder)
    assert tokenizer.encode("Pick up") != tokenizer.encode("pick up")


def test_what_looks_like_a_special_token_is_text(folder):
    tokenizer = PaligemmaTokenizer.load(folder)
    image = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("<image>")
    assert image not in tokenizer.encode("put <image>")
    assert BOS not in tokenizer.encode("put <bos>")[1:]


def test_a_cut_prompt_tells_once_what_was_lost(folder, caplog):
    tokenizer = PaligemmaTokenizer.load(folder, max_tokens=4)
    with caplog.at_level(logging.WARNING, logger="model.paligemma_tokenizer"):
        prompts = tokenizer(["put the red block"] * 2)
    assert prompts.tokens_BL[0].tolist() == [BOS, 200, 203, 205]
    (record,) = caplog.records
    assert "prompt has 6 tokens, 4 fit; lost" in record.message
    assert "block\\n' of 'put the red block'" in record.message


def test_it_is_a_tokenizer_like_the_built_in_one(folder):
    tokenizer: builtin.Tokenizer = PaligemmaTokenizer.load(folder)
    assert tokenizer.max_tokens == builtin.WordTokenizer().max_tokens
    assert tokenizer.vocab_size == 257_152


def test_a_folder_without_a_tokenizer_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"no tokenizer can be had from .* accept the licence at"):
        PaligemmaTokenizer.load(tmp_path)
