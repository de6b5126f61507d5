"""Where a student starts: a teacher's weights, or another checkpoint's, brought to the student's structure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from rtstream.errors import TrainingError
from rtstream.model.config import POSITIONS, DecoderConfig, EncoderConfig, ModelConfig
from rtstream.nn.encoder import Encoder
from rtstream.nn.model import SpeechModel
from rtstream.nn.residual_linear import ResidualLinear
from rtstream.training.speech.moonshine import MoonshineCheckpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtstream.bundle.tokenizer import Tokenizer
    from rtstream.nn.encoder import EncoderLayer
    from rtstream.training.speech.teacher import Checkpoint
    from rtstream.training.speech.whisper import WhisperCheckpoint

CONVOLUTIONS = ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias")
ROUNDED = 0.02
"""Of a matrix's energy, that rounding may take: at 4 bits a weight it takes 0.6 %."""
Method = Literal["mean", "diagonal", "svd"]


def teacher_encoder(teacher: WhisperCheckpoint) -> Encoder:
    """The teacher's encoder as one of ours, nothing shared: the same function on whole, padded recordings."""
    w = teacher.weights
    config = EncoderConfig(
        d_model=teacher.d_model, heads=teacher.heads, ffn=4 * teacher.d_model, layers=teacher.layers("encoder")
    )
    state = {f"front.{name}": w[f"encoder.{name}"] for name in CONVOLUTIONS}
    state |= {"norm.weight": w["encoder.layer_norm.weight"], "norm.bias": w["encoder.layer_norm.bias"]}
    for index in range(config.layers):
        old = f"encoder.layers.{index}."
        weights, biases = _qkv(w, old + "self_attn.")
        state |= {f"groups.{index}.qkv.weight": weights, f"layers.{index}.qkv.bias": biases}
        for name, source in (("out", "self_attn.out_proj"), ("ff1", "fc1"), ("ff2", "fc2")):
            state[f"groups.{index}.{name}.weight"] = w[f"{old}{source}.weight"]
            state[f"layers.{index}.{name}.bias"] = w[f"{old}{source}.bias"]
        for name, source in (("attention_norm", "self_attn_layer_norm"), ("ffn_norm", "final_layer_norm")):
            state |= {f"layers.{index}.{name}.{kind}": w[f"{old}{source}.{kind}"] for kind in ("weight", "bias")}
    encoder = Encoder(config)
    encoder.load_state_dict(state)
    return encoder


def from_teacher(teacher: Checkpoint, tokenizer: Tokenizer, kept: list[int], seed: int) -> SpeechModel:
    """An unshared student with the teacher's encoder and decoder, the token table cut to ``kept`` old ids."""
    if isinstance(teacher, MoonshineCheckpoint):
        return teacher.model(tokenizer, kept, seed)
    w = teacher.weights
    encoder = teacher_encoder(teacher)
    decoder_config = DecoderConfig(
        vocabulary=len(tokenizer),
        d_model=teacher.d_model,
        heads=teacher.heads,
        ffn=4 * teacher.d_model,
        layers=teacher.layers("decoder"),
        max_tokens=w["decoder.embed_positions.weight"].shape[0],
        alignment_heads=teacher.alignment_heads,
    )
    torch.manual_seed(seed)  # the CTC head has no teacher
    model = SpeechModel(ModelConfig(encoder.config, decoder_config))
    model.encoder = encoder
    state = {
        "embedding.weight": w["decoder.embed_tokens.weight"][kept],
        "positions": w["decoder.embed_positions.weight"],
        "norm.weight": w["decoder.layer_norm.weight"],
        "norm.bias": w["decoder.layer_norm.bias"],
    }
    for index in range(decoder_config.layers):
        old, new = f"decoder.layers.{index}.", f"layers.{index}."
        state[new + "qkv.weight"], state[new + "qkv.bias"] = _qkv(w, old + "self_attn.")
        state[new + "cross_kv.weight"], state[new + "cross_kv.bias"] = _qkv(w, old + "encoder_attn.", "kv")
        names = {
            "out": "self_attn.out_proj",
            "cross_q": "encoder_attn.q_proj",
            "cross_out": "encoder_attn.out_proj",
            "ff1": "fc1",
            "ff2": "fc2",
            "self_norm": "self_attn_layer_norm",
            "cross_norm": "encoder_attn_layer_norm",
            "ffn_norm": "final_layer_norm",
        }
        state |= {f"{new}{n}.{k}": w[f"{old}{source}.{k}"] for n, source in names.items() for k in ("weight", "bias")}
    model.decoder.load_state_dict(state)
    return model


