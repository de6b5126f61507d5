"""Beam search for finals: greedy search's limits, and texts that the model likes at least as well."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from rtstream.engine.open import load_bundle
from rtstream.engine.torch_int8 import TorchDecoder
from rtstream.errors import ConfigError
from rtstream.events import SegmentAudio
from rtstream.model.config import DecoderConfig
from rtstream.nn.decoder import Decoder
from rtstream.recognizer.beam_pass import BeamDecoder
from rtstream.recognizer.final_pass import GreedyDecoder, repeats, token_limit
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.recognizer.session import RecognizerSession
from tests.bundle.tiny_tokenizer import SPECIAL, make_tokenizer
from tests.nn.tiny_models import Markov, noise
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle
from tests.vad.recordings import read_clip

TOKENIZER = make_tokenizer((*SPECIAL, "<|de|>"))
SIZE = len(TOKENIZER)
PROMPT_END = TOKENIZER.prompt()[-1]
MODEL = Path(__file__).parents[2] / "models" / "base"


def random_decoder(seed):
    """Says anything; some end, some loop, some run on."""
    torch.manual_seed(seed)
    decoder = Decoder(DecoderConfig(SIZE, 16, 2, 32, 2)).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return decoder


def at(decoder, frames):
    states = noise(frames, decoder.config.d_model).to(decoder.positions.dtype)
    with torch.no_grad():
        return decoder.extend(states, decoder.initial_state())


@torch.no_grad()
def transcribed(decoder, beam, frames):
    return BeamDecoder(TorchDecoder(decoder), TOKENIZER, beam).transcribe(at(decoder, frames))


def chain(text, **likely):
    """A decoder that says these tokens, each with a probability of 0.9."""
    table = {before: {token: 0.9} for before, token in zip([PROMPT_END, *text], [*text, TOKENIZER.end], strict=True)}
    return Markov(SIZE, table | likely)


@pytest.mark.parametrize("seed", range(8))
def test_limits_are_those_of_greedy_search_and_what_it_ends_the_beam_ends(seed):
    decoder, frames = random_decoder(seed), 60
    with torch.no_grad():
        greedy = GreedyDecoder(TorchDecoder(decoder), TOKENIZER).transcribe(at(decoder, frames))
    for beam in (1, 2, 5):
        found = transcribed(decoder, beam, frames)
        assert found == transcribed(decoder, beam, frames)
        assert len(found.tokens) <= token_limit(frames)
        assert not set(found.tokens) & set(TOKENIZER.unwritten)
        assert found.ended or not greedy.ended
        assert not (found.ended and repeats(found.tokens))
        assert found.opening.no_speech == pytest.approx(greedy.opening.no_speech)
        assert found.opening.language == pytest.approx(greedy.opening.language)
        if beam == 1:
            assert (found.tokens, found.ended) == (greedy.tokens, greedy.ended)


def test_a_text_is_found():
    text = TOKENIZER.encode(" one")
    found = transcribed(chain(text), 3, 200)
    assert (found.tokens, found.ended) == (text, True)
    assert found.certainty == pytest.approx(np.log(0.9), abs=0.01)


def test_a_loop_is_cut_and_not_taken_for_an_end():
    word = TOKENIZER.encode(" and")[0]
    looping = Markov(SIZE, {PROMPT_END: {word: 0.99}, word: {word: 0.999}})
    for beam in (2, 5):
        found = transcribed(looping, beam, 1500)
        assert not found.ended
        assert len(found.tokens) < token_limit(1500) / 2


def test_where_nothing_ends_it_is_as_greedy_search_has_it():
    endless = Markov(SIZE, {token: {(token + 1) % SIZE: 0.9} for token in range(SIZE)})
    endless.following[:, TOKENIZER.end] = 1e-30
    with torch.no_grad():
        greedy = GreedyDecoder(TorchDecoder(endless), TOKENIZER).transcribe(at(endless, 50))
    assert not greedy.ended
    assert transcribed(endless, 3, 50) == greedy


@pytest.mark.parametrize(("sure", "words"), [(-2.0, "the in"), (-1.0, "a er"), (np.inf, "a er")])
@pytest.mark.parametrize("shown", [[], TOKENIZER.encode(" one")], ids=["from the beginning", "after what was shown"])
def test_the_beam_is_for_texts_in_which_greedy_search_is_unsure(sure, words, shown):
    the, a, inside, later = (TOKENIZER.encode(word)[0] for word in (" the", " a", "in", "er"))
    likely = {
        shown[-1] if shown else PROMPT_END: {the: 0.5, a: 0.49},
        the: {inside: 0.3},
        inside: {TOKENIZER.end: 0.2},
        a: {later: 0.98},
        later: {TOKENIZER.end: 0.98},
    }
    decoder = Markov(SIZE, likely)
    search = BeamDecoder(TorchDecoder(decoder), TOKENIZER, 4, sure=sure)
    expected = {"the in": [the, inside], "a er": [a, later]}[words]
    with torch.no_grad():
        assert search.extend(at(decoder, 200), shown, 5, []).tokens == expected
        if not shown:
            assert search.transcribe(at(decoder, 200)).tokens == expected


@pytest.mark.parametrize("seed", range(4))
def test_a_partial_grows_within_the_limits_of_a_final(seed):
    decoder, frames = random_decoder(seed), 60
    search = BeamDecoder(TorchDecoder(decoder), TOKENIZER, 3)
    shown: list[int] = []
    with torch.no_grad():
        for seen in (20, 40, frames):
            grown = search.extend(at(decoder, seen), shown, 5, [])
            assert (grown.opening is None) == bool(shown)
            shown = shown + grown.tokens
    assert len(shown) <= token_limit(frames)
    assert not set(shown) & {*TOKENIZER.unwritten, TOKENIZER.end}
    assert not repeats(shown)


def test_log_probabilities_are_those_of_the_tokens_and_the_end():
    text = TOKENIZER.encode(" one and")
    with torch.no_grad():
        found = GreedyDecoder(TorchDecoder(chain(text)), TOKENIZER).transcribe(at(chain(text), 200))
    assert found.log_probs == pytest.approx([np.log(0.9)] * (len(text) + 1), abs=0.01)
    assert found.certainty == pytest.approx(np.log(0.9), abs=0.01)


def test_no_frames_give_no_text():
    decoder = random_decoder(0)
    found = BeamDecoder(TorchDecoder(decoder), TOKENIZER, 3).transcribe(decoder.initial_state())
    assert (found.tokens, found.ended) == ([], True)


def test_a_recognizer_without_a_beam_is_greedy_and_one_too_wide_is_refused(tmp_path):
    bundle = load_bundle(save_tiny_bundle(tmp_path), "float")
    assert type(Recognizer(bundle, RecognizerConfig(beam=1)).searches["en"].decoder) is GreedyDecoder
    assert type(Recognizer(bundle, RecognizerConfig(beam=5)).searches["en"].decoder) is BeamDecoder
    for beam in (0, 6):
        with pytest.raises(ConfigError, match=f"^beam: {beam} is not allowed; give a number from 1 to 5$"):
            Recognizer(bundle, RecognizerConfig(beam=beam))


def test_the_shipped_model_likes_what_a_beam_finds_at_least_as_well():
    model = load_bundle(MODEL, "float")
    samples = read_clip(DATA / "cv-utica.flac")
    recognizer = Recognizer(model, RecognizerConfig(chunk_ms=0, partials="none", beam=3))
    session = RecognizerSession(recognizer)
    session.accept(SegmentAudio(0, 0, samples[:-100], last=False))
    segment = session._open
    (final,) = session.accept(SegmentAudio(0, len(samples) - 100, samples[-100:], last=True))
    state = segment.heard.decoder
    greedy = GreedyDecoder(recognizer.searches["en"].decoder.decoder, model.tokenizer)
    plain, wider = greedy.transcribe(state), recognizer.searches["en"].decoder.transcribe(state)
    likes = [float(greedy.read(found.tokens, state).log_probs.mean()) for found in (plain, wider)]
    assert plain.ended
    assert wider.ended
    assert likes[1] >= likes[0] - 1e-5
    assert final.text == model.tokenizer.decode(wider.tokens).strip()


@torch.no_grad()
def test_where_nothing_is_no_answer_the_likeliest_word_is_found():
    word, other = (TOKENIZER.encode(text)[0] for text in (" the", " end"))
    table = {PROMPT_END: {TOKENIZER.end: 0.9, word: 0.08}, word: {other: 0.9}, other: {TOKENIZER.end: 0.9}}
    decoder = Markov(SIZE, table)
    assert BeamDecoder(TorchDecoder(decoder), TOKENIZER, 3, sure=math.inf).transcribe(at(decoder, 60)).tokens == []
    found = BeamDecoder(TorchDecoder(decoder), TOKENIZER, 3, sure=math.inf, empty=False).transcribe(at(decoder, 60))
    assert (found.tokens, found.ended) == ([word, other], True)


@torch.no_grad()
@pytest.mark.parametrize("too_early", ["nothing", "some words"])
def test_a_text_of_which_greedy_search_has_ended_too_early_is_found_however_long_it_is(too_early):
    words = [token for token in range(SIZE) if token not in (*TOKENIZER.unwritten, TOKENIZER.end)][:40]
    chained = {before: {token: 0.95} for before, token in zip(words, [*words[1:], TOKENIZER.end], strict=True)}
    first = [] if too_early == "nothing" else words[:2]
    last = PROMPT_END if not first else first[-1]
    likely = {TOKENIZER.end: 0.5, words[len(first)]: 0.4}
    table = chained | ({PROMPT_END: {words[0]: 0.95}} if first else {}) | {last: likely}
    decoder = Markov(SIZE, table)
    greedy = GreedyDecoder(TorchDecoder(decoder), TOKENIZER).transcribe(at(decoder, 400))
    assert (greedy.tokens, greedy.ended) == (first, True)
    found = BeamDecoder(TorchDecoder(decoder), TOKENIZER, 5, sure=math.inf, empty=False).transcribe(at(decoder, 400))
    assert (found.tokens, found.ended) == (words, True)
