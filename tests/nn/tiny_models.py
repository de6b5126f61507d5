"""Small models with every parameter at random, in double precision, so that equal means equal to rounding."""

import torch
from torch import nn

from rtstream.model.config import DecoderConfig, EncoderConfig
from rtstream.nn.decoder import Decoder
from rtstream.nn.encoder import Encoder

VARIANTS = {
    "unshared": {},
    "shared": {"share": 2},
    "shared by all": {"share": 4},
    "shared with rank": {"share": 2, "rank": 3},
    "shared with diagonal": {"share": 2, "diagonal": True},
    "shared with rank and diagonal": {"share": 2, "rank": 3, "diagonal": True},
    "grown": {"share": 2, "layer_scale": True},
    "grown with rank and diagonal": {"share": 2, "rank": 3, "diagonal": True, "layer_scale": True},
    "unshared with rank": {"rank": 3},
    "rank alone": {"full_rank": False, "rank": 3},
    "diagonal alone": {"full_rank": False, "diagonal": True},
    "rank and diagonal alone": {"full_rank": False, "rank": 3, "diagonal": True},
    "two passes": {"rank": 3, "diagonal": True, "whole": True},
    "two passes of shared layers": {"share": 2, "rank": 3, "diagonal": True, "whole": True, "whole_rank": 2},
    "narrow feed-forward": {"share": 2, "rank": 3, "diagonal": True, "ffn": 12},
}
"""Every structure that a config can ask for, by name."""


def encoder_config(**changes):
    """A tiny encoder's sizes, some of them changed."""
    sizes = {"n_mels": 6, "d_model": 16, "heads": 2, "ffn": 24, "layers": 4, "left_context": 8, "max_frames": 40}
    return EncoderConfig(**(sizes | changes))


def randomize(module: nn.Module, seed: int = 0):
    """Give every parameter a random value, also those that start at zero or one."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def make_encoder(seed: int = 0, **changes) -> Encoder:
    return randomize(Encoder(encoder_config(**changes)), seed)


def make_decoder(seed: int = 0, **changes) -> Decoder:
    sizes = {"vocabulary": 11, "d_model": 16, "heads": 2, "ffn": 24, "layers": 2, "max_tokens": 12}
    return randomize(Decoder(DecoderConfig(**(sizes | changes))), seed)


class Markov(Decoder):
    """Says what a table has: for a token the probabilities of those that may follow, the others share the rest."""

    def __init__(self, vocabulary: int, table: dict[int, dict[int, float]], max_tokens: int = 300):
        super().__init__(DecoderConfig(vocabulary, 16, 2, 24, 1, max_tokens))
        randomize(self)
        self.following = torch.full((vocabulary, vocabulary), 1.0, dtype=torch.float64)
        for token, likely in table.items():
            self.following[token] = (1 - sum(likely.values())) / (vocabulary - len(likely))
            for following, probability in likely.items():
                self.following[token, following] = probability

    def step(self, tokens, state, *, scored=None):
        _, attention, state = super().step(tokens, state, scored=scored)
        return self.following[tokens].log()[-(scored or len(tokens)) :], attention, state

    def read(self, tokens, state):
        _, state = super().read(tokens, state)
        return self.following[tokens[:, -1]].log(), state


def noise(*shape: int, seed: int = 1):
    """Standard normal values in double precision."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
