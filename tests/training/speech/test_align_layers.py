import pytest
import torch

from rtstream.errors import TrainingError
from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig
from rtstream.nn.encoder import Encoder
from rtstream.nn.model import SpeechModel
from rtstream.training.speech.align_layers import align_layers
from rtstream.training.speech.initialization import missing_share, restructure, unshared
from rtstream.training.speech.surgery import input_moments

SIZES = {"n_mels": 8, "d_model": 16, "heads": 4, "ffn": 32, "layers": 4}


def make_model(seed=0, **encoder) -> SpeechModel:
    torch.manual_seed(seed)
    return SpeechModel(ModelConfig(EncoderConfig(**(SIZES | encoder)), DecoderConfig(9, 16, 4, 32, 1))).double().eval()


@pytest.mark.parametrize("share", [2, 4])
def test_aligning_keeps_the_function(share):
    model, mel = make_model(), torch.randn(2, 40, 8).double()
    before = model.encoder(mel, chunk=4)
    align_layers(model.encoder, share)
    torch.testing.assert_close(model.encoder(mel, chunk=4), before)


@pytest.mark.parametrize("share", [2, 4])
def test_aligned_layers_lose_less_by_sharing(share):
    model = make_model()
    target = EncoderConfig(**(SIZES | {"share": share, "rank": 2}))
    before = missing_share(model, restructure(model, target).double())
    align_layers(model.encoder, share)
    assert missing_share(model, restructure(model, target).double()) < 0.95 * before


def test_a_shuffled_and_rotated_copy_of_a_layer_is_brought_back_onto_it():
    model = make_model()
    encoder = model.encoder
    with torch.no_grad():
        for name in ("qkv", "out", "ff1", "ff2"):
            encoder.group_of(1).matrix(name).weight.copy_(encoder.group_of(0).matrix(name).weight)
        order = torch.randperm(32)
        up, down = encoder.group_of(1).matrix("ff1").weight, encoder.group_of(1).matrix("ff2").weight
        up.copy_(up[order])
        down.copy_(down[:, order])
        turn = torch.linalg.qr(torch.randn(4, 4).double())[0]
        qkv, out = encoder.group_of(1).matrix("qkv").weight.view(3, 4, 4, 16), encoder.group_of(1).matrix("out").weight
        qkv.copy_(turn @ qkv)
        out.copy_((out.view(16, 4, 4) @ turn.T).reshape(16, 16))
    align_layers(encoder, 2)
    for name in ("qkv", "out", "ff1", "ff2"):
        torch.testing.assert_close(encoder.group_of(1).matrix(name).weight, encoder.group_of(0).matrix(name).weight)


def test_writing_a_shared_encoder_out_keeps_the_function():
    model = make_model(share=2, rank=3, diagonal=True)
    with torch.no_grad():
        for name, parameter in model.encoder.named_parameters():
            if name.endswith((".b", ".d")):
                parameter.normal_()
    mel = torch.randn(1, 30, 8).double()
    written_out = unshared(model).double().eval()  # its weights went through float32
    torch.testing.assert_close(written_out.encoder(mel), model.encoder(mel), rtol=1e-4, atol=1e-4)


def test_an_encoder_without_full_rank_matrices_cannot_be_aligned():
    with pytest.raises(TrainingError, match="start from an unshared encoder"):
        align_layers(Encoder(EncoderConfig(**(SIZES | {"full_rank": False, "rank": 2}))), 2)


ROPE = {"front_end": "wave", "positions": "rope", "rotary": 2}


@pytest.mark.parametrize("share", [2, 4])
def test_aligning_keeps_the_function_where_positions_turn_queries_and_keys(share):
    model, audio = make_model(**ROPE), 0.1 * torch.randn(2, 6000).double()
    before = model.encoder(audio)
    moments = input_moments(model.encoder, audio)
    align_layers(model.encoder, share, moments)
    torch.testing.assert_close(model.encoder(audio), before)


def test_turned_copy_of_a_layer_is_brought_back_onto_it():
    model = make_model(**ROPE)
    encoder = model.encoder
    with torch.no_grad():
        for name in ("qkv", "out", "ff1", "ff2"):
            encoder.group_of(1).matrix(name).weight.copy_(encoder.group_of(0).matrix(name).weight)
        turn = torch.eye(4).double()
        angle = torch.tensor(0.7).double()
        turn[0, 0] = turn[1, 1] = angle.cos()
        turn[1, 0], turn[0, 1] = angle.sin(), -angle.sin()
        turn[2:, 2:] = torch.linalg.qr(torch.randn(2, 2).double())[0]
        qkv = encoder.group_of(1).matrix("qkv").weight.view(3, 4, 4, 16)
        qkv[:2] = turn @ qkv[:2]
    align_layers(encoder, 2)
    torch.testing.assert_close(encoder.group_of(1).matrix("qkv").weight, encoder.group_of(0).matrix("qkv").weight)
