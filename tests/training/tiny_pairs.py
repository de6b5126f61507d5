"""Twenty sentences in four languages, and a recipe that can learn them by heart in a test."""

import gzip
import json

from rtstream.training.text.recipe import TranslationRecipe

ENGLISH = [f"{who} {what} {where}." for who in ("Tom", "My sister") for what in ("reads", "sings") for where in (
    "at home", "in Boston", "every day", "with me", "at 5"
)]  # fmt: skip
WORDS = {
    "es": {"Tom": "Tom", "My sister": "Mi hermana", "reads": "lee", "sings": "canta", "at home": "en casa",
           "in Boston": "en Boston", "every day": "todos los días", "with me": "conmigo", "at 5": "a las 5"},
    "de": {"Tom": "Tom", "My sister": "Meine Schwester", "reads": "liest", "sings": "singt", "at home": "zu Hause",
           "in Boston": "in Boston", "every day": "jeden Tag", "with me": "mit mir", "at 5": "um 5"},
}  # fmt: skip


def translated(english, language):
    for word, other in WORDS[language].items():
        english = english.replace(word, other)
    return english


def write_pairs(folder, *, source="tatoeba-manythings"):
    """Train and dev files of both languages, the same sentences in each."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in WORDS:
        pairs = [(english, translated(english, language)) for english in ENGLISH]
        with gzip.open(folder / f"pairs-en-{language}.train.tsv.gz", "wt", encoding="utf-8") as file:
            file.writelines(f"{english}\t{other}\t{source}\n" for english, other in pairs)
            file.write("Only for research.\tNada.\twmt-newstest\n")
        with gzip.open(folder / f"pairs-en-{language}.dev.tsv.gz", "wt", encoding="utf-8") as file:
            file.writelines(f"{english}\t{json.dumps([other])}\t{source}\n" for english, other in pairs)


def make_recipe(**changes):
    """Two languages, a few thousand weights, single precision."""
    recipe = {
        "task": "translation",
        "name": "tiny",
        "seed": 3,
        "model": {
            "d_model": 32,
            "heads": 2,
            "ffn": 64,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "share": 2,
            "rank": 2,
            "vocabulary": 60,
            "max_tokens": 60,
            "dropout": 0.0,
        },
        "data": {"files": {lang: (f"pairs-en-{lang}.train.tsv.gz",) for lang in WORDS}},
        "optimizer": {"steps": 4, "pairs": 10, "lr": 5e-3, "warmup": 2, "average": 0.9},
        "precision": "float32",
    }
    return TranslationRecipe(**(recipe | changes))
