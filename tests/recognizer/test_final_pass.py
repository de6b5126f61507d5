"""The search, over a decoder whose next token is written down: what it says is a function of the tokens so far."""

import math
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from rtstream.engine.torch_int8 import TorchDecoder
from rtstream.model.config import DecoderConfig
from rtstream.nn.decoder import Decoder
from rtstream.recognizer.beam_pass import BeamDecoder
from rtstream.recognizer.final_pass import (
    GUESSED_TOKENS,
    READ_AGAIN,
    REPEATS,
    GreedyDecoder,
    left_of,
    places,
    repeats,
    token_limit,
)
from tests.bundle.tiny_tokenizer import SPECIAL, make_tokenizer

TOKENIZER = make_tokenizer((*SPECIAL, "<|de|>", "<|translate|>"))
SEARCHES = {"greedy": GreedyDecoder, "beam": partial(BeamDecoder, width=3, sure=math.inf)}
by_each_search = pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)


class Scripted(Decoder):
    """Says the given tokens, then ends; attends to the frame given for each."""

    def __init__(self, says, frames=None, sink=None):
        super().__init__(DecoderConfig(len(TOKENIZER), 8, 1, 8, 1))
        self.says = says
        self.heard = frames or list(range(len(says)))
        self.sink = sink
        self.opens = {}
        self.calls = 0
        self.reads = []
        self.most = 0

    def step(self, tokens, state, *, scored=None):
        self.calls += 1
        self.reads.append((state.tokens, len(tokens)))
        self.most = max(self.most, state.tokens + len(tokens))
        prompt = len(TOKENIZER.prompt())
        logits = torch.zeros(len(tokens), len(TOKENIZER))
        attention = torch.zeros(len(tokens), state.frames)
        for row in range(len(tokens)):
            place = state.tokens + row + 1 - prompt
            following = self.says[place] if 0 <= place < len(self.says) else TOKENIZER.end
            logits[row, following] = 1.0
            if state.tokens + row == 0:
                for name, score in self.opens.items():
                    logits[row, TOKENIZER.special[name]] = score
            if 0 <= place < len(self.heard):
                attention[row, min(self.heard[place], state.frames - 1)] = 1.0
            if self.sink is not None:
                attention[row, self.sink] += 2.0
        grown = state.tokens + len(tokens)
        keys = tuple(torch.zeros(1, grown, 8) for _ in state.keys)
        return logits[-(scored or len(tokens)) :], attention, replace(state, keys=keys, values=keys)

    def read(self, tokens, state):
        place = state.tokens + tokens.shape[1] - len(TOKENIZER.prompt())
        logits = torch.zeros(len(tokens), len(TOKENIZER))
        logits[:, self.says[place] if place < len(self.says) else TOKENIZER.end] = 1.0
        return logits, super().read(tokens, state)[1]

    def at(self, frames):
        return self.extend(torch.zeros(frames, 8), self.initial_state())


def words(text):
    return TOKENIZER.encode(f" {text}")


def test_a_final_is_what_the_decoder_says_until_it_ends():
    decoder = Scripted(words("one two"))
    decoded = GreedyDecoder(TorchDecoder(decoder), TOKENIZER).transcribe(decoder.at(200))
    assert TOKENIZER.decode(decoded.tokens) == " one two"
    assert decoded.ended


@by_each_search
@pytest.mark.parametrize("draft", ["", " one two three", " one six three", " seven", " one two three four five"])
def test_a_draft_changes_nothing_of_a_final(search, draft):
    decoder = Scripted(words("one two three"))
    search = search(TorchDecoder(decoder), TOKENIZER)
    plain = search.transcribe(decoder.at(200))
    assert search.transcribe(decoder.at(200), TOKENIZER.encode(draft)) == plain


def test_a_right_draft_of_a_final_is_read_at_once():
    decoder = Scripted(words("one two three"))
    GreedyDecoder(TorchDecoder(decoder), TOKENIZER).transcribe(decoder.at(200), decoder.says)
    assert decoder.calls == 1 + (len(decoder.says) > GUESSED_TOKENS)
    decoder.calls = 0
    GreedyDecoder(TorchDecoder(decoder), TOKENIZER).transcribe(decoder.at(200))
    assert decoder.calls == len(decoder.says) + 1


@by_each_search
def test_what_was_read_of_a_committed_text_is_read_no_more_but_for_its_end(search):
    says = words("one two three four five six seven eight")
    decoder = Scripted(says, [10 * place for place in range(len(says))])
    search = search(TorchDecoder(decoder), TOKENIZER)
    prompt, shown = len(TOKENIZER.prompt()), says[:-4]
    first = search.extend(decoder.at(10 * len(says)), shown[:-3], 5, [])
    assert first.state.tokens == prompt + len(shown) - 3
    fresh = search.extend(decoder.at(10 * len(says) + 40), shown, 5, [])
    further = decoder.extend(torch.zeros(40, 8), first.state)
    decoder.reads.clear()
    assert search.extend(further, shown, 5, []) == fresh
    # What was read by then, or the last four: whichever is more is read again.
    assert decoder.reads[0] == (prompt + len(shown) - READ_AGAIN, READ_AGAIN)
    assert all(before >= prompt + len(shown) - READ_AGAIN for before, _ in decoder.reads)


