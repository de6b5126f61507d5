"""Starts: a student that computes what its teacher does, and what growing and sharing change of that."""

import copy
import functools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from rtstream.errors import TrainingError
from rtstream.model.config import POSITIONS, DecoderConfig, EncoderConfig, ModelConfig
from rtstream.nn.encoder import sinusoids
from rtstream.nn.model import SpeechModel
from rtstream.training.speech.initialization import (
    as_taught,
    chunks_alone,
    from_teacher,
    missing_share,
    mixed,
    restructure,
    set_fade,
    teacher_encoder,
    two_passes,
    unshared,
    with_decoder,
    with_languages,
)
from rtstream.training.speech.vocabulary import SPECIAL, kept_ids
from rtstream.training.speech.whisper import Weights, WhisperCheckpoint
from tests.bundle.tiny_tokenizer import make_tokenizer
from tests.training.tiny_whisper import HEADS, LANGUAGES, LAYERS, MAX_TOKENS, D, full_tokenizer, make_weights


@pytest.fixture
def teacher():
    return WhisperCheckpoint(Weights(make_weights()), full_tokenizer(), HEADS)


def linear(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def norm(w, name, x):
    return F.layer_norm(x, (D,), w[f"{name}.weight"], w[f"{name}.bias"])


def attention(w, name, x, source, *, causal=False):
    """Hugging Face's WhisperAttention for its one head of 64 channels: scaled queries, softmax, weighted sum."""
    q = linear(w, f"{name}.q_proj", x) * 64**-0.5
    scores = q @ linear(w, f"{name}.k_proj", source).transpose(1, 2)
    if causal:
        scores = scores + torch.full(scores.shape[1:], -torch.inf).triu(1)
    return linear(w, f"{name}.out_proj", scores.softmax(dim=-1) @ linear(w, f"{name}.v_proj", source))


def feed_forward(w, name, x):
    hidden = F.gelu(linear(w, f"{name}.fc1", norm(w, f"{name}.final_layer_norm", x)))
    return x + linear(w, f"{name}.fc2", hidden)


def whisper_encoder(w, mel):
    """Hugging Face's WhisperEncoder, written out."""
    x = F.gelu(F.conv1d(mel.transpose(1, 2), w["encoder.conv1.weight"], w["encoder.conv1.bias"], padding=1))
    x = F.gelu(F.conv1d(x, w["encoder.conv2.weight"], w["encoder.conv2.bias"], stride=2, padding=1)).transpose(1, 2)
    x = x + sinusoids(1500, D)[: x.shape[1]]
    for index in range(LAYERS):
        name = f"encoder.layers.{index}"
        y = norm(w, f"{name}.self_attn_layer_norm", x)
        x = x + attention(w, f"{name}.self_attn", y, y)
        x = feed_forward(w, name, x)
    return norm(w, "encoder.layer_norm", x)


def whisper_decoder(w, tokens, states):
    """Hugging Face's WhisperDecoder with its tied output."""
    x = F.embedding(tokens, w["decoder.embed_tokens.weight"]) + w["decoder.embed_positions.weight"][: tokens.shape[1]]
    for index in range(LAYERS):
        name = f"decoder.layers.{index}"
        y = norm(w, f"{name}.self_attn_layer_norm", x)
        x = x + attention(w, f"{name}.self_attn", y, y, causal=True)
        y = norm(w, f"{name}.encoder_attn_layer_norm", x)
        x = x + attention(w, f"{name}.encoder_attn", y, states)
        x = feed_forward(w, name, x)
    return norm(w, "decoder.layer_norm", x) @ w["decoder.embed_tokens.weight"].T


def mel(seed=1):
    return torch.randn(2, 31, 80, generator=torch.Generator().manual_seed(seed))


def test_positions_are_whispers_sinusoids():
    positions = sinusoids(4, 6)
    for t in range(4):
        for i, wavelength in enumerate((1.0, 100.0, 10_000.0)):
            assert_close(positions[t, i], torch.tensor(t / wavelength).sin())
            assert_close(positions[t, 3 + i], torch.tensor(t / wavelength).cos())


def test_teacher_encoder_computes_whispers_formula(teacher):
    with torch.no_grad():
        assert_close(teacher_encoder(teacher).eval()(mel()), whisper_encoder(teacher.weights, mel()))


def test_student_decoder_computes_whispers_formula_over_the_kept_tokens(teacher):
    cut, _ = teacher.tokenizer.select_special([*SPECIAL, "<|en|>"]).cut(teacher.tokenizer.encode(" the and"))
    kept = kept_ids(teacher.tokenizer, cut)
    model = from_teacher(teacher, cut, kept, seed=0).eval()
    tokens = torch.tensor([[*cut.prompt(), *cut.encode(" and the")]])
    old_tokens = torch.tensor([[kept[token] for token in tokens[0]]])
    states = torch.randn(1, 9, D, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = whisper_decoder(teacher.weights, old_tokens, states)[..., kept]
        assert_close(model.decoder(tokens, states), expected)
    assert model.config.decoder.alignment_heads == HEADS
    assert model.config.decoder.max_tokens == MAX_TOKENS


def test_incomplete_teacher_is_refused_by_name(teacher):
    del teacher.weights["encoder.layers.0.self_attn.v_proj.weight"]
    with pytest.raises(TrainingError, match=r"lacks the weight encoder\.layers\.0\.self_attn\.v_proj\.weight"):
        teacher_encoder(teacher)


ENCODER = EncoderConfig(n_mels=80, d_model=16, heads=2, ffn=24, layers=4, max_frames=40)


@functools.cache
def source():
    """An unshared model with every parameter at random. Not to be changed by a test."""
    torch.manual_seed(0)
    model = SpeechModel(ModelConfig(ENCODER, DecoderConfig(8, d_model=16, heads=2, ffn=24, layers=1)))
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return model.eval()


def encoded(model, *, training=False):
    with torch.no_grad():
        return model.encoder.train(training)(mel(), chunk=4)


@pytest.mark.parametrize("grow", [2, 3])
@pytest.mark.parametrize("private", [{}, {"rank": 2, "diagonal": True}])
def test_grown_model_is_the_same_function(grow, private):
    target = replace(ENCODER, layers=4 * grow, share=grow, layer_scale=True, **private)
    grown = restructure(source(), target)
    assert missing_share(source(), grown) == 0.0
    for training in (False, True):
        assert torch.equal(encoded(grown, training=training), encoded(source(), training=training))


def test_grown_layers_can_learn():
    target = replace(ENCODER, layers=8, share=2, rank=2, layer_scale=True)
    grown = restructure(source(), target)
    grown.encoder.train()(mel()).square().sum().backward()
    layer = grown.encoder.layers[1]
    assert bool(layer.attention_scale.grad.any())
    assert bool(layer.ffn_scale.grad.any())
    assert bool(grown.encoder.layers[0].qkv.b.grad.any())
    assert bool(grown.encoder.layers[0].qkv.a.any())


def test_source_is_left_as_it_was():
    before = {name: tensor.clone() for name, tensor in source().encoder.state_dict().items()}
    restructure(source(), replace(ENCODER, share=2, rank=2, diagonal=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in source().encoder.state_dict().items())


def test_each_private_part_lowers_what_sharing_misses():
    missing = {}
    for method in ("mean", "diagonal", "svd"):
        for rank in (1, 4, 8):
            target = replace(ENCODER, share=2, rank=rank, diagonal=True)
            missing[method, rank] = missing_share(source(), restructure(source(), target, method=method))
    assert missing["mean", 1] > missing["diagonal", 1] > missing["svd", 1] > missing["svd", 4] > missing["svd", 8] > 0
    # Of two unrelated matrices the mean misses half.
    assert 0.4 < missing["mean", 1] < 0.6
    assert missing["mean", 1] == missing["mean", 8]


@pytest.mark.parametrize("changes", [{"share": 2}, {"share": 4}, {"share": 2, "diagonal": True}, {"full_rank": False}])
def test_svd_of_full_rank_reproduces_the_function(changes):
    shared = restructure(source(), replace(ENCODER, rank=16, **changes))
    assert missing_share(source(), shared) < 1e-10
    assert_close(encoded(shared), encoded(source()), rtol=1e-4, atol=1e-4)


def test_truncated_svd_is_the_best_of_its_rank():
    shared = restructure(source(), replace(ENCODER, share=2, rank=3))
    for index, name in ((0, "out"), (3, "ff1"), (2, "ff2")):
        pair = [source().encoder.matrix(layer, name) for layer in (index // 2 * 2, index // 2 * 2 + 1)]
        left = source().encoder.matrix(index, name) - (pair[0] + pair[1]) / 2
        missed = source().encoder.matrix(index, name) - shared.encoder.matrix(index, name)
        best = torch.linalg.svdvals(left)[3:].square().sum()
        assert_close(missed.square().sum(), best, rtol=1e-4, atol=1e-5)


def test_what_fades_out_leads_from_the_unshared_function_to_the_shared_one():
    target = replace(ENCODER, share=2, rank=2, diagonal=True)
    fading, plain = restructure(source(), target, fading=True), restructure(source(), target)
    set_fade(fading.encoder, 1.0)
    assert_close(encoded(fading, training=True), encoded(source()), rtol=1e-4, atol=1e-4)
    set_fade(fading.encoder, 0.0)
    assert torch.equal(encoded(fading, training=True), encoded(plain, training=True))
    set_fade(fading.encoder, 0.5)
    half = encoded(fading, training=True)
    assert not torch.allclose(half, encoded(plain, training=True))
    assert not torch.allclose(half, encoded(source()))


def test_what_fades_out_is_neither_saved_nor_trained():
    target = replace(ENCODER, share=2, rank=2)
    fading, plain = restructure(source(), target, fading=True), restructure(source(), target)
    assert fading.encoder.state_dict().keys() == plain.encoder.state_dict().keys()
    assert all(
        private.fading.requires_grad is False for private in (fading.encoder.layers[0].private(n) for n in POSITIONS)
    )


@pytest.mark.parametrize(
    "changes", [{"share": 2}, {"share": 4, "rank": 3, "diagonal": True}, {"full_rank": False, "rank": 3}]
)
def test_shared_model_written_out_is_the_same_function(changes):
    shared = restructure(source(), replace(ENCODER, **changes))
    plain = unshared(shared)
    assert plain.config.encoder == ENCODER
    assert_close(encoded(plain), encoded(shared), rtol=1e-4, atol=1e-4)


def test_left_context_alone_can_change_for_any_structure():
    shared = restructure(source(), replace(ENCODER, share=2, rank=2, diagonal=True))
    changed = restructure(shared, replace(shared.config.encoder, left_context=64))
    assert changed.config.encoder.left_context == 64
    assert torch.equal(encoded(changed), encoded(shared))


def test_scales_of_a_grown_source_come_along():
    grown = restructure(source(), replace(ENCODER, layers=8, layer_scale=True))
    with torch.no_grad():
        for layer in grown.encoder.layers:
            layer.attention_scale.fill_(0.7)
            layer.ffn_scale.fill_(-0.3)
    shared = restructure(grown, replace(grown.config.encoder, share=2, rank=16))
    assert_close(encoded(shared), encoded(grown), rtol=1e-4, atol=1e-4)
    with pytest.raises(TrainingError, match="needs layer_scale"):
        restructure(grown, replace(grown.config.encoder, share=2, layer_scale=False))


@pytest.mark.parametrize(
    "target",
    [
        replace(ENCODER, layers=6),
        replace(ENCODER, layers=2),
        replace(ENCODER, layers=8),
        replace(ENCODER, d_model=32),
        replace(ENCODER, ffn=48, share=2),
    ],
    ids=["more layers, no multiple", "fewer layers", "grown without scale", "wider", "wider feed-forward"],
)
def test_sizes_that_do_not_fit_are_refused(target):
    with pytest.raises(TrainingError):
        restructure(source(), target)


def test_shared_source_is_refused():
    shared = restructure(source(), replace(ENCODER, share=2))
    with pytest.raises(TrainingError, match="start from an unshared one"):
        restructure(shared, replace(ENCODER, share=4))


def another(seed=5):
    torch.manual_seed(seed)
    return SpeechModel(source().config)


@pytest.mark.parametrize(("share", "end"), [(0.0, 0), (1.0, 1)])
def test_all_or_nothing_of_the_teacher_is_one_of_the_two_encoders(share, end):
    ends = another(), source()
    between = mixed(*ends, share)
    for name, tensor in between.encoder.state_dict().items():
        assert torch.equal(tensor, ends[end].encoder.state_dict()[name]), name


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_mixed_encoder_lies_between_the_two_with_the_teachers_decoder(share):
    model, teacher = another(), source()
    between = mixed(model, teacher, share)
    ours, theirs = model.encoder.state_dict(), teacher.encoder.state_dict()
    for name, tensor in between.encoder.state_dict().items():
        assert_close(tensor, (1 - share) * ours[name] + share * theirs[name])
    for part, whole in ((between.decoder, teacher.decoder), (between.ctc, model.ctc)):
        assert all(torch.equal(t, whole.state_dict()[name]) for name, t in part.state_dict().items())
    assert between.config == model.config


def test_mixing_leaves_both_models_as_they_were():
    model, teacher = another(), source()
    before = [{name: t.clone() for name, t in one.encoder.state_dict().items()} for one in (model, teacher)]
    mixed(model, teacher, 0.5)
    for one, kept in zip((model, teacher), before, strict=True):
        assert all(torch.equal(t, kept[name]) for name, t in one.encoder.state_dict().items())


@pytest.mark.parametrize("changes", [{"share": 2}, {"layers": 8, "layer_scale": True}, {"left_context": 3}])
def test_other_structure_cannot_be_mixed(changes):
    other = restructure(source(), replace(ENCODER, **changes))
    with pytest.raises(TrainingError, match="mix: only an unshared model of the teacher's sizes") as caught:
        mixed(other, source(), 0.5)
    assert "\n" not in str(caught.value)


def test_two_passes_keep_the_teachers_full_context_and_come_near_the_models_chunks(teacher):
    theirs = from_teacher(teacher, teacher.tokenizer, list(range(len(teacher.tokenizer))), seed=0).eval()
    torch.manual_seed(1)
    tuned = copy.deepcopy(theirs)
    with torch.no_grad():
        for parameter in tuned.encoder.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        tuned.encoder.front.load_state_dict(theirs.encoder.front.state_dict())
    full = min(tuned.config.encoder.d_model, tuned.config.encoder.ffn)
    wanted = replace(tuned.config.encoder, whole=True, diagonal=True)
    gaps = []
    for rank in (2, full):
        both = two_passes(tuned, theirs, replace(wanted, rank=rank)).eval().requires_grad_(requires_grad=False)
        assert_close(both.encoder(mel()), theirs.encoder(mel()))
        gaps.append(float((both.encoder(mel(), chunk=4) - tuned.encoder(mel(), chunk=4)).norm()))
        assert both.decoder is theirs.decoder
    assert gaps[1] < 1e-3 < gaps[0]


@pytest.mark.parametrize("changes", [{"share": 2}, {"d_model": 32, "heads": 2}])
def test_two_passes_of_other_structures_are_refused(teacher, changes):
    theirs = from_teacher(teacher, teacher.tokenizer, list(range(len(teacher.tokenizer))), seed=0)
    with pytest.raises(TrainingError, match="whole: needs an unshared start"):
        two_passes(theirs, theirs, replace(theirs.config.encoder, whole=True, rank=1, **changes))


def test_two_passes_written_out_are_the_chunks_function(teacher):
    theirs = from_teacher(teacher, teacher.tokenizer, list(range(len(teacher.tokenizer))), seed=0)
    tuned = copy.deepcopy(theirs)
    with torch.no_grad():
        for layer in tuned.encoder.layers:
            layer.qkv.bias.add_(0.1)
    both = two_passes(tuned, theirs, replace(tuned.config.encoder, whole=True, rank=2, diagonal=True)).eval()
    plain = unshared(both).eval()
    assert plain.config.encoder == theirs.config.encoder
    with torch.no_grad():
        assert_close(plain.encoder(mel(), chunk=4), both.encoder(mel(), chunk=4))
        assert not torch.allclose(plain.encoder(mel()), both.encoder(mel()))


def english_and(*names):
    """A model of the teacher's sizes whose table knows these languages besides English, and its tokenizer."""
    tokenizer = make_tokenizer((*SPECIAL, "<|en|>", *names))
    torch.manual_seed(2)
    sizes = {"d_model": D, "heads": 1, "ffn": 4 * D, "layers": LAYERS}
    parts = EncoderConfig(**sizes), DecoderConfig(len(tokenizer), **sizes, max_tokens=MAX_TOKENS)
    return SpeechModel(ModelConfig(*parts)).eval(), tokenizer


@pytest.mark.parametrize("names", [("<|ja|>",), LANGUAGES[1:3]])
def test_languages_that_a_model_lacks_are_the_teachers_and_all_else_stays(teacher, names):
    model, tokenizer = english_and(*names)
    wider, more = with_languages(model, tokenizer, teacher)
    assert more.pieces[: len(tokenizer)] == tokenizer.pieces
    assert set(more.languages) == set(teacher.tokenizer.languages)
    assert more.encode(text := "the thing and you") == tokenizer.encode(text)
    assert more.decode(more.encode(text)) == text
    assert set(more.special) - set(tokenizer.special) == set(LANGUAGES) - {"<|en|>", *names}
    for code, token in more.languages.items():
        row = wider.decoder.embedding.weight[token]
        if f"<|{code}|>" in tokenizer.special:
            assert_close(row, model.decoder.embedding.weight[tokenizer.languages[code]])
        else:
            assert_close(row, teacher.weights["decoder.embed_tokens.weight"][teacher.tokenizer.languages[code]])
    with torch.no_grad():
        states = model.encoder(mel())
        prompt = torch.tensor([tokenizer.prompt()])
        assert_close(wider.encoder(mel()), states)
        assert_close(wider.decoder(prompt, states)[..., : len(tokenizer)], model.decoder(prompt, states))


def test_a_model_that_knows_all_languages_or_english_alone_gets_none(teacher):
    for model, tokenizer in (english_and(*LANGUAGES[1:]), (english_and()[0], make_tokenizer(SPECIAL))):
        same, kept = with_languages(model, tokenizer, teacher)
        assert same is model
        assert kept is tokenizer


def rounded(teacher):
    """A model of two passes that has the teacher's matrices, but for a hundredth of their length."""
    wanted = replace(teacher_encoder(teacher).config, whole=True, rank=2)
    model = SpeechModel(ModelConfig(wanted, english_and()[0].config.decoder))
    own = teacher_encoder(teacher).state_dict()
    state = model.encoder.state_dict()
    shared = {name: own[name] for name in state if name.startswith("groups.")}
    noise = {
        name: 0.01 * matrix.norm() * F.normalize(torch.randn_like(matrix), dim=(0, 1))
        for name, matrix in shared.items()
    }
    model.encoder.load_state_dict(state | {name: shared[name] + noise[name] for name in shared})
    return model, shared


def test_full_context_gets_the_matrices_back_that_a_bundle_has_rounded(teacher):
    model, shared = rounded(teacher)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    after = as_taught(model, teacher).state_dict()
    for name, tensor in after.items():
        wanted = shared.get(name.removeprefix("encoder."))
        assert torch.equal(tensor, before[name] if wanted is None else wanted)


def test_another_teacher_s_matrices_are_refused(teacher):
    model, _ = rounded(teacher)
    other = {name: tensor.flip(0) for name, tensor in teacher.weights.items()}
    with pytest.raises(TrainingError, match=r"--teacher: its groups\..* give that model's own"):
        as_taught(model, replace(teacher, weights=Weights(other)))


def test_languages_of_a_teacher_of_another_width_are_refused(teacher):
    model, tokenizer = english_and()
    narrow = Weights({"encoder.layer_norm.weight": torch.ones(D // 2)})
    with pytest.raises(TrainingError, match=f"--teacher: it is {D // 2} wide, the model to start from {D}"):
        with_languages(model, tokenizer, replace(teacher, weights=narrow))


def test_a_decoder_of_another_width_is_refused():
    model, _ = english_and()
    narrow = SpeechModel(replace(model.config, decoder=replace(model.config.decoder, d_model=D // 2)))
    with pytest.raises(TrainingError, match=f"--teacher: it is {D // 2} wide, the model to start from {D}"):
        with_decoder(model, narrow)


@pytest.mark.parametrize("whole_rank", [0, 3])
def test_chunks_alone_are_the_same_function_in_one_pass(whole_rank):
    torch.manual_seed(3)
    sizes = replace(ENCODER, layers=4, share=2, whole=True, whole_rank=whole_rank, rank=2, diagonal=True)
    model = SpeechModel(ModelConfig(sizes, DecoderConfig(9, 16, 2, 24, 1))).eval()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    alone = chunks_alone(model).eval()
    mel = torch.randn(2, 60, 80)
    assert_close(alone.encoder(mel, chunk=8), model.encoder(mel, chunk=8), rtol=1e-4, atol=1e-4)
    assert alone.config.one_pass
    assert alone.encoder.whole is None
    assert alone.config.encoder.rank == 2 + whole_rank
    with pytest.raises(TrainingError, match="two passes"):
        chunks_alone(alone)
