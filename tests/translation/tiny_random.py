"""A translation model at random."""

import torch

from rtstream.export.bundles import save_text_bundle
from rtstream.model.config import DecoderConfig, StackConfig, TextModelConfig
from rtstream.nn.text_model import TextModel
from rtstream.training.text.train_pieces import train_pieces
from tests.training.tiny_pairs import ENGLISH, WORDS, translated

LANGUAGES = tuple(WORDS)


def make_pieces():
    """Sixty pieces of the tiny pairs."""
    texts = [*ENGLISH, *(translated(text, language) for text in ENGLISH for language in LANGUAGES)]
    return train_pieces(texts, LANGUAGES, 60)


def save_random_model(path):
    """Its bundle, for Spanish and German."""
    pieces = make_pieces()
    torch.manual_seed(0)
    config = TextModelConfig(StackConfig(16, 2, 24, 2, 2, rank=2), DecoderConfig(60, 16, 2, 24, 1, 260))
    save_text_bundle(path, "random", TextModel(config).eval(), pieces, "# Random\n")
    return path
