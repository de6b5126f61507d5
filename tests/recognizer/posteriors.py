"""CTC posteriors that are known to say something."""

import numpy as np

from rtstream.model.config import LETTERS


def say(text, sure=0.9, stretch=4):
    """Posteriors that say a text, each letter followed by blanks."""
    table = np.full((max(1, len(text) * stretch), len(LETTERS) + 1), (1 - sure) / len(LETTERS), np.float32)
    table[:, 0] = sure
    for index, letter in enumerate(text):
        table[index * stretch] = (1 - sure) / len(LETTERS)
        table[index * stretch, LETTERS.index(letter) + 1] = sure
    return np.log(table / table.sum(axis=1, keepdims=True))


def faint(text, share=0.1):
    """Posteriors that say nothing, but might have said a text."""
    return np.log((1 - share) * np.exp(say("")) + share * np.exp(say(text)))
