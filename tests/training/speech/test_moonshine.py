"""Moonshine as a teacher: ours computes what it computes, its tokens spell any text."""

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from rtstream.errors import TrainingError
from rtstream.evaluation.moonshine_reference import MoonshineReference
from rtstream.training.speech.initialization import from_teacher, two_passes
from rtstream.training.speech.moonshine import MoonshineCheckpoint, load_moonshine, moonshine_tokenizer, read_tokens
from rtstream.training.speech.teacher import load_teacher
from rtstream.training.speech.teacher_outputs import greedy
from tests.training.tiny_moonshine import decode, encode, make_tokens, make_weights, write_moonshine

REAL = Path("~/.cache/rtstream/teacher/moonshine-base").expanduser()
TOKENIZER = moonshine_tokenizer(make_tokens())
DATA = Path(__file__).parents[2] / "data"
ORIGINAL = [
    [0.28543, 0.28485, -0.40003, -1.00327],
    [-0.24615, -0.25017, -0.3712, -0.34527],
    [-0.22414, -0.16844, 0.01214, -0.45123],
    [0.03519, -0.11995, 0.0202, 0.1518],
    [0.07153, -0.03461, -0.18201, 0.29449],
]
"""Of encoder_model.ort of moonshine-cpp 0.1.4 by ONNX Runtime, of cv-utica: every 40th state's first four numbers."""


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return load_teacher(write_moonshine(tmp_path_factory.mktemp("teacher"), make_weights()))


def whole(teacher):
    return from_teacher(teacher, teacher.tokenizer, list(range(len(teacher.tokenizer))), seed=0).eval()


@pytest.mark.parametrize("samples", [895, 4000, 9001])
def test_encoder_gives_the_teachers_states(teacher, samples):
    audio = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(whole(teacher).encoder(audio[None])[0], encode(teacher.weights, audio), rtol=1e-4, atol=1e-4)


def test_decoder_gives_the_teachers_logits(teacher):
    states, tokens = torch.randn(9, 64), torch.tensor([1, 70, 261, 264, 5])
    with torch.no_grad():
        assert_close(
            whole(teacher).decoder(tokens[None], states[None])[0],
            decode(teacher.weights, tokens, states),
            rtol=1e-4,
            atol=1e-4,
        )


def test_full_context_of_two_passes_is_the_teachers_whatever_chunks_learn(teacher):
    theirs = whole(teacher)
    both = two_passes(theirs, theirs, replace(theirs.config.encoder, whole=True, rank=3, diagonal=True)).eval()
    with torch.no_grad():
        for parameter in both.encoder.layers.parameters():
            parameter.add_(0.1)
        audio = 0.1 * torch.randn(1, 6000)
        assert torch.equal(both.encoder(audio), theirs.encoder(audio))
        assert not torch.allclose(both.encoder(audio, chunk=4), theirs.encoder(audio, chunk=4))


def test_tokens_are_merged_in_the_order_in_which_they_come():
    # Of " the" the pieces " t" and "he" are none: "th" comes first, then " th" (8 of the merged), then " the".
    assert [TOKENIZER.pieces[token] for token in TOKENIZER.encode(" the look")] == ["Ġthe", "Ġlo", "ok"]


@given(st.text(max_size=20))
def test_any_text_is_spelt_and_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.text(alphabet=" thelookurinb", max_size=20))
def test_cut_tokenizer_spells_what_it_was_cut_for_as_before(text):
    tokens = TOKENIZER.encode(text)
    cut, old = TOKENIZER.cut(tokens)
    assert [old[token] for token in cut.encode(text)] == tokens
    assert cut.prompt() == [cut.special["<|startoftranscript|>"]]


def test_prompt_is_the_start_alone_and_nothing_says_who_speaks(teacher):
    assert TOKENIZER.prompt() == [1]
    assert TOKENIZER.end == 2
    assert TOKENIZER.no_speech is None
    assert not TOKENIZER.languages
    assert teacher.fingerprint != load_teacher_of(2).fingerprint


def load_teacher_of(seed):
    return MoonshineCheckpoint(make_weights(seed), TOKENIZER)


def test_lengths_of_tokens_take_one_byte_or_two():
    long = bytes(range(200))
    data = bytes([2, 65, 66]) + bytes([200 % 128 + 128, 200 // 128]) + long
    assert read_tokens(data) == [[65, 66], list(long)]


def test_folder_without_a_checkpoint_is_an_error_that_says_how_to_make_one(tmp_path):
    with pytest.raises(TrainingError, match="make teacher"):
        load_moonshine(tmp_path)


def test_reference_writes_what_greedy_search_over_the_whole_clip_gives(teacher, tmp_path):
    directory = write_moonshine(tmp_path, make_weights())
    audio = 0.1 * torch.randn(5000, generator=torch.Generator().manual_seed(4))
    model = whole(teacher)
    with torch.inference_mode():
        states = model.encoder(audio[None])
        (text,) = greedy(states, [states.shape[1]], model.decoder, teacher.tokenizer, frame=384)
    assert MoonshineReference.open(directory).transcribe(audio.numpy()).text == (text or "")


@pytest.mark.skipif(not REAL.exists(), reason="needs Moonshine's weights: make teacher")
def test_real_weights_give_what_the_original_runtime_gives():
    audio, _ = soundfile.read(DATA / "cv-utica.flac", dtype="float32")
    checkpoint = load_moonshine(REAL)
    model = whole(checkpoint)
    with torch.inference_mode():
        states = model.encoder(torch.from_numpy(audio)[None])
        (text,) = greedy(states, [states.shape[1]], model.decoder, checkpoint.tokenizer, frame=384)
    assert_close(states[0, ::40, :4], torch.tensor(ORIGINAL), rtol=1e-4, atol=1e-4)
    assert text == "It was named after Utica, New York."
