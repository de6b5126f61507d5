"""A plan small enough for a test: two structures of a tiny model, measured on two recorded clips."""

import json
import tarfile
from pathlib import Path

from rtstream.export.bundles import save_bundle
from rtstream.research.ablation.plan import load_plan
from rtstream.research.ablation.run import Places
from tests.training.tiny_training import make_model, write_data
from tests.training.tiny_whisper import full_tokenizer

CLIPS = Path(__file__).parents[2] / "data"
SETS = {"dev-one": ("cv-romanians.flac",), "dev-two": ("cv-laundry.wav", "cv-utica.flac")}
PLAN = """
task = "ablation"
name = "tiny"
seeds = [3]
sets = ["dev-one", "dev-two"]
reference = "unshared"

[arms.unshared]
[arms.k2]
encoder = { share = 2, rank = 2, diagonal = true }
fade_steps = 2

[base]
chunks = [0, 8]
precision = "float32"
loss = { distance = 0.0 }
optimizer = { steps = 3, seconds = 1.0, warmup = 1 }
sources = { speech = 1.0 }
"""


def write_set(directory, name, files):
    """A shard of recorded clips; their texts do not matter to a model that has learnt nothing."""
    rows = []
    with tarfile.open(directory / f"{name}.tar", "w") as archive:
        for file in files:
            archive.add(CLIPS / file, file)
            rows.append(
                {"id": file, "file": file, "dur": 4.0, "text": "romanians also lived in the city", "lang": "en"}
            )
    (directory / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_start(path, seed=0):
    """A bundle to start from."""
    save_bundle(path, path.name, make_model(seed=seed), full_tokenizer(), "card")
    return path


def write_places(directory, start="start"):
    """What the plan's runs need, and where they are kept; no teacher."""
    write_data(directory / "audio")
    for name, files in SETS.items():
        write_set(directory / "audio", name, files)
    return Places(
        runs=directory / "runs",
        audio=(directory / "audio",),
        texts=directory,
        teacher=directory / "teacher",
        taught=directory / "taught",
        start=write_start(directory / start),
    )


def make_plan(directory, text=PLAN):
    """The plan that ``text`` says."""
    path = directory / "tiny.toml"
    path.write_text(text)
    return load_plan(path)
