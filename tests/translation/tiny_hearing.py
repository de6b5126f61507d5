"""A translation model at random that takes text, and speech as the tiny recogniser encodes it."""

import torch

from rtstream.export.bundles import save_text_bundle
from rtstream.model.config import DecoderConfig, SpeechInputConfig, StackConfig, TextModelConfig
from rtstream.nn.text_model import TextModel
from rtstream.training.text.train_pieces import train_pieces
from tests.training.tiny_pairs import ENGLISH, WORDS, translated

RECOGNISER_WIDTH = 32  # of tests.recognizer.tiny_bundle


LANGUAGES = tuple(WORDS)


def make_pieces():
    """Sixty pieces of the tiny pairs."""
    texts = [*ENGLISH, *(translated(text, language) for text in ENGLISH for language in LANGUAGES)]
    return train_pieces(texts, LANGUAGES, 60)


def save_hearing_model(path, *, hears=True):
    """Its bundle, for Spanish and German."""
    pieces = make_pieces()
    torch.manual_seed(0)
    speech = SpeechInputConfig(RECOGNISER_WIDTH, 6) if hears else None
    config = TextModelConfig(StackConfig(16, 2, 24, 2, 2, rank=2), DecoderConfig(60, 16, 2, 24, 1, 260), speech)
    save_text_bundle(path, "hearing", TextModel(config).eval(), pieces, "# Hearing\n")
    return path
