"""The built-in tokenizer: one token per common word, bytes for the rest, never a download."""

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import tiny_cpu
from model.tokenizer import BOS, NEWLINE, PAD, Tokenizer, WordTokenizer, clean, decode, encode
from model.vocabulary import WORDS

SENTENCES = [
    "put the red block on the purple plate and the blue block on the yellow plate",
    "hand the green block over and put it on the orange plate",
    "stack the yellow block on the green block with the left arm",
    "fold the shirt",
    "bimanual_arx, joint_position at 50 Hz: put the red block on the pink plate and the blue block on the red plate",
]


@pytest.fixture
def tokenizer() -> Tokenizer:
    return WordTokenizer()


def test_prompt_starts_and_ends_as_in_pi0_and_is_padded_to_48(tokenizer):
    prompts = tokenizer(["fold the shirt", ""])
    assert prompts.tokens_BL.shape == (2, 48)
    assert prompts.tokens_BL.dtype == torch.int64
    assert prompts.mask_BL.sum(dim=1).tolist() == [5, 2]
    assert prompts.tokens_BL[0, [0, 4, 5]].tolist() == [BOS, NEWLINE, PAD]
    assert prompts.tokens_BL[1, :2].tolist() == [BOS, NEWLINE]
    assert not prompts.tokens_BL[~prompts.mask_BL].any()


@pytest.mark.parametrize("sentence", SENTENCES)
def test_common_words_are_one_token_each(sentence):
    words = sentence.replace("_", " ").replace(",", " ,").replace(":", " :").split()
    assert len(encode(sentence, max_tokens=48)) == len(words) + 2


@pytest.mark.parametrize("sentence", SENTENCES)
def test_tiny_model_has_room_for_usual_prompts(sentence):
    assert encode(sentence, max_tokens=tiny_cpu().max_prompt_tokens) == encode(sentence, max_tokens=48)


def test_cleaning_is_that_of_pi0():
    assert clean(" pick_up\nthe Cup ") == "pick up the Cup"
    assert encode("pick_up_the Cup", max_tokens=48) == encode(" pick up\nthe cup ", max_tokens=48)


def test_different_words_have_different_tokens():
    assert len({encode(word, max_tokens=48) for word in WORDS}) == len(WORDS)


def test_a_spelled_word_is_not_two(tokenizer):
    assert encode("foo bar", max_tokens=48) != encode("foobar", max_tokens=48)


@given(st.text(max_size=30))
def test_decoding_gives_back_the_words(text):
    words = decode(encode(text, max_tokens=1000))
    assert encode(words, max_tokens=1000) == encode(text, max_tokens=1000)
    assert "".join(words.split()) == "".join(clean(text).lower().split())


@given(st.text(), st.integers(2, 20))
def test_all_tokens_are_in_the_vocabulary_and_fit(text, max_tokens):
    tokens = encode(text, max_tokens=max_tokens)
    assert len(tokens) <= max_tokens
    assert all(0 <= token < WordTokenizer().vocab_size for token in tokens)


def test_a_cut_prompt_keeps_its_newline_and_tells_what_was_lost(caplog):
    with caplog.at_level(logging.WARNING, logger="model.tokenizer"):
        prompts = WordTokenizer(max_tokens=5)(["put the red block on the plate"] * 2)
    assert decode(prompts.tokens_BL[0].tolist()) == "put the red"
    assert prompts.tokens_BL[0, -1] == NEWLINE
    assert [record.message for record in caplog.records] == [
        "prompt has 9 tokens, 5 fit; lost 'block on the plate' of 'put the red block on the plate'"
    ]


def test_tokens_of_words_never_change():
    assert encode("the red blocks, 4 Hz", max_tokens=48) == (2, 287, 336, 482, 261, 281, 816, 1)


def test_sizes_without_room_are_refused():
    with pytest.raises(ValueError, match="vocab_size >= "):
        WordTokenizer(vocab_size=300)


def test_tiny_model_knows_all_tokens():
    assert WordTokenizer().vocab_size <= tiny_cpu().vocab_size
