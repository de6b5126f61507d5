"""The encoder: one function, whether computed at once or chunk by chunk, alone or in a batch."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rtstream.model.config import EncoderConfig
from rtstream.nn.encoder import ROWS, Encoder
from tests.nn.tiny_models import VARIANTS, encoder_config, make_encoder, noise, randomize

MEL_FRAMES = st.integers(1, 70)
CHUNKS = st.integers(1, 40)
LEFT_CONTEXTS = st.integers(0, 20)


def stream(encoder, mel, chunk, cuts, ahead=0):
    """Feed ``mel`` in blocks that end at ``cuts``; what each of them settles."""
    state = encoder.initial_state()
    bounds = [0, *sorted(cuts), len(mel)]
    outputs = []
    for start, end in itertools.pairwise(bounds):
        encoded, state = encoder.step(mel[start:end], state, chunk, ahead=ahead)
        outputs.append(encoded.settled)
    encoded, _ = encoder.step(mel[:0], state, chunk, ahead=ahead, last=True)
    return [*outputs, encoded.settled]


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=12)
@given(data=st.data())
def test_streamed_equals_chunked_for_any_chunk_context_and_block_cuts(variant, data):
    encoder = make_encoder(**VARIANTS[variant], left_context=data.draw(LEFT_CONTEXTS))
    mel = noise(data.draw(MEL_FRAMES), 6)
    chunk = data.draw(CHUNKS)
    cuts = data.draw(st.lists(st.integers(0, len(mel)), max_size=8))
    with torch.no_grad():
        streamed = torch.cat(stream(encoder, mel, chunk, cuts))
        whole = encoder(mel[None], chunk=chunk)[0]
    assert_close(streamed, whole)


@pytest.mark.parametrize("chunk", [16, 32, 64])
def test_streamed_equals_chunked_in_single_precision_at_the_chunk_sizes_of_use(chunk):
    encoder = make_encoder(**VARIANTS["grown with rank and diagonal"], max_frames=200, left_context=40).float()
    mel = noise(333, 6).float()
    with torch.no_grad():
        streamed = torch.cat(stream(encoder, mel, chunk, range(0, 333, 10)))
        assert_close(streamed, encoder(mel[None], chunk=chunk)[0], rtol=1e-4, atol=1e-5)


@settings(max_examples=20)
@given(frames=MEL_FRAMES)
def test_chunk_of_the_whole_segment_equals_full_context(frames):
    encoder, mel = make_encoder(), noise(1, frames, 6)
    with torch.no_grad():
        assert_close(encoder(mel, chunk=(frames + 1) // 2), encoder(mel))


@settings(max_examples=20)
@given(data=st.data())
def test_what_looks_ahead_is_the_same_for_any_block_cuts(data):
    encoder = make_encoder(left_context=data.draw(LEFT_CONTEXTS))
    mel, chunk, ahead = noise(data.draw(MEL_FRAMES), 6), data.draw(CHUNKS), data.draw(CHUNKS)
    cuts = data.draw(st.lists(st.integers(0, len(mel)), max_size=8))
    with torch.no_grad():
        assert_close(
            torch.cat(stream(encoder, mel, chunk, cuts, ahead)), torch.cat(stream(encoder, mel, chunk, [], ahead))
        )


@settings(max_examples=20)
@given(frames=MEL_FRAMES, chunk=CHUNKS)
def test_look_ahead_past_the_segment_is_full_context(frames, chunk):
    encoder, mel = make_encoder(left_context=0), noise(frames, 6)
    with torch.no_grad():
        assert_close(torch.cat(stream(encoder, mel, chunk, range(frames), ahead=frames)), encoder(mel[None])[0])


@settings(max_examples=20)
@given(chunks=st.integers(1, 6), chunk=st.integers(1, 6), ahead=st.integers(0, 12))
def test_newest_frames_are_open_and_a_settled_one_has_seen_those_that_follow(chunks, chunk, ahead):
    encoder, mel = make_encoder(), noise(2 * chunks * chunk + 1, 6)
    state = encoder.initial_state()
    with torch.no_grad():
        encoded, state = encoder.step(mel, state, chunk, ahead=ahead)
        assert len(encoded.open) == min(ahead, chunks * chunk) == len(state.open)
        assert len(encoded.settled) + len(encoded.open) == chunks * chunk
        assert state.frames == len(encoded.settled)
        assert all(k.shape[1] <= len(encoded.settled) for k in state.keys)
        changed = mel.clone()
        changed[-2:] += 1.0  # of the newest frame and the one that its convolution sees
        other, _ = encoder.step(changed, encoder.initial_state(), chunk, ahead=ahead)
    seen = [bool((a != b).any()) for a, b in zip(encoded.settled, other.settled, strict=True)]
    before = max(0, (chunks - 1) * chunk - ahead)  # settled before the newest chunk came
    assert not any(seen[:before])
    assert all(seen[before:])


@settings(max_examples=20)
@given(frames=st.integers(1, 70), chunk=CHUNKS)
def test_chunk_comes_out_as_soon_as_its_last_mel_frame_and_one_more_are_there(frames, chunk):
    encoder = make_encoder()
    with torch.no_grad():
        encoded, state = encoder.step(noise(frames, 6), encoder.initial_state(), chunk)
    states = encoded.settled
    assert len(states) == max(0, (frames - 1) // (2 * chunk)) * chunk
    assert state.frames == len(states)


@settings(max_examples=30)
@given(frames=st.integers(4, 70), chunk=st.integers(1, 20), data=st.data())
def test_nothing_looks_past_its_chunk_and_one_mel_frame(frames, chunk, data):
    encoder, mel = make_encoder(**VARIANTS["grown with rank and diagonal"]), noise(1, frames, 6)
    chunks = data.draw(st.integers(0, frames // (2 * chunk)))
    first_unseen = 2 * chunk * chunks + 1
    other = mel.clone()
    other[:, first_unseen:] = 100.0 * noise(1, max(0, frames - first_unseen), 6, seed=2)
    with torch.no_grad():
        before, after = encoder(mel, chunk=chunk), encoder(other, chunk=chunk)
    assert torch.equal(before[:, : chunks * chunk], after[:, : chunks * chunk])


def test_nothing_looks_back_past_its_left_context():
    encoder = make_encoder(left_context=4, layers=1, share=1)
    mel = noise(1, 40, 6)
    other = mel.clone()
    other[:, :10] = 0.0  # encoder frames 0 to 5 see these
    with torch.no_grad():
        before, after = encoder(mel, chunk=2), encoder(other, chunk=2)
    assert torch.equal(before[:, 10:], after[:, 10:])
    assert not torch.allclose(before[:, 8:10], after[:, 8:10])


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4), chunk=st.none() | st.integers(1, 20))
def test_neither_padding_nor_neighbours_in_a_batch_change_a_segment(lengths, chunk):
    encoder = make_encoder(**VARIANTS["shared with rank and diagonal"])
    mel = 100.0 * noise(len(lengths), max(lengths) + 5, 6, seed=3)  # what lies past the end is noise
    segments = [noise(length, 6, seed=10 + length) for length in lengths]
    for row, segment in enumerate(segments):
        mel[row, : len(segment)] = segment
    with torch.no_grad():
        batch = encoder(mel, torch.tensor(lengths), chunk)
        for row, segment in enumerate(segments):
            alone = encoder(segment[None], chunk=chunk)[0]
            assert_close(batch[row, : len(alone)], alone)


@pytest.mark.parametrize("chunk", [None, 8])
@pytest.mark.parametrize("lengths", [None, (70, 33)])
def test_the_first_states_alone_are_those_of_the_whole(lengths, chunk):
    encoder, mel = make_encoder(), noise(2, 70, 6)
    lengths = None if lengths is None else torch.tensor(lengths)
    with torch.no_grad():
        assert_close(encoder(mel, lengths, chunk, wanted=20), encoder(mel, lengths, chunk)[:, :20])


def test_padded_frames_are_finite_and_leave_no_gradient():
    encoder = make_encoder()
    mel = noise(2, 40, 6).requires_grad_()
    states = encoder(mel, torch.tensor([3, 40]), 2)
    assert bool(torch.isfinite(states).all())
    states[0, :2].sum().backward()
    assert bool(torch.isfinite(mel.grad).all())
    assert not mel.grad[0, 3:].any()
    assert not mel.grad[1].any()
    assert all(bool(torch.isfinite(p.grad).all()) for p in encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("chunk", [None, 5])
def test_training_mode_computes_the_same_function(variant, chunk):
    encoder, mel = make_encoder(**VARIANTS[variant]), noise(2, 33, 6)
    with torch.no_grad():
        inference = encoder(mel, chunk=chunk)
        assert_close(encoder.train()(mel, chunk=chunk), inference)


@pytest.mark.parametrize("frames", [ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 7])
def test_frames_go_through_feed_forward_in_pieces_as_in_one(monkeypatch, frames):
    encoder, mel = make_encoder(max_frames=frames), noise(1, 2 * frames, 6)
    with torch.no_grad():
        pieces = encoder(mel)
        monkeypatch.setattr("rtstream.nn.encoder.ROWS", frames)
        assert_close(pieces, encoder(mel))


def test_state_is_a_value_that_can_be_continued_twice():
    encoder, mel = make_encoder(), noise(60, 6)
    with torch.no_grad():
        _, state = encoder.step(mel[:30], encoder.initial_state(), 4)
        one, _ = encoder.step(mel[30:], state, 4, last=True)
        other, _ = encoder.step(mel[30:].flip(0), state, 4, last=True)
        again, _ = encoder.step(mel[30:], state, 4, last=True)
    assert torch.equal(one.settled, again.settled)
    assert not torch.allclose(one.settled, other.settled)


def test_two_streams_through_one_encoder_do_not_meet():
    encoder, one, two = make_encoder(), noise(50, 6, seed=4), noise(50, 6, seed=5)
    states = [encoder.initial_state(), encoder.initial_state()]
    together = [[], []]
    with torch.no_grad():
        for start in range(0, 50, 7):
            for index, mel in enumerate((one, two)):
                out, states[index] = encoder.step(mel[start : start + 7], states[index], 3)
                together[index].append(out.settled)
        alone = [torch.cat(stream(encoder, mel, 3, [])[:1]) for mel in (one, two)]
    assert_close([torch.cat(parts) for parts in together], alone)


def test_state_is_bounded_by_left_context_and_chunk():
    encoder = make_encoder(left_context=6, max_frames=200)
    state = encoder.initial_state()
    with torch.no_grad():
        for index in range(30):
            _, state = encoder.step(noise(10, 6, seed=index), state, 4)
            assert state.front.mel.shape[0] <= 2 * 4 + 1
            assert all(k.shape[1] <= 6 for k in (*state.keys, *state.values))


def test_segment_without_audio_has_no_states():
    encoder = make_encoder()
    encoded, _ = encoder.step(noise(0, 6), encoder.initial_state(), 4, ahead=2, last=True)
    assert encoded.settled.shape == encoded.open.shape == (0, 16)


def test_longer_segment_than_positions_is_refused():
    encoder = make_encoder(max_frames=10)
    with torch.no_grad():
        assert encoder(noise(1, 20, 6)).shape == (1, 10, 16)
        with pytest.raises(ValueError, match="10 positions"):
            encoder(noise(1, 21, 6))
        with pytest.raises(ValueError, match="more than the 10 positions"):
            encoder.step(noise(21, 6), encoder.initial_state(), 4, last=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": 3}, r"layers \(4\) must be a multiple of share \(3\)"),
        ({"heads": 3}, r"d_model \(16\) must be a multiple of heads \(3\)"),
        ({"full_rank": False}, "at least one of full_rank, rank and diagonal"),
        ({"share": 0}, r"share \(0\) must be at least 1"),
        ({"d_model": 2}, r"d_model \(2\) must be even and at least 4"),
        ({"d_model": 21, "heads": 3}, r"d_model \(21\) must be even"),
        ({"rank": 17}, r"rank \(17\) must be from 0 to"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        encoder_config(**changes)


def test_layers_of_a_group_share_one_matrix_object():
    encoder = make_encoder(**VARIANTS["shared with rank and diagonal"])
    for position in ("qkv", "out", "ff1", "ff2"):
        matrices = [encoder.group_of(layer).matrix(position) for layer in range(4)]
        assert matrices[0] is matrices[1]
        assert matrices[2] is matrices[3]
        assert matrices[0] is not matrices[2]
    pointers = [p.data_ptr() for p in encoder.parameters()]
    assert len(pointers) == len(set(pointers))


def test_state_dict_holds_a_shared_matrix_once():
    encoder = make_encoder(share=2)
    names = [name for name in encoder.state_dict() if name.endswith("qkv.weight")]
    assert names == ["groups.0.qkv.weight", "groups.1.qkv.weight"]


def test_gradient_of_a_shared_matrix_is_the_sum_over_its_layers():
    shared = make_encoder(share=2)
    unshared = randomize(Encoder(encoder_config()))
    state = dict(shared.state_dict())
    for group in (1, 0):
        for position in ("qkv", "out", "ff1", "ff2"):
            matrix = state.pop(f"groups.{group}.{position}.weight")
            state |= {f"groups.{2 * group + copy}.{position}.weight": matrix for copy in (0, 1)}
    unshared.load_state_dict(state)
    mel = noise(2, 30, 6)
    for encoder in (shared, unshared):
        encoder(mel, chunk=4).square().sum().backward()
    for group in (0, 1):
        for position in ("qkv", "out", "ff1", "ff2"):
            parts = [unshared.groups[2 * group + copy].matrix(position).weight.grad for copy in (0, 1)]
            assert all(bool(part.any()) for part in parts)
            assert_close(shared.groups[group].matrix(position).weight.grad, parts[0] + parts[1])


def test_names_of_the_tensors_are_those_of_saved_checkpoints():
    encoder = Encoder(EncoderConfig(layers=2, share=2, rank=1, diagonal=True, layer_scale=True))
    private = [f"{position}.{part}" for position in ("qkv", "out", "ff1", "ff2") for part in ("bias", "a", "b", "d")]
    norms = [f"{norm}.{part}" for norm in ("attention_norm", "ffn_norm") for part in ("weight", "bias")]
    layer = {*private, *norms, "attention_scale", "ffn_scale"}
    expected = {f"layers.{index}.{name}" for index in (0, 1) for name in layer}
    expected |= {f"groups.0.{position}.weight" for position in ("qkv", "out", "ff1", "ff2")}
    expected |= {f"{module}.{part}" for module in ("front.conv1", "front.conv2", "norm") for part in ("weight", "bias")}
    assert set(encoder.state_dict()) == expected


TWO_PASSES = {"rank": 3, "diagonal": True, "whole": True}


def test_full_context_with_parts_of_its_own_is_what_the_shared_matrices_compute_alone():
    encoder = make_encoder(**TWO_PASSES)
    alone = Encoder(encoder_config()).double().eval()
    state = {name: tensor for name, tensor in encoder.state_dict().items() if name in alone.state_dict()}
    whole = {name.removeprefix("whole."): t for name, t in encoder.state_dict().items() if name.startswith("whole.")}
    alone.load_state_dict(state | whole)
    mel = noise(2, 30, 6)
    assert_close(encoder(mel), alone(mel))
    assert not torch.allclose(encoder(mel), encoder(mel, chunk=15))


@pytest.mark.parametrize(
    ("part", "chunks_change", "whole_changes"),
    [
        ("layers", True, False),
        ("whole", False, True),
        ("groups", True, True),
        ("front.conv1", True, True),
    ],
)
def test_the_two_passes_share_matrices_and_convolutions_and_nothing_else(part, chunks_change, whole_changes):
    encoder, mel = make_encoder(**TWO_PASSES), noise(1, 30, 6)
    before = encoder(mel, chunk=4), encoder(mel)
    with torch.no_grad():
        for parameter in encoder.get_submodule(part).parameters():
            parameter.add_(0.1)
    assert torch.equal(encoder(mel, chunk=4), before[0]) is not chunks_change
    assert torch.equal(encoder(mel), before[1]) is not whole_changes


@pytest.mark.parametrize("changes", [{"whole_rank": 2}, {"whole": True, "whole_rank": 17}])
def test_rank_of_full_context_that_cannot_be_is_refused(changes):
    with pytest.raises(ValueError, match="whole_rank"):
        encoder_config(**changes)