def _qkv(w: Mapping[str, Tensor], prefix: str, parts: str = "qkv") -> tuple[Tensor, Tensor]:
    weights = [w[f"{prefix}{part}_proj.weight"] for part in parts]
    biases = [w.get(f"{prefix}{part}_proj.bias", torch.zeros(len(weights[0]))) for part in parts]
    return torch.cat(weights), torch.cat(biases)


def with_languages(model: SpeechModel, tokenizer: Tokenizer, teacher: Checkpoint) -> tuple[SpeechModel, Tokenizer]:
    """A model that can say of all the teacher's languages which one is spoken, and its tokenizer.

    The tokens that are missing are added behind the others, their rows of the table are the teacher's: tuning moves
    those that a model has by a thirtieth of their length. Both as they are where nothing is missing, and where either
    knows English alone. Raises TrainingError where the teacher is of another width.
    """
    if isinstance(teacher, MoonshineCheckpoint):
        return model, tokenizer
    known = teacher.tokenizer.languages
    missing = [name for name in map("<|{}|>".format, known) if name not in tokenizer.special]
    if not missing or not tokenizer.languages:
        return model, tokenizer
    _check_width(model, teacher.d_model)
    wider = tokenizer.with_special(missing)
    student = SpeechModel(replace(model.config, decoder=replace(model.config.decoder, vocabulary=len(wider))))
    rows = teacher.weights["decoder.embed_tokens.weight"][[teacher.tokenizer.special[name] for name in missing]]
    table = torch.cat([model.decoder.embedding.weight.detach(), rows])
    student.load_state_dict(model.state_dict() | {"decoder.embedding.weight": table})
    return student, wider


def _check_width(model: SpeechModel, teacher: int) -> None:
    if teacher != (width := model.config.decoder.d_model):
        msg = f"--teacher: it is {teacher} wide, the model to start from {width}: give that model's own"
        raise TrainingError(msg)


def with_decoder(model: SpeechModel, whole: SpeechModel) -> SpeechModel:
    """A model with the decoder of another one, the teacher's. Raises TrainingError where their widths differ."""
    _check_width(model, whole.config.decoder.d_model)
    student = SpeechModel(replace(model.config, decoder=whole.config.decoder))
    student.encoder, student.ctc, student.voice = model.encoder, model.ctc, model.voice
    student.decoder = whole.decoder
    return student


def _encoder_of(teacher: Checkpoint) -> Encoder:
    if isinstance(teacher, MoonshineCheckpoint):
        return teacher.model(teacher.tokenizer, list(range(len(teacher.tokenizer))), seed=0).encoder
    return teacher_encoder(teacher)


def as_taught(model: SpeechModel, teacher: Checkpoint) -> SpeechModel:
    """A model of two passes with the teacher's own matrices, which training never changes and a bundle has rounded.

    Raises TrainingError where they are not the ones that were rounded.
    """
    own = _encoder_of(teacher).state_dict()
    state = model.encoder.state_dict()
    for name in (name for name in state if name.startswith("groups.")):
        old, new = state[name], own.get(name)
        if new is None or new.shape != old.shape or (new - old).square().sum() > ROUNDED * new.square().sum():
            msg = f"--teacher: its {name} is not what the model to start from was made of: give that model's own"
            raise TrainingError(msg)
        state[name] = new
    model.encoder.load_state_dict(state)
    return model


def mixed(model: SpeechModel, teacher: SpeechModel, share: float) -> SpeechModel:
    """An unshared model with its encoder ``share`` of the way back to the teacher's, and the teacher's decoder.

    Half of the way, what tuning took from the teacher is mostly back, and little of what it brought is gone (WiSE-FT,
    arXiv 2109.01903). Raises TrainingError where the structures differ.
    """
    if model.config.encoder != teacher.config.encoder:
        msg = f"mix: only an unshared model of the teacher's sizes can be mixed with it, not {model.config.encoder}"
        raise TrainingError(msg)
    student = SpeechModel(teacher.config)
    student.ctc, student.decoder = model.ctc, teacher.decoder
    theirs = teacher.encoder.state_dict()
    between = {name: tensor.lerp(theirs[name], share) for name, tensor in model.encoder.state_dict().items()}
    student.encoder.load_state_dict(between)
    return student


