"""Text to text: padding changes nothing, steps equal the whole, shared matrices are packed once."""

import pytest
import torch
from torch.testing import assert_close

from rtstream.model.config import DecoderConfig, StackConfig, TextModelConfig
from rtstream.nn.quantized import choose_engine, float_model, packed_buffers, packed_model, quantize_state
from rtstream.nn.text_model import TextModel, set_dropout

ENCODER = StackConfig(16, 2, 24, 4, 2, rank=3, diagonal=True)
CONFIG = TextModelConfig(ENCODER, DecoderConfig(30, 16, 2, 24, 2, 20))


def make(config=CONFIG):
    torch.manual_seed(0)
    model = TextModel(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


SOURCE = torch.tensor([[5, 6, 7, 8, 2], [9, 10, 2, 0, 0]])
MASK = SOURCE != 0
TOKENS = torch.tensor([[4, 11, 12, 13], [4, 14, 15, 16]])


def test_padding_changes_nothing():
    model = make()
    whole = model(SOURCE, MASK, TOKENS)
    alone = model(SOURCE[1:, :3], None, TOKENS[1:])
    assert_close(whole[1:], alone)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (4,), (2, 1, 1), (1, 3)])
def test_steps_equal_the_whole(sizes):
    model = make()
    logits = model.decoder.logits(model(SOURCE, MASK, TOKENS))
    state = model.decoder.begin(model.encode(SOURCE, MASK), MASK)
    done = 0
    for size in sizes:
        scores, state = model.decoder.read(TOKENS[:, done : done + size], state)
        done += size
        assert_close(scores, logits[:, done - 1])
        assert state.tokens == done


def test_selected_rows_go_on_as_those_that_they_were():
    model = make()
    state = model.decoder.begin(model.encode(SOURCE, MASK), MASK)
    _, state = model.decoder.read(TOKENS[:, :2], state)
    straight, _ = model.decoder.read(TOKENS[:, 2:3], state)
    rows = torch.tensor([1, 1, 0])
    chosen, _ = model.decoder.read(TOKENS[rows, 2:3], state.select(rows))
    assert_close(chosen, straight[rows])


def test_decoder_does_not_see_what_comes_later():
    model = make()
    changed = TOKENS.clone()
    changed[:, 3] = 20
    assert_close(model(SOURCE, MASK, changed)[:, :3], model(SOURCE, MASK, TOKENS)[:, :3])


def test_language_token_changes_the_encoding():
    model = make()
    other = SOURCE.clone()
    other[:, 0] = 17
    assert not torch.allclose(model.encode(other, MASK), model.encode(SOURCE, MASK))


def test_too_many_tokens_are_an_error():
    model = make()
    with pytest.raises(ValueError, match="21 tokens are more than the 20"):
        model.encode(torch.ones(1, 21, dtype=torch.long))
    state = model.decoder.begin(model.encode(SOURCE, MASK), MASK)
    with pytest.raises(ValueError, match="21 tokens"):
        model.decoder.read(torch.ones(2, 21, dtype=torch.long), state)


def test_widths_must_agree():
    with pytest.raises(ValueError, match="differ in d_model"):
        TextModelConfig(ENCODER, DecoderConfig(30, 32, 2, 24, 2, 20))


def test_dropout_is_of_training_alone():
    model = make()
    before = model(SOURCE, MASK, TOKENS)
    set_dropout(model, 0.5)
    assert_close(model(SOURCE, MASK, TOKENS), before)
    model.train()
    assert not torch.allclose(model(SOURCE, MASK, TOKENS), before)


def test_int8_packs_each_shared_matrix_once_and_computes_nearly_the_same():
    model = make(TextModelConfig(ENCODER, DecoderConfig(64, 16, 2, 24, 2, 20))).float()
    state = quantize_state(model.state_dict(), model.config)
    packed = packed_model(model.config, state, choose_engine())
    shared = [name for name in packed_buffers(packed.encoder) if name.startswith("groups.")]
    assert len(shared) == 2 * 4  # groups times positions, not layers times positions
    reference = float_model(model.config, state)
    with torch.inference_mode():
        exact = reference.decoder.logits(reference(SOURCE, MASK, TOKENS))
        close = packed.decoder.logits(packed(SOURCE, MASK, TOKENS))
    assert float((exact - close).norm() / exact.norm()) < 0.05
