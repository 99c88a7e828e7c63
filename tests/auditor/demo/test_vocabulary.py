import pytest
from transformers import CLIPTokenizer

from auditor.demo.vocabulary import MAX_TOKENS, WORDS, learn_merges, write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(directory)
    return CLIPTokenizer.from_pretrained(directory, local_files_only=True)


def test_each_caption_word_is_one_token(tokenizer):
    assert [word for word in WORDS if len(tokenizer(word).input_ids) != 3] == []


def test_any_text_has_tokens_and_comes_back(tokenizer):
    ids = tokenizer("zébra → 42 Ω").input_ids
    assert ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == "zébra→42ω"


def test_special_tokens_end_the_vocabulary(tokenizer):
    assert tokenizer.bos_token_id == len(tokenizer) - 2
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == len(tokenizer) - 1
    assert tokenizer.model_max_length == MAX_TOKENS


def test_merges_are_learned_alike_whatever_the_order():
    assert learn_merges(("three", "ten", "red")) == learn_merges(("red", "ten", "three"))