def two_passes(model: SpeechModel, teacher: SpeechModel, target: EncoderConfig) -> SpeechModel:
    """The teacher, whose matrices are shared by full context, which they alone compute, and by chunks.

    Chunks get private parts of ``target``'s rank that bring the matrices as near as they can to those of the unshared
    ``model``, and its biases and norms. Everything else is the teacher's, but for the CTC head, which is the model's.
    Raises TrainingError where the structures differ.
    """
    sizes = replace(target, whole=False, rank=0, diagonal=False, left_context=model.config.encoder.left_context)
    if model.config.encoder != sizes or teacher.config.encoder.layers != sizes.layers or target.whole_rank:
        msg = f"whole: needs an unshared start of the teacher's sizes, and no whole_rank, not {model.config.encoder}"
        raise TrainingError(msg)
    student = SpeechModel(replace(teacher.config, encoder=target))
    student.ctc, student.decoder = model.ctc, teacher.decoder
    encoder, source, base = student.encoder, model.encoder, teacher.encoder
    assert encoder.whole is not None
    with torch.no_grad():
        encoder.front.load_state_dict(base.front.state_dict())
        encoder.groups.load_state_dict(base.groups.state_dict())  # type: ignore[attr-defined]
        encoder.norm.load_state_dict(source.norm.state_dict())
        encoder.whole.norm.load_state_dict(base.norm.state_dict())
        for index in range(target.layers):
            _copy_layer(encoder.layers[index], source.layers[index], silent=False)
            _copy_layer(encoder.whole.layers[index], base.layers[index], silent=False)
            for name in POSITIONS:
                rest = source.matrix(index, name) - base.matrix(index, name)
                fit_residual(encoder.layers[index].private(name), rest, "svd")
    return student


