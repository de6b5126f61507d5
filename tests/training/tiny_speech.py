"""What a recogniser would make of the twenty sentences: to each word its own states, and a little noise."""

import numpy as np

from rtstream.recognizer.context import SEEN_FRAMES
from rtstream.training.corpus.data import Clip
from rtstream.training.speech.teacher_outputs import Taught
from rtstream.training.text.spoken_data import Said
from tests.training.tiny_pairs import ENGLISH, WORDS, translated

WIDTH = 24
FRAMES_A_WORD = 6


def states_of(english, seed=0):
    """(frames, WIDTH) float16."""
    noise = np.random.default_rng(seed)
    words = []
    for word in english.lower().strip(".").split():
        own = np.random.default_rng(list(word.encode())).normal(size=WIDTH)
        words.append(np.repeat(own[None], FRAMES_A_WORD, axis=0))
    states = np.concatenate(words)
    return (states + 0.1 * noise.normal(size=states.shape)).astype(np.float16)


def make_said(path, languages=tuple(WORDS)):
    """The twenty sentences, their states in the file ``path``, translated into ``languages``."""
    said, row = [], 0
    with path.open("wb") as file:
        for index, english in enumerate(ENGLISH):
            states = np.concatenate([states_of(english, index), np.zeros((SEEN_FRAMES, WIDTH), np.float16)])
            file.write(states.tobytes())
            taught = Taught(path, row, len(states), WIDTH, None)
            row += len(states)
            seconds = (len(states) - SEEN_FRAMES) / 50
            clip = Clip(path, index, 1, seconds, english.lower(), taught, english)
            said.append(Said(clip, english, {name: [translated(english, name)] for name in languages}, {}))
    return said