def test_a_right_draft_saves_its_steps():
    says = words("one two three")
    plain, drafted = Scripted(says), Scripted(says)
    GreedyDecoder(TorchDecoder(plain), TOKENIZER).extend(plain.at(200), [], 0, [])
    GreedyDecoder(TorchDecoder(drafted), TOKENIZER).extend(drafted.at(200), [], 0, says)
    assert drafted.calls == 1 + (len(says) > GUESSED_TOKENS)
    assert plain.calls == len(says) + 1


@pytest.mark.parametrize(
    ("draft", "calls"),
    [
        ([11, 19, 13, 14, 15], 2),  # another token in the place of one
        ([11, 13, 14, 15], 3),  # one missing: at first the next is taken for it
        ([11, 19, 12, 13, 14, 15], 2),  # one too many
        ([18, 19, 13, 14, 15], 3),  # two others
    ],
    ids=["another", "missing", "too many", "two others"],
)
def test_what_follows_a_wrong_token_of_a_draft_still_saves_steps(draft, calls):
    decoder = Scripted([11, 12, 13, 14, 15])
    grown = GreedyDecoder(TorchDecoder(decoder), TOKENIZER).extend(decoder.at(200), [], 0, draft)
    assert grown.tokens == decoder.says
    assert decoder.calls == calls


def test_a_draft_is_read_no_further_than_the_decoder_has_room_for():
    decoder = Scripted([11, 12, 13])
    decoder.config = replace(decoder.config, max_tokens=len(TOKENIZER.prompt()) + 5)
    grown = GreedyDecoder(TorchDecoder(decoder), TOKENIZER).extend(decoder.at(500), [], 0, [11, *range(20, 40)])
    assert grown.tokens == decoder.says
    assert decoder.most <= decoder.config.max_tokens


def test_the_first_token_says_whether_anybody_speaks_and_in_which_language():
    decoder = Scripted([])
    silence = GreedyDecoder(TorchDecoder(decoder), TOKENIZER).opening(decoder.at(200))
    decoder.opens = {"<|en|>": 3.0, "<|de|>": 1.0, "<|nospeech|>": 2.0}
    spoken = GreedyDecoder(TorchDecoder(decoder), TOKENIZER).transcribe(decoder.at(200)).opening
    assert spoken == GreedyDecoder(TorchDecoder(decoder), TOKENIZER).opening(decoder.at(200))
    assert spoken.no_speech > silence.no_speech
    assert spoken.language > silence.language == pytest.approx(0.5)
    # Where the languages are weighed against each other, nobody's speaking does not count.
    decoder.opens["<|nospeech|>"] = 9.0
    assert GreedyDecoder(TorchDecoder(decoder), TOKENIZER).opening(decoder.at(200)).language == pytest.approx(
        spoken.language
    )


def test_decoder_of_one_language_does_not_doubt_it():
    special = [name for name in TOKENIZER.special if len(name) != len("<|en|>") and name != "<|transcribe|>"]
    english = TOKENIZER.select_special(special)
    decoder = Scripted([])
    assert len(english.prompt()) == 2
    assert GreedyDecoder(TorchDecoder(decoder), english).opening(decoder.at(200)).language == 1.0
    assert GreedyDecoder(TorchDecoder(decoder), english).transcribe(decoder.at(200)).ended


def test_a_loop_is_cut_and_not_taken_for_an_end():
    decoder = Scripted(words("and then " * 100))
    decoded = GreedyDecoder(TorchDecoder(decoder), TOKENIZER).transcribe(decoder.at(1500))
    assert not decoded.ended
    assert len(decoded.tokens) < 60


def test_a_text_longer_than_anyone_can_speak_is_cut():
    decoder = Scripted([token for n in range(400) for token in words(str(n * n))])
    decoded = GreedyDecoder(TorchDecoder(decoder), TOKENIZER).transcribe(decoder.at(50))
    assert not decoded.ended
    assert len(decoded.tokens) <= token_limit(50)


def test_no_frames_give_no_text():
    decoder = Scripted(words("ghost"))
    assert GreedyDecoder(TorchDecoder(decoder), TOKENIZER).transcribe(decoder.initial_state()).tokens == []


@by_each_search
def test_a_partial_stops_where_the_newest_audio_is_and_gives_whole_words(search):
    says = words("one two three")
    frames = [10 * place for place in range(len(says))]
    decoder = Scripted(says, frames)
    search = search(TorchDecoder(decoder), TOKENIZER)
    committed: list[int] = []
    texts = []
    for seen in range(10, 10 * len(says) + 40, 10):
        committed = committed + search.extend(decoder.at(seen), committed, 5, []).tokens
        texts.append(TOKENIZER.decode(committed))
    assert texts[-1] == " one two three"
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert all(text in {"", " one", " one two", " one two three"} for text in texts)