def restructure(
    model: SpeechModel, target: EncoderConfig, *, method: Method = "svd", fading: bool = False
) -> SpeechModel:
    """The model with its encoder brought to ``target``: grown, shared, or both.

    The source must be unshared. Each of its layers is used ``target.layers / source.layers`` times; the further copies
    start as nothing (their branches' scales at zero), so growing alone keeps the function. Where different matrices
    come to share one, U is their mean, and what is left of each goes to its diagonal and to the truncated SVD, as far
    as ``method`` and the target allow; with ``fading`` the rest is kept aside to be faded out in training.
    The left context alone can be changed for any source. Raises TrainingError where the sizes do not fit.
    """
    source = model.encoder
    encoder = Encoder(target)
    if replace(target, left_context=source.config.left_context) == source.config:
        encoder.load_state_dict(source.state_dict())
    else:
        grow = _growth(source.config, target)
        for name in ("front", "norm"):
            getattr(encoder, name).load_state_dict(getattr(source, name).state_dict())
        with torch.no_grad():
            for index, layer in enumerate(encoder.layers):
                _copy_layer(layer, source.layers[index // grow], silent=index % grow > 0)
            for group in range(target.groups):
                members = range(group * target.share, (group + 1) * target.share)
                for name in POSITIONS:
                    matrices = {index: source.matrix(index // grow, name) for index in members}
                    _share(encoder, name, matrices, method=method, fading=fading)
    student = SpeechModel(replace(model.config, encoder=target))
    student.encoder, student.ctc, student.decoder = encoder, model.ctc, model.decoder
    return student


def unshared(model: SpeechModel) -> SpeechModel:
    """The same function with every layer's matrices written out: what sharing can be begun anew from.

    Of two passes it is that of the chunks, which then is that of full context too.
    """
    source = model.encoder
    plain = replace(source.config, whole=False, whole_rank=0)
    encoder = Encoder(replace(plain, share=1, rank=0, diagonal=False, full_rank=True))
    state = {name: tensor for name, tensor in source.state_dict().items() if name in encoder.state_dict()}
    for index, layer in enumerate(source.layers):
        for name in POSITIONS:
            whole = layer.private(name).weight(source.group_of(index).matrix(name))
            state[f"groups.{index}.{name}.weight"] = whole.detach().clone()
    encoder.load_state_dict(state)
    student = SpeechModel(replace(model.config, encoder=encoder.config))
    student.encoder, student.ctc, student.decoder = encoder, model.ctc, model.decoder
    return student


def chunks_alone(model: SpeechModel) -> SpeechModel:
    """A model of two passes without the one of full context, the same function by chunks; it is to know one pass alone.

    Where chunks' private parts add to full context's they become one, of both ranks. Raises TrainingError where there
    is but one pass.
    """
    source = model.encoder
    if source.whole is None:
        raise TrainingError("one_pass: needs a start of two passes, of which the chunks' is kept")
    sizes = source.config
    rank = sizes.rank + sizes.whole_rank
    diagonal = sizes.diagonal or sizes.whole_rank > 0
    encoder = Encoder(replace(sizes, whole=False, whole_rank=0, rank=rank, diagonal=diagonal))
    state = {name: tensor.clone() for name, tensor in source.state_dict().items() if not name.startswith("whole.")}
    for index, layer in enumerate(source.layers):
        under = source.under(index)
        for name in POSITIONS:
            own = layer.private(name)
            both = [part for part in (own, None if under is None else under.private(name)) if part is not None]
            place = f"layers.{index}.{name}"
            down = [part.b.view(part.parts, part.rank, part.inputs) for part in both if part.b is not None]
            if down:
                state[f"{place}.a"] = torch.cat([part.a for part in both if part.a is not None], dim=2)
                state[f"{place}.b"] = torch.cat(down, dim=1).reshape(-1, own.inputs)
            diagonals = [part.d for part in both if part.d is not None]
            if diagonals:
                state[f"{place}.d"] = torch.stack([d.detach() for d in diagonals]).sum(dim=0)
    encoder.load_state_dict({name: tensor.detach() for name, tensor in state.items()})
    student = SpeechModel(replace(model.config, encoder=encoder.config, one_pass=True))
    student.encoder, student.ctc, student.decoder, student.voice = encoder, model.ctc, model.decoder, model.voice
    return student


def narrowed(model: SpeechModel, rank: int) -> SpeechModel:
    """The model with private parts of a lower rank, the largest directions of what they were (truncated SVD).

    Raises TrainingError where they are as narrow already.
    """
    source = model.encoder
    if not 0 < rank < source.config.rank:
        raise TrainingError(f"encoder.rank: {rank} is to be less than the start's {source.config.rank}, and not 0")
    encoder = Encoder(replace(source.config, rank=rank))
    state = {name: tensor for name, tensor in source.state_dict().items() if not name.endswith((".a", ".b"))}
    encoder.load_state_dict(state, strict=False)
    with torch.no_grad():
        for old, new in zip(source.layers, encoder.layers, strict=True):
            for name in POSITIONS:
                private = old.private(name)
                assert private.a is not None
                assert private.b is not None
                _set_low_rank(new.private(name), torch.bmm(private.a, private.b.view(private.parts, private.rank, -1)))
    narrow = SpeechModel(replace(model.config, encoder=encoder.config))
    narrow.encoder, narrow.ctc, narrow.decoder, narrow.voice = encoder, model.ctc, model.decoder, model.voice
    return narrow


def with_layers(model: SpeechModel, layers: Sequence[int]) -> SpeechModel:
    """The model with a decoder of these of its layers alone, copied; everything else is the model's own.

    They are to learn what the deeper decoder does (Distil-Whisper, arXiv 2311.00430).
    Raises TrainingError where a layer is not there, or none of them has an alignment head.
    """
    sizes = model.config.decoder
    if list(layers) != sorted(set(layers)) or not layers or layers[-1] >= sizes.layers:
        msg = f"decoder.layers: must be layers of the start's {sizes.layers} in their order (got {list(layers)})"
        raise TrainingError(msg)
    heads = tuple((layers.index(layer), head) for layer, head in sizes.alignment_heads if layer in layers)
    if sizes.alignment_heads and not heads:
        following = sorted({layer for layer, _ in sizes.alignment_heads})
        msg = f"decoder.layers: none of {list(layers)} follows the speech; keep one of {following}"
        raise TrainingError(msg)
    shallow = SpeechModel(replace(model.config, decoder=replace(sizes, layers=len(layers), alignment_heads=heads)))
    shallow.encoder, shallow.ctc, shallow.voice = model.encoder, model.ctc, model.voice
    kept = {}
    for name, tensor in model.decoder.state_dict().items():
        part, _, rest = name.partition(".")
        index, _, parameter = rest.partition(".")
        if part != "layers":
            kept[name] = tensor
        elif int(index) in layers:
            kept[f"layers.{layers.index(int(index))}.{parameter}"] = tensor
    shallow.decoder.load_state_dict(kept)
    return shallow


def _growth(source: EncoderConfig, target: EncoderConfig) -> int:
    """How often each layer of the source is used in the target."""
    grow, remainder = divmod(target.layers, source.layers)
    same = ("front_end", "positions", "rotary", "n_mels", "d_model", "heads", "ffn", "max_frames")
    differs = any(getattr(source, name) != getattr(target, name) for name in same)
    if source.share != 1 or source.rank or source.diagonal or differs or remainder or grow < 1:
        msg = f"an encoder of {source} cannot become one of {target}: start from an unshared one"
        raise TrainingError(msg)
    if (grow > 1 or source.layer_scale) and not target.layer_scale:
        msg = "a grown encoder needs layer_scale, or its new layers cannot start as nothing"
        raise TrainingError(msg)
    return grow


def _copy_layer(layer: EncoderLayer, origin: EncoderLayer, *, silent: bool) -> None:
    """Everything but the matrices; a ``silent`` layer passes its input on."""
    layer.attention_norm.load_state_dict(origin.attention_norm.state_dict())
    layer.ffn_norm.load_state_dict(origin.ffn_norm.state_dict())
    for name in POSITIONS:
        layer.private(name).bias.copy_(origin.private(name).bias)
    scales = (layer.attention_scale, origin.attention_scale), (layer.ffn_scale, origin.ffn_scale)
    for scale, old in scales:
        if scale is not None and silent:
            scale.zero_()
        elif scale is not None and old is not None:
            scale.copy_(old)


def _share(encoder: Encoder, name: str, matrices: Mapping[int, Tensor], *, method: Method, fading: bool) -> None:
    """Set the shared and private parts of one group at one position from the whole matrices of its layers."""
    first = next(iter(matrices.values()))
    base = torch.zeros_like(first)
    shared = encoder.group_of(next(iter(matrices))).matrix(name)
    if shared is not None:
        # Summed up as differences, so that the mean of equal matrices is that matrix to the last bit.
        base = first + torch.stack([matrix - first for matrix in matrices.values()]).mean(dim=0)
        shared.weight.copy_(base)
    for index, matrix in matrices.items():
        private = encoder.layers[index].private(name)
        fit_residual(private, matrix - base, method)
        if fading:
            private.fading = matrix - private.weight(shared)


def fit_residual(private: ResidualLinear, residual: Tensor, method: Method) -> None:
    """Set d to the residual's diagonal and A B to the truncated SVD of what is then left, each if it exists.

    ``mean`` sets neither, ``diagonal`` only d. An exactly zero residual leaves B zero and A as it was drawn, so that
    both can be learnt.
    """
    parts = residual.view(private.parts, private.outputs, private.inputs).clone()
    if private.d is not None and method != "mean":
        diagonal = torch.diagonal(parts, dim1=1, dim2=2)
        private.d.copy_(diagonal)
        diagonal.zero_()
    if method == "svd" and bool(parts.any()):
        _set_low_rank(private, parts)


def _set_low_rank(private: ResidualLinear, parts: Tensor) -> None:
    """Set A B, if it exists, to the truncated SVD of (parts, outputs, inputs)."""
    if private.a is None or private.b is None:
        return
    u, s, v = torch.linalg.svd(parts, full_matrices=False)
    root = s[:, : private.rank].sqrt()
    private.a.copy_(u[:, :, : private.rank] * root[:, None])
    private.b.copy_((root[:, :, None] * v[:, : private.rank]).reshape(-1, private.inputs))


def missing_share(model: SpeechModel, shared: SpeechModel) -> float:
    """Energy of the unshared encoder's matrices that the shared one misses, as a share of all of it."""
    missed = total = 0.0
    grow = shared.config.encoder.layers // model.config.encoder.layers
    with torch.no_grad():
        for index in range(shared.config.encoder.layers):
            for name in POSITIONS:
                matrix = model.encoder.matrix(index // grow, name)
                missed += float((matrix - shared.encoder.matrix(index, name)).square().sum())
                total += float(matrix.square().sum())
    return missed / total


def set_fade(encoder: nn.Module, fade: float) -> None:
    """How much of what sharing leaves out is still added, from 1 to 0."""
    for module in encoder.modules():
        if isinstance(module, ResidualLinear):
            module.fade = fade
