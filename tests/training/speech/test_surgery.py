"""Sharing in the metric of what matrices multiply: as near as can be, and exact where there is room for it."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from rtstream.errors import TrainingError
from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig
from rtstream.nn.model import SpeechModel
from rtstream.training.speech.surgery import fit_shared, input_moments, relative_errors, share_layers, shared_start

SIZES = EncoderConfig(
    d_model=16, heads=2, ffn=24, layers=4, front_end="wave", positions="rope", rotary=4, n_mels=1, max_frames=60
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = SpeechModel(ModelConfig(SIZES, DecoderConfig(9, 16, 2, 24, 1))).double().eval()
    with torch.no_grad():
        for parameter in made.encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.fixture(scope="module")
def audio():
    return 0.1 * torch.randn(6, 9000, generator=torch.Generator().manual_seed(1)).double()


def shared(model, audio, rank, share=2, **options):
    target = replace(SIZES, share=share, whole=True, whole_rank=rank)
    moments = input_moments(model.encoder, audio)
    return share_layers(model, target, moments, **options).double().eval(), moments


def test_enough_rank_keeps_the_function_in_both_passes(model, audio):
    student, _ = shared(model, audio, 16)
    with torch.no_grad():
        assert_close(student.encoder(audio), model.encoder(audio), rtol=1e-4, atol=1e-4)
        assert_close(student.encoder(audio, chunk=5), model.encoder(audio, chunk=5), rtol=1e-4, atol=1e-4)


def test_chunks_that_were_learnt_beside_unshared_layers_are_kept_where_layers_come_to_share(model, audio):
    torch.manual_seed(4)
    parts = replace(SIZES, whole=True, rank=16)
    chunks = SpeechModel(replace(model.config, encoder=parts)).eval()
    chunks.encoder.load_state_dict(model.encoder.state_dict(), strict=False)
    teacher, audio = copy.deepcopy(model).float(), audio.float()
    with torch.no_grad():
        for parameter in chunks.encoder.layers.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        wanted = chunks.encoder(audio, chunk=5), teacher.encoder(audio)
        target = replace(SIZES, share=2, whole=True, whole_rank=16, rank=16, diagonal=True)
        student = shared_start(teacher, target, audio, chunks).eval()
        assert_close(student.encoder(audio, chunk=5), wanted[0], rtol=2e-3, atol=2e-3)
        assert_close(student.encoder(audio), wanted[1], rtol=2e-3, atol=2e-3)
    assert student.ctc is chunks.ctc


def test_more_rank_leaves_less_out_at_every_position(model, audio):
    errors = []
    for rank in (0, 2, 6):
        student, moments = shared(model, audio, rank)
        errors.append(relative_errors(model.encoder, student.encoder, moments))
    for name in errors[0]:
        none, few, more = (each[name] for each in errors)
        assert none > few > more > 0


def test_positions_can_have_ranks_of_their_own(model, audio):
    student, moments = shared(model, audio, 6, ranks={"ff1": 2})
    plain, _ = shared(model, audio, 6)
    less, all_of_it = (relative_errors(model.encoder, each.encoder, moments) for each in (student, plain))
    assert less["ff1"] > all_of_it["ff1"]
    assert less["ff2"] == pytest.approx(all_of_it["ff2"])


def test_metric_of_the_inputs_is_nearer_than_the_mean_of_the_matrices():
    generator = torch.Generator().manual_seed(3)
    matrices = [torch.randn(8, 12, generator=generator, dtype=torch.float64) for _ in range(2)]
    scales = torch.logspace(0, -2, 12, dtype=torch.float64)
    covariances = [torch.diag(scales), torch.diag(scales.flip(0))]
    found, low = fit_shared(matrices, covariances, 2)

    def left_out(candidate, parts):
        return sum(
            float(((w - candidate - part) @ torch.linalg.cholesky(c)).square().sum())
            for w, part, c in zip(matrices, parts, covariances, strict=True)
        )

    mean = (matrices[0] + matrices[1]) / 2
    plain = []
    for each in matrices:
        u, s, v = torch.linalg.svd(each - mean)
        plain.append(u[:, :2] * s[:2] @ v[:2])
    assert left_out(found, [(a @ b)[0] for a, b in low]) < 0.5 * left_out(mean, plain)


def test_only_an_unshared_encoder_of_two_passes_can_be_brought_to_share(model, audio):
    moments = input_moments(model.encoder, audio)
    with pytest.raises(TrainingError, match="whole must be on"):
        share_layers(model, replace(SIZES, share=2), moments)
    with pytest.raises(TrainingError, match="unshared"):
        share_layers(model, replace(SIZES, share=2, ffn=12, whole=True), moments)
    student, _ = shared(model, audio, 2)
    with pytest.raises(TrainingError, match="unshared"):
        input_moments(student.encoder, audio)