@by_each_search
@pytest.mark.parametrize("sink", [0, 7, 200, 399])
def test_a_frame_that_every_step_attends_to_most_neither_stops_a_partial_nor_lets_it_go_on(search, sink):
    says = words("one two three")
    frames = [100 + 20 * place for place in range(len(says))]
    decoder = Scripted(says, frames, sink)
    added = search(TorchDecoder(decoder), TOKENIZER).extend(decoder.at(400), [], 20, []).tokens
    assert TOKENIZER.decode(added) == " one two three"
    if sink < 100:
        added = search(TorchDecoder(decoder), TOKENIZER).extend(decoder.at(110), [], 20, []).tokens
        assert added == []


def test_places_are_where_a_step_attends_to_more_than_those_before_it():
    attention = np.full((4, 50), 0.01, np.float32)
    attention[:, 9] = 0.3
    for step, frame in enumerate([20, 30, 25, 40]):
        attention[step, frame] = 0.1
    assert places(attention)[1:] == [30, 25, 40]


@by_each_search
def test_a_partial_does_not_begin_the_text_again(search):
    says = words("one two")
    decoder = Scripted(says * 2, [100 + n for n in range(len(says))] + [0] * len(says))
    added = search(TorchDecoder(decoder), TOKENIZER).extend(decoder.at(400), [], 5, []).tokens
    assert TOKENIZER.decode(added) == " one two"


def test_a_partial_translation_may_go_back_for_words_that_english_has_first():
    says = words("one two three")
    decoder = Scripted(says, [100] * len(words("one")) + [10] * len(says))
    translating = GreedyDecoder(TorchDecoder(decoder), TOKENIZER, "de", task="translate")
    assert translating.prompt == TOKENIZER.prompt("de", "translate") != TOKENIZER.prompt("de")
    assert TOKENIZER.decode(translating.extend(decoder.at(400), [], 5, []).tokens) == " one two three"


@by_each_search
@pytest.mark.parametrize("committed", ["", "one"])
@pytest.mark.parametrize("draft", ["", " two", " two three four", " six two three", " seven", " two two three"])
def test_a_draft_changes_nothing_of_what_a_partial_grows_by(search, committed, draft):
    says = words("one two three four")
    decoder = Scripted(says, [10 * place for place in range(len(says))])
    search = search(TorchDecoder(decoder), TOKENIZER)
    shown = words(committed) if committed else []
    for seen in (60, 120, 400):
        plain = search.extend(decoder.at(seen), shown, 5, [])
        assert search.extend(decoder.at(seen), shown, 5, TOKENIZER.encode(draft)) == plain


def test_what_was_written_after_the_whole_words_is_the_next_draft():
    says = words("one two three")
    decoder = Scripted(says, [10 * place for place in range(len(says))])
    grown = GreedyDecoder(TorchDecoder(decoder), TOKENIZER).extend(decoder.at(10 * (len(says) - 2)), [], 5, [])
    assert says[: len(grown.tokens) + len(grown.draft)] == [*grown.tokens, *grown.draft]
    assert grown.draft


@by_each_search
def test_the_first_partial_knows_what_comes_before_the_text_and_later_ones_do_not_ask(search):
    decoder = Scripted(words("one two"))
    decoder.opens = {"<|en|>": 3.0}
    search = search(TorchDecoder(decoder), TOKENIZER)
    assert search.extend(decoder.at(200), [], 5, []).opening == search.opening(decoder.at(200))
    assert search.extend(decoder.at(200), words("one"), 5, []).opening is None


@pytest.mark.parametrize(
    ("draft", "token", "written", "left"),
    [([1, 2, 3], 1, 1, [2, 3]), ([1, 2, 3], 2, 1, [3]), ([1, 2, 3], 9, 1, [2, 3]), ([], 9, 1, []), ([1], 9, 2, [])],
    ids=["right", "a token left out", "another token", "no draft", "past its end"],
)
def test_the_rest_of_a_draft_follows_what_came_in_its_place(draft, token, written, left):
    assert left_of(draft, token, written) == left


@pytest.mark.parametrize(
    ("tokens", "looping"),
    [
        ([], False),
        ([1, 2, 3, 4], False),
        ([5] * 16, False),  # the ones of a card number
        ([5] * 20, True),
        ([1, 2] * 9, False),
        ([1, 2, 3, 4, 5] * REPEATS, True),
        ([9, 1, 2, 3, 1, 2, 3], False),
    ],
)
def test_a_repetition_counts_as_a_loop_when_nobody_would_say_it(tokens, looping):
    assert repeats(tokens) is looping
