"""A whole Whisper model, as CTranslate2 runs it, to compare with: what it writes of the same clips."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rtstream.errors import TrainingError
from rtstream.evaluation.evaluate import Transcript
from rtstream.events import SAMPLE_RATE
from rtstream.languages import ENGLISH
from rtstream.nn.features import LogMel
from rtstream.training.speech.whisper import read_tokenizer, whisper_features
from rtstream.translation.ctranslate2 import load_package

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from rtstream.bundle.tokenizer import Task, Tokenizer

WINDOW_SECONDS = 30
"""What Whisper hears at once, padded to this."""
BEAM = 5
"""Hypotheses, as faster-whisper has it by default."""
NO_SPEECH = 0.6
LEAST_LOG_PROBABILITY = -1.0
"""A text less likely than this, a token, is dropped where "nobody speaks" is likelier than NO_SPEECH: Whisper's own."""


class WhisperReference:
    """Whisper in int8 over 30 s windows, as faster-whisper runs it. Made by :meth:`open`.

    Unlike faster-whisper it asks for no time stamps, so that each clip is heard once, does not try again at higher
    temperatures, which is random, and pads with silence, as OpenAI's program does. It is told which language
    to expect, and whether to write English of it.
    """

    def __init__(self, engine: ModuleType, model: Any, tokenizer: Tokenizer, beam: int) -> None:  # noqa: ANN401 - has no types
        self._engine, self._model, self._tokenizer, self._beam = engine, model, tokenizer, beam
        self._features = LogMel(model.n_mels)
        self._multilingual = bool(model.is_multilingual)

    @classmethod
    def open(cls, directory: Path, *, threads: int = 1, beam: int = BEAM) -> WhisperReference:
        """Load a directory with CTranslate2's ``model.bin`` and ``tokenizer.json``; ``beam`` 1 searches greedily.

        Raises TrainingError.
        """
        engine = load_package("ctranslate2", TrainingError)
        try:
            model = engine.models.Whisper(
                str(directory), device="cpu", compute_type="int8", inter_threads=1, intra_threads=threads
            )
            return cls(engine, model, read_tokenizer(directory / "tokenizer.json"), beam)
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise TrainingError(
                f"{directory}: CTranslate2 cannot load a Whisper model there ({type(error).__name__}: {error}): it "
                "needs model.bin, config.json, vocabulary.json and tokenizer.json, as its converters write them"
            ) from error

    def transcribe(self, audio: NDArray[np.float32], language: str = ENGLISH, task: Task = "transcribe") -> Transcript:
        """Text of a recording, float32 of shape (n,) at 16 kHz. Raises TrainingError where it is longer than 30 s."""
        prompt = self._tokenizer.prompt(language, task)
        if len(audio) > WINDOW_SECONDS * SAMPLE_RATE:
            raise TrainingError(
                f"a clip of {len(audio) / SAMPLE_RATE:.1f} s: Whisper hears {WINDOW_SECONDS} s at once, cut it"
            )
        start = time.process_time()
        mel = whisper_features(self._features, torch.from_numpy(audio)[None], WINDOW_SECONDS * SAMPLE_RATE)
        features = self._engine.StorageView.from_array(np.ascontiguousarray(mel.mT.numpy()))
        (result,) = self._model.generate(
            features,
            [prompt if self._multilingual else [prompt[0], prompt[-1]]],
            beam_size=self._beam,
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = result.sequences_ids[0]
        # The score is the mean over the tokens; Whisper divides their sum by one more, the end.
        likelihood = result.scores[0] * len(tokens) / (len(tokens) + 1)
        unspoken = result.no_speech_prob > NO_SPEECH and likelihood < LEAST_LOG_PROBABILITY
        text = "" if unspoken else self._tokenizer.decode(t for t in tokens if t < self._tokenizer.end)
        return Transcript(text.strip(), cpu_seconds=time.process_time() - start)
