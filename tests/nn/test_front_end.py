"""The front end that reads the wave: one function, however the audio is cut, and no look-ahead in chunks."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rtstream.model.config import WAVE_FRAME, WAVE_SEEN, DecoderConfig, EncoderConfig
from rtstream.nn.positions import rotate, rotations
from tests.nn.tiny_models import make_decoder, make_encoder, noise

FRAME, SEEN = WAVE_FRAME, WAVE_SEEN
SAMPLES = st.integers(0, 24 * FRAME)
CHUNKS = st.integers(1, 9)


def wave_encoder(**changes):
    return make_encoder(**({"front_end": "wave", "positions": "rope", "rotary": 4, "left_context": 5} | changes))


def stream(encoder, audio, chunk, cuts, ahead=0):
    """Feed ``audio`` in blocks that end at ``cuts``; what is settled, joined."""
    state = encoder.initial_state()
    settled = []
    for start, end in itertools.pairwise([0, *sorted(cuts), len(audio)]):
        encoded, state = encoder.step(audio[start:end], state, chunk, ahead=ahead)
        settled.append(encoded.settled)
    encoded, _ = encoder.step(audio[:0], state, chunk, ahead=ahead, last=True)
    return torch.cat([*settled, encoded.settled])


@settings(max_examples=30)
@given(samples=SAMPLES, chunk=CHUNKS, data=st.data())
def test_streamed_equals_chunked_for_any_chunk_and_block_cuts(samples, chunk, data):
    encoder, audio = wave_encoder(rank=2, diagonal=True), 0.1 * noise(samples)
    cuts = data.draw(st.lists(st.integers(0, samples), max_size=6))
    with torch.no_grad():
        streamed = stream(encoder, audio, chunk, cuts)
        whole = encoder(audio[None], torch.tensor([samples]), chunk)[0]
    count = int(encoder.front.frames(torch.tensor(samples)))
    assert len(streamed) == count
    assert_close(streamed, whole[:count])


@settings(max_examples=15)
@given(samples=SAMPLES, chunk=CHUNKS, ahead=st.integers(1, 9), data=st.data())
def test_what_looks_ahead_is_the_same_for_any_block_cuts(samples, chunk, ahead, data):
    encoder, audio = wave_encoder(), 0.1 * noise(samples)
    cuts = data.draw(st.lists(st.integers(0, samples), max_size=6))
    with torch.no_grad():
        assert_close(stream(encoder, audio, chunk, cuts, ahead), stream(encoder, audio, chunk, [], ahead))


@settings(max_examples=15)
@given(chunk=CHUNKS, chunks=st.integers(1, 3))
def test_chunk_comes_out_as_soon_as_its_last_frame_and_the_look_ahead_are_there(chunk, chunks):
    encoder = wave_encoder()
    wanted = chunks * chunk * FRAME + encoder.config.look_ahead
    audio = 0.1 * noise(wanted)
    with torch.no_grad():
        before, _ = encoder.step(audio[:-1], encoder.initial_state(), chunk)
        after, _ = encoder.step(audio, encoder.initial_state(), chunk)
    assert (len(before.settled), len(after.settled)) == ((chunks - 1) * chunk, chunks * chunk)


@settings(max_examples=15)
@given(chunk=st.integers(1, 5), seen=st.integers(1, 3))
def test_nothing_of_a_later_chunk_changes_an_earlier_one(chunk, seen):
    encoder, audio = wave_encoder(), 0.1 * noise(20 * FRAME)
    other = audio.clone()
    other[seen * chunk * FRAME + encoder.config.look_ahead :] *= 30.0  # the level too is that of what has come
    with torch.no_grad():
        one, two = (encoder(each[None], chunk=chunk)[0, : seen * chunk] for each in (audio, other))
    assert torch.equal(one, two)


@settings(max_examples=15)
@given(lengths=st.lists(st.integers(SEEN, 15 * FRAME), min_size=1, max_size=4), chunk=st.none() | CHUNKS)
def test_neither_padding_nor_neighbours_in_a_batch_change_a_segment(lengths, chunk):
    encoder = wave_encoder()
    audio = noise(len(lengths), max(lengths) + 700, seed=3)
    segments = [0.1 * noise(length, seed=length) for length in lengths]
    for row, segment in enumerate(segments):
        audio[row, : len(segment)] = segment
    with torch.no_grad():
        batch = encoder(audio, torch.tensor(lengths), chunk)
        for row, segment in enumerate(segments):
            alone = encoder(segment[None], chunk=chunk)[0]
            assert_close(batch[row, : len(alone)], alone)


@given(gain=st.floats(0.2, 5.0))
@settings(max_examples=10)
def test_full_context_hears_a_segment_at_one_level_where_tanh_is_straight(gain):
    encoder, audio = wave_encoder(), 1e-3 * noise(6 * FRAME)
    encoder.front.norm.eps = 0.0
    with torch.no_grad():
        assert_close(encoder(audio[None]), encoder(gain * audio[None]), rtol=1e-3, atol=1e-3)


@given(start=st.integers(0, 30))
@settings(max_examples=10)
def test_turned_products_depend_on_distance_alone(start):
    q, k, turns = noise(3, 8), noise(3, 8, seed=2), rotations(40, 6).double()
    here, there = (rotate(q, turns[:, at : at + 3]) @ rotate(k, turns[:, at : at + 3]).T for at in (0, start))
    assert_close(here, there, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changes", [{"positions": "rope"}, {"rotary": 4}, {"positions": "rope", "rotary": 3}])
def test_turned_channels_and_positions_must_go_together(changes):
    with pytest.raises(ValueError, match="rotary"):
        EncoderConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "named"), [({"front_end": "video"}, "front_end"), ({"positions": "nowhere"}, "positions")]
)
def test_unknown_family_is_an_error_that_names_the_known_ones(changes, named):
    with pytest.raises(ValueError, match=f"{named}.*one of"):
        EncoderConfig(**changes)
    with pytest.raises(ValueError, match=r"mlp.*gelu, swiglu"):
        DecoderConfig(9, mlp="relu")


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 9), max_size=3))
def test_decoder_of_moonshines_family_reads_tokens_one_by_one_as_all_at_once(cuts):
    decoder = make_decoder(rotary=4, mlp="swiglu")
    states, tokens = noise(7, 16), torch.tensor([1, 4, 2, 8, 5, 7, 10, 3, 9])
    with torch.no_grad():
        whole = decoder(tokens[None], states[None])[0]
        state = decoder.extend(states, decoder.initial_state())
        logits = []
        for start, end in itertools.pairwise([0, *sorted(cuts), len(tokens)]):
            if end > start:
                scores, _, state = decoder.step(tokens[start:end], state)
                logits.append(scores)
        rewound, _, _ = decoder.step(tokens[4:], state.rewound(4))
        batch = decoder.begin(states[None])
        last, _ = decoder.read(tokens[None], batch)
    assert_close(torch.cat(logits), whole)
    assert_close(rewound, whole[4:])
    assert_close(last[0], whole[-1])
