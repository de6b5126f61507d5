"""The tokenizer: any text comes back, and a cut one agrees with the one that it was cut from."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.bundle.tokenizer import WORDS, Tokenizer, byte_characters
from rtstream.errors import BundleError
from tests.bundle.tiny_tokenizer import SPECIAL, make_tokenizer

# Any text, and texts in which the merges come up often.
TEXTS = st.text(max_size=40) | st.lists(st.sampled_from(["the", "and", " our", "ing", " café", "'s ", "\n", "9"])).map(
    "".join
)


@given(text=TEXTS)
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(text=TEXTS)
def test_words_cover_every_character(text):
    assert "".join(WORDS.findall(text)) == text


@given(text=TEXTS, keep=st.sets(st.integers(0, 260)))
def test_any_text_comes_back_from_a_cut_tokenizer(tokenizer, text, keep):
    cut, _ = tokenizer.cut(keep)
    assert cut.decode(cut.encode(text)) == text


@given(texts=st.lists(TEXTS, max_size=4))
def test_cut_tokenizer_encodes_texts_of_kept_tokens_as_the_full_one(tokenizer, texts):
    cut, old = tokenizer.cut({token for text in texts for token in tokenizer.encode(text)})
    for text in texts:
        assert [old[token] for token in cut.encode(text)] == tokenizer.encode(text)


@given(keep=st.sets(st.integers(0, 260)))
def test_cut_names_the_old_id_of_every_new_token(tokenizer, keep):
    cut, old = tokenizer.cut(keep)
    assert [tokenizer.pieces[index] for index in old] == list(cut.pieces)
    assert cut.special == {name: old.index(index) for name, index in tokenizer.special.items()}
    assert keep <= set(old)


def test_cut_keeps_bytes_ancestors_and_special_tokens_and_nothing_else(tokenizer):
    cut, _ = tokenizer.cut(tokenizer.encode(" and"))
    assert set(cut.pieces) == {*byte_characters().values(), "nd", "Ġa", "Ġand", *tokenizer.special}
    assert cut.merges == ("Ġ a", "n d", "Ġa nd")


def test_a_special_token_that_was_not_selected_is_cut(tokenizer):
    cut, _ = tokenizer.select_special(["<|endoftext|>"]).cut([])
    assert list(cut.special) == ["<|endoftext|>"]
    assert len(cut) == 257


def test_merges_apply_in_order_of_priority(tokenizer):
    pieces = [tokenizer.pieces[token] for token in tokenizer.encode(" the thing")]
    assert pieces == ["Ġthe", "Ġt", "h", "ing"]


def test_special_tokens_are_not_written(tokenizer):
    tokens = [*tokenizer.prompt(), *tokenizer.encode("the end"), tokenizer.end]
    assert tokenizer.decode(tokens) == "the end"


def test_text_that_looks_like_a_special_token_is_plain_text(tokenizer):
    tokens = tokenizer.encode("<|endoftext|>")
    assert tokenizer.end not in tokens
    assert tokenizer.decode(tokens) == "<|endoftext|>"


def test_bytes_that_are_no_utf8_become_replacement_characters(tokenizer):
    (_, *rest) = tokenizer.encode("é")
    assert tokenizer.decode(rest or [tokenizer.pieces.index("©")]) == "\N{REPLACEMENT CHARACTER}"


def test_prompt_is_start_language_task_without_times(tokenizer):
    names = {index: name for name, index in tokenizer.special.items()}
    expected = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    assert [names[token] for token in tokenizer.prompt()] == expected


def test_prompt_of_a_translation_names_the_spoken_language_and_the_task():
    both = make_tokenizer((*SPECIAL, "<|es|>", "<|translate|>"))
    names = {index: name for name, index in both.special.items()}
    expected = ["<|startoftranscript|>", "<|es|>", "<|translate|>", "<|notimestamps|>"]
    assert both.translates
    assert [names[token] for token in both.prompt("es", "translate")] == expected


@pytest.mark.parametrize("special", [SPECIAL, ("<|startoftranscript|>", "<|endoftext|>", "<|translate|>")])
def test_without_the_token_or_any_other_language_nothing_is_translated(special):
    assert not make_tokenizer(special).translates


def test_language_without_a_token_is_one_error_that_names_those_with_one():
    spanish = make_tokenizer((*SPECIAL, "<|es|>"))
    spanish.check_languages(["es", "en"], "here")
    make_tokenizer(SPECIAL).check_languages(["en"], "here")
    with pytest.raises(BundleError, match=r"^here: the decoder has no token for fr, it, only for en, es$"):
        spanish.check_languages(["fr", "es", "it"], "here")


def test_saved_tokenizer_is_read_back(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    loaded = Tokenizer.load(path)
    assert loaded == tokenizer
    assert loaded.encode(" the café's thing") == tokenizer.encode(" the café's thing")
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]


def broken(change):
    """JSON of a saved tokenizer after ``change``."""

    def write(path):
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return write


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-50]), id="truncated"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfe\x00"), id="not text"),
        pytest.param(lambda path: path.write_text("[]"), id="another JSON"),
        pytest.param(broken(lambda data: data.pop("merges")), id="no merges"),
        pytest.param(broken(lambda data: data["merges"].append("no such")), id="merge of unknown pieces"),
        pytest.param(broken(lambda data: data["merges"].append("a b c")), id="merge of three"),
        pytest.param(broken(lambda data: data["pieces"].remove("a")), id="byte missing"),
        pytest.param(broken(lambda data: data["pieces"].__setitem__(3, 3)), id="piece of another type"),
        pytest.param(broken(lambda data: data["special"].pop("<|endoftext|>")), id="no end token"),
        pytest.param(broken(lambda data: data["special"].update({"<|en|>": 9999})), id="special token out of range"),
        pytest.param(broken(lambda data: data.update(special=["<|en|>"])), id="special tokens without ids"),
    ],
)
def test_broken_file_is_one_error_that_names_it(spoil, tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    spoil(path)
    with pytest.raises(BundleError, match=r"tokenizer\.json: .*copy the bundle again") as caught:
        Tokenizer.load(path)
    assert "\n" not in str(caught.value)
