"""Training a SentencePiece table for a translation model."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import sentencepiece

from rtstream.bundle.pieces import COPY, END_ID, PAD_ID, UNKNOWN_ID, PieceTokenizer, language_symbol
from rtstream.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def train_pieces(texts: Iterable[str], languages: Sequence[str], size: int) -> PieceTokenizer:
    """A table of ``size`` pieces (unigram model, Kudo 2018) for these texts, with a token for each target language.

    Raises TrainingError where the texts are too few for it.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            character_coverage=0.9999,
            pad_id=PAD_ID,
            unk_id=UNKNOWN_ID,
            eos_id=END_ID,
            bos_id=-1,
            control_symbols=[COPY, *map(language_symbol, languages)],
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        msg = f"a vocabulary of {size} pieces cannot be made of these texts: {error}"
        raise TrainingError(msg) from error
    return PieceTokenizer(model.getvalue())
