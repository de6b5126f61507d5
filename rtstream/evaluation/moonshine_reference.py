"""Moonshine itself, against which a model made from it is measured: greedy search over clips of their true length."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from rtstream.evaluation.evaluate import Transcript
from rtstream.languages import ENGLISH
from rtstream.training.speech.initialization import from_teacher
from rtstream.training.speech.moonshine import load_moonshine
from rtstream.training.speech.teacher_outputs import greedy

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from rtstream.bundle.tokenizer import Tokenizer
    from rtstream.nn.model import SpeechModel


class MoonshineReference:
    """Moonshine's own weights in float32, without segments, guard or any change. Made by :meth:`open`."""

    def __init__(self, model: SpeechModel, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    @classmethod
    def open(cls, directory: Path) -> MoonshineReference:
        """Load what ``load_moonshine`` reads. Raises TrainingError."""
        checkpoint = load_moonshine(directory)
        tokenizer = checkpoint.tokenizer
        return cls(from_teacher(checkpoint, tokenizer, list(range(len(tokenizer))), seed=0).eval(), tokenizer)

    @torch.inference_mode()
    def transcribe(self, audio: NDArray[np.float32], _language: str = ENGLISH) -> Transcript:
        """Text of a recording, float32 of shape (n,) at 16 kHz; none where the decoder comes to no end."""
        start = time.process_time()
        states = self.model.encoder(torch.from_numpy(audio)[None])
        frame = self.model.config.encoder.frame_samples
        (text,) = greedy(states, [states.shape[1]], self.model.decoder, self.tokenizer, frame=frame)
        return Transcript(text or "", cpu_seconds=time.process_time() - start)
