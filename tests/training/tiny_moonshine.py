"""A Moonshine checkpoint of two small layers on each side, as training reads it, and what it computes, spelt out."""

import json

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

D, HEADS, LAYERS, FFN = 64, 8, 2, 96
TURNED = 4  # of 8 channels of a head: 0.62 of them, made even


def make_tokens():
    """Tokens in SentencePiece's order: special ones, bytes, pieces, characters."""
    space = "\u2581"
    pieces = ["<unk>", "<s>", "</s>"]
    merged = ["th", "lo", "ok", "er", "in", "ou", "out", f"{space}b", f"{space}th", f"{space}the", f"{space}lo"]
    letters = [space, *"etaoinshrdlucmfwypvbgkjqxz"]
    texts = [piece.encode() for piece in (*merged, *letters)]
    return [*(piece.encode() for piece in pieces), *(bytes([byte]) for byte in range(256)), *texts]


class _Random(dict):
    """Weights at random, by name."""

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def tensor(self, name, *shape, size=0.5):
        self[name] = size * torch.randn(*shape, generator=self.generator) / shape[-1] ** 0.5

    def norm(self, name):
        self[f"{name}.weight"] = 1 + 0.1 * torch.randn(D, generator=self.generator)

    def linear(self, name, outputs, *inputs):
        self.tensor(f"{name}.weight", outputs, *inputs)
        self.tensor(f"{name}.bias", outputs)

    def layer(self, name, attentions, norms, width):
        for attention in attentions:
            for part in "qkvo":
                self.tensor(f"{name}.{attention}.{part}_proj.weight", D, D)
        for each in norms:
            self.norm(f"{name}.{each}")
        self.linear(f"{name}.mlp.fc1", width, D)
        self.linear(f"{name}.mlp.fc2", D, FFN)


def make_weights(seed=0):
    """Weights by Hugging Face's names, without ``model.``."""
    w = _Random(seed)
    w.tensor("encoder.conv1.weight", D, 1, 127, size=4.0)
    w.norm("encoder.groupnorm")
    w.tensor("encoder.groupnorm.bias", D)
    w.linear("encoder.conv2", 2 * D, D, 7)
    w.linear("encoder.conv3", D, 2 * D, 3)
    w.tensor("decoder.embed_tokens.weight", len(make_tokens()), D, size=8.0)
    w.norm("encoder.layer_norm")
    w.norm("decoder.norm")
    norms = ("input_layernorm", "post_attention_layernorm", "final_layernorm")
    for index in range(LAYERS):
        w.layer(f"encoder.layers.{index}", ("self_attn",), norms[:2], FFN)
        w.layer(f"decoder.layers.{index}", ("self_attn", "encoder_attn"), norms, 2 * FFN)
    return dict(w)


def write_moonshine(directory, weights):
    """What ``load_moonshine`` reads."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file(weights, directory / "model.safetensors")
    (directory / "tokens.json").write_text(json.dumps([list(token) for token in make_tokens()]))
    return directory


def _turned(x, places):
    """Hugging Face's rotary embedding: neighbouring channels make a pair."""
    inverse = 10_000.0 ** (-torch.arange(0, TURNED, 2) / TURNED)
    angles = (places[:, None] * inverse).repeat_interleave(2, dim=-1)
    first, rest = x[..., :TURNED], x[..., TURNED:]
    other = torch.stack([-first[..., 1::2], first[..., 0::2]], dim=-1).flatten(-2)
    return torch.cat([first * angles.cos() + other * angles.sin(), rest], dim=-1)


def _attention(w, name, x, states, *, turn, causal=False):
    def heads(part, rows):
        return F.linear(rows, w[f"{name}.{part}_proj.weight"]).unflatten(-1, (HEADS, -1)).transpose(-3, -2)

    q, k, v = heads("q", x), heads("k", states), heads("v", states)
    if turn:
        q, k = (_turned(each, torch.arange(each.shape[-2])) for each in (q, k))
    attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return F.linear(attended.transpose(-3, -2).flatten(-2), w[f"{name}.o_proj.weight"])


def _norm(w, name, x):
    return F.layer_norm(x, (D,), w[f"{name}.weight"])


def encode(w, audio):
    """States (frames, D) of (samples,)."""
    x = torch.tanh(F.conv1d(audio[None, None], w["encoder.conv1.weight"], stride=64))
    x = F.group_norm(x, 1, w["encoder.groupnorm.weight"], w["encoder.groupnorm.bias"])
    x = F.gelu(F.conv1d(x, w["encoder.conv2.weight"], w["encoder.conv2.bias"], stride=3))
    x = F.gelu(F.conv1d(x, w["encoder.conv3.weight"], w["encoder.conv3.bias"], stride=2))[0].T
    for index in range(LAYERS):
        name = f"encoder.layers.{index}"
        y = _norm(w, f"{name}.input_layernorm", x)
        x = x + _attention(w, f"{name}.self_attn", y, y, turn=True)
        y = _norm(w, f"{name}.post_attention_layernorm", x)
        y = F.gelu(F.linear(y, w[f"{name}.mlp.fc1.weight"], w[f"{name}.mlp.fc1.bias"]))
        x = x + F.linear(y, w[f"{name}.mlp.fc2.weight"], w[f"{name}.mlp.fc2.bias"])
    return _norm(w, "encoder.layer_norm", x)


def decode(w, tokens, states):
    """Logits (n, vocabulary) after each of (n,) tokens over states (frames, D)."""
    x = w["decoder.embed_tokens.weight"][tokens]
    for index in range(LAYERS):
        name = f"decoder.layers.{index}"
        y = _norm(w, f"{name}.input_layernorm", x)
        x = x + _attention(w, f"{name}.self_attn", y, y, turn=True, causal=True)
        y = _norm(w, f"{name}.post_attention_layernorm", x)
        x = x + _attention(w, f"{name}.encoder_attn", y, states, turn=False)
        y = F.linear(_norm(w, f"{name}.final_layernorm", x), w[f"{name}.mlp.fc1.weight"], w[f"{name}.mlp.fc1.bias"])
        y, gate = y.chunk(2, dim=-1)
        x = x + F.linear(F.silu(gate) * y, w[f"{name}.mlp.fc2.weight"], w[f"{name}.mlp.fc2.bias"])
    return F.linear(_norm(w, "decoder.norm", x), w["decoder.embed_tokens.weight"])
