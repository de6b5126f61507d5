"""A bundle of a tiny network that hears letters and spaces at random, and says them for any audio that is speech."""

from collections.abc import Sequence
from pathlib import Path

import torch

from rtstream.export.bundles import save_bundle
from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig
from rtstream.nn.model import SpeechModel
from tests.bundle.tiny_tokenizer import make_tokenizer

DATA = Path(__file__).parent.parent / "data"


def save_tiny_bundle(path: Path, languages: Sequence[str] = ("en",)) -> Path:
    """Write it; its CTC partials come word by word, its decoder never ends a text, so that CTC writes the finals."""
    tokenizer = make_tokenizer().with_special([f"<|{language}|>" for language in languages if language != "en"])
    torch.manual_seed(0)
    encoder = EncoderConfig(d_model=32, heads=2, ffn=64, layers=2, share=2, rank=2, diagonal=True)
    decoder = DecoderConfig(len(tokenizer), 32, 2, 64, 1, alignment_heads=((0, 1),))
    model = SpeechModel(ModelConfig(encoder, decoder))
    with torch.no_grad():
        # Or it would hear the same symbol all the time, and be too unsure to write alone.
        model.ctc.output.weight *= 60
        model.ctc.output.bias[1] += 27  # a space, which ends a word
    guard = {"min_known": 0.0}  # its letters are no words
    save_bundle(path, "tiny", model, tokenizer, "# Tiny\n", guard=guard, languages=languages)
    return path
