"""The decoder: one function, whether whole texts are scored or tokens and frames come one by one."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rtstream.model.config import DecoderConfig
from tests.nn.tiny_models import make_decoder, noise

TOKENS = st.lists(st.integers(0, 10), min_size=1, max_size=12)


def whole(decoder, tokens, states):
    return decoder(torch.tensor([tokens]), states[None])[0]


def parts(sequence, cuts):
    bounds = [0, *sorted(cuts), len(sequence)]
    return [sequence[a:b] for a, b in itertools.pairwise(bounds) if b > a]


@settings(max_examples=40)
@given(tokens=TOKENS, frames=st.integers(1, 20), room=st.integers(0, 25), data=st.data())
def test_steps_and_extensions_of_any_size_equal_the_whole(tokens, frames, room, data):
    decoder, states = make_decoder(), noise(frames, 16)
    frame_cuts = data.draw(st.lists(st.integers(0, frames), max_size=4))
    token_cuts = data.draw(st.lists(st.integers(0, len(tokens)), max_size=4))
    state = decoder.initial_state(room)
    with torch.no_grad():
        for block in parts(states, frame_cuts):
            state = decoder.extend(block, state)
        logits = []
        for block in parts(tokens, token_cuts):
            out, _, state = decoder.step(torch.tensor(block), state)
            logits.append(out)
        assert_close(torch.cat(logits), whole(decoder, tokens, states))
    assert (state.tokens, state.frames) == (len(tokens), frames)


@pytest.mark.parametrize("scored", [1, 2, 4])
def test_only_the_last_tokens_are_scored_where_no_more_is_wanted(scored):
    decoder, tokens = make_decoder(), torch.tensor([1, 2, 3, 4])
    with torch.no_grad():
        state = decoder.extend(noise(9, 16), decoder.initial_state())
        every, attention, after = decoder.step(tokens, state)
        last, same, other = decoder.step(tokens, state, scored=scored)
    assert_close(last, every[-scored:])
    assert torch.equal(same, attention)
    assert other.tokens == after.tokens


@settings(max_examples=30)
@given(tokens=TOKENS, other=TOKENS, kept=st.integers(0, 12))
def test_rewound_state_forgets_tokens_but_keeps_later_frames(tokens, other, kept):
    kept = min(kept, len(tokens))
    other = other[: 12 - kept]
    if not other:
        return
    decoder, states = make_decoder(), noise(9, 16)
    with torch.no_grad():
        state = decoder.extend(states, decoder.initial_state())
        _, _, state = decoder.step(torch.tensor(tokens), state)
        logits, _, _ = decoder.step(torch.tensor(other), state.rewound(kept))
        assert_close(logits, whole(decoder, tokens[:kept] + other, states)[kept:])


def test_frames_may_come_between_tokens():
    decoder, states = make_decoder(), noise(9, 16)
    with torch.no_grad():
        state = decoder.extend(states[:4], decoder.initial_state())
        early, _, state = decoder.step(torch.tensor([1, 2]), state)
        assert_close(early, whole(decoder, [1, 2], states[:4]))
        state = decoder.extend(states[4:], state).rewound(0)
        late, _, _ = decoder.step(torch.tensor([1, 2]), state)
        assert_close(late, whole(decoder, [1, 2], states))


def test_frames_are_written_into_the_room_that_there_is_and_the_newest_count():
    decoder, states, other = make_decoder(), noise(9, 16), noise(5, 16)
    with torch.no_grad():
        settled = decoder.extend(states[:4], decoder.initial_state(9))
        decoder.extend(other, settled)  # open frames, which are encoded again
        state = decoder.extend(states[4:], settled)
        logits, _, _ = decoder.step(torch.tensor([1, 2]), state)
        assert_close(logits, whole(decoder, [1, 2], states))
    assert state.cross is settled.cross


def test_state_is_a_value_that_can_be_continued_twice():
    decoder = make_decoder()
    with torch.no_grad():
        state = decoder.extend(noise(5, 16), decoder.initial_state())
        one, _, _ = decoder.step(torch.tensor([3]), state)
        decoder.step(torch.tensor([4, 5]), state)
        again, _, _ = decoder.step(torch.tensor([3]), state)
    assert torch.equal(one, again)


def test_hypotheses_share_the_frames_and_go_on_as_if_each_were_alone():
    decoder, texts = make_decoder(), torch.tensor([[4, 5], [6, 7], [4, 8]])
    with torch.no_grad():
        state = decoder.extend(noise(9, 16), decoder.initial_state(20))
        _, _, state = decoder.step(torch.tensor([1, 2]), state)
        _, batch = decoder.read(torch.tensor([[3]]), state.batch())
        batch = batch.select(torch.tensor([0, 0, 0]))
        logits, batch = decoder.read(texts, batch)
        for row, text in enumerate(texts.tolist()):
            assert_close(logits[row], whole(decoder, [1, 2, 3, *text], noise(9, 16))[-1])
        logits, batch = decoder.read(texts[:2, :1], batch.select(torch.tensor([2, 0])))
        assert_close(logits[0], whole(decoder, [1, 2, 3, 4, 8, 4], noise(9, 16))[-1])
    for part in (*batch.cross_keys, *batch.cross_values):
        assert part.untyped_storage().data_ptr() == state.cross.untyped_storage().data_ptr()


def test_later_tokens_do_not_change_earlier_logits():
    decoder, states = make_decoder(), noise(9, 16)
    with torch.no_grad():
        assert torch.equal(whole(decoder, [1, 2, 3, 4], states)[:2], whole(decoder, [1, 2, 9, 0], states)[:2])


def test_masked_frames_do_not_count():
    decoder, states = make_decoder(), noise(2, 9, 16)
    mask = torch.arange(9) < torch.tensor([5, 9])[:, None]
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    with torch.no_grad():
        batch = decoder(tokens, states, mask)
        assert_close(batch[0], whole(decoder, [1, 2, 3], states[0, :5]))
        assert_close(batch[1], whole(decoder, [4, 5, 6], states[1]))


def test_alignment_is_the_mean_attention_of_the_named_heads():
    with torch.no_grad():
        both = make_decoder(alignment_heads=((0, 1), (1, 0)))
        state = both.extend(noise(9, 16), both.initial_state())
        _, alignment, _ = both.step(torch.tensor([1, 2, 3]), state)
        single = []
        for head in both.config.alignment_heads:
            decoder = make_decoder(alignment_heads=(head,))
            single.append(decoder.step(torch.tensor([1, 2, 3]), state)[1])
    assert alignment.shape == (3, 9)
    assert_close(alignment.sum(dim=1), torch.ones(3, dtype=torch.float64))
    assert_close(alignment, (single[0] + single[1]) / 2)


def test_without_alignment_heads_the_alignment_is_zero():
    decoder = make_decoder()
    state = decoder.extend(noise(9, 16), decoder.initial_state())
    assert not decoder.step(torch.tensor([1]), state)[1].any()


def test_more_tokens_than_positions_are_refused():
    decoder = make_decoder()
    state = decoder.extend(noise(3, 16), decoder.initial_state())
    _, _, state = decoder.step(torch.zeros(12, dtype=torch.long), state)
    with pytest.raises(ValueError, match="13 tokens are more than the 12"):
        decoder.step(torch.tensor([1]), state)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "multiple of heads"),
        ({"layers": 0}, "layers"),
        ({"alignment_heads": ((6, 0),)}, "no head 0 in layer 6"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**({"vocabulary": 10} | changes))
