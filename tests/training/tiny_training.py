"""A run small enough for a test: shards of synthetic clips, a model of a few thousand weights, a recipe."""

import io
import json
import tarfile
import zlib
from dataclasses import replace
from functools import partial

import numpy as np
import soundfile
import torch

from rtstream.events import SAMPLE_RATE
from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig
from rtstream.nn.model import SpeechModel
from rtstream.training.corpus.augment import Augment
from rtstream.training.corpus.data import Batches, clean_clip, load_shard
from rtstream.training.speech.distill import Teacher
from rtstream.training.speech.initialization import restructure
from rtstream.training.speech.recipe import Recipe
from rtstream.training.speech.teacher_outputs import WholeTeacher, teach
from rtstream.training.speech.trainer import Trainer
from tests.training.tiny_whisper import full_tokenizer

TEXTS = ("the end", "and our thing", "in the other", "", "an hour", "singing")
PLAIN = Augment(speed=0.0, noise=0.0, room=0.0, band=0.0, gain_db=(0.0, 0.0), lead=(0.0, 0.0), tail=(0.0, 0.0))


def tone(index, seconds):
    """A clip that can be told from the others: two tones of its own."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.2 * np.sin(2 * np.pi * (200 + 90 * index) * t) + 0.1 * np.sin(2 * np.pi * 77 * index * t)).astype(
        np.float32
    )


def write_shard(path, rows, *, rate=SAMPLE_RATE):
    """A tar of FLAC clips and its index. Each of ``rows`` is (seconds, text, further keys)."""
    lines = []
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        for index, (seconds, text, more) in enumerate(rows):
            buffer = io.BytesIO()
            soundfile.write(buffer, tone(index, seconds), rate, format="FLAC")
            member = tarfile.TarInfo(f"clips/{path.name}-{index}.flac")
            member.size = len(buffer.getvalue())
            archive.addfile(member, io.BytesIO(buffer.getvalue()))
            name = member.name.split("/")[1]
            lines.append(json.dumps({"id": name[:-5], "file": name, "dur": seconds, "text": text, "lang": "en"} | more))
    path.with_suffix(".jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_data(directory):
    """Shards ``speech``, ``foreign`` (no text to learn from) and ``noise``."""
    directory.mkdir(parents=True, exist_ok=True)
    lengths = (0.4, 0.5, 0.55, 0.6, 0.7, 0.8)
    write_shard(directory / "speech", [(s, t, {}) for s, t in zip(lengths, TEXTS, strict=True)])
    write_shard(directory / "foreign", [(s, "мир", {"lang": "ru"}) for s in lengths[:3]])
    write_shard(directory / "noise", [(0.5, "", {"lang": "zxx"}), (1.0, "", {"lang": "zxx"})])


def make_recipe(**changes):
    """Four steps of about two seconds of audio in single precision."""
    recipe = {
        "name": "tiny",
        "seed": 3,
        "optimizer": {"steps": 4, "seconds": 2.0, "warmup": 2, "encoder_lr": 1e-3, "decoder_lr": 1e-3},
        "loss": {"distance": 1.0, "imitation": 0.5, "prefixes": 0.5, "prefixes_from": 1},
        "augment": Augment(),
        "chunks": (0, 2, 8),
        "sources": {"speech": 0.8, "foreign": 0.2},
        "precision": "float32",
    }
    return Recipe(**(recipe | changes))


ENCODER = EncoderConfig(n_mels=80, d_model=16, heads=2, ffn=24, layers=2, max_frames=400)

TWO_PASSES = replace(ENCODER, rank=2, diagonal=True, whole=True)


def make_model(encoder=ENCODER, *, fading=False, seed=0):
    torch.manual_seed(seed)
    decoder = DecoderConfig(len(full_tokenizer()), d_model=16, heads=2, ffn=24, layers=1, max_tokens=60)
    model = SpeechModel(ModelConfig(ENCODER, decoder))
    with torch.no_grad():
        model.decoder.embedding.weight.mul_(0.1)
    return model if encoder == ENCODER else restructure(model, encoder, fading=fading)


def make_teacher(seed=1, *, ends=0.0):
    """Another random model. ``ends``: how much likelier than others its decoder finds the end of a text."""
    model = make_model(seed=seed).eval()
    end = model.decoder.embedding.weight[full_tokenizer().end]
    with torch.no_grad():
        model.decoder.positions.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(seed))
        model.decoder.norm.bias += ends * end / end.norm()
    return WholeTeacher(Teacher(model.encoder), model.decoder, full_tokenizer())


def taught_clips(data, name, augment):
    """The clips of a shard with what the teacher makes of them, kept beside it; noise is not taught."""
    clips = load_shard(data / name)
    speech = [clip for clip in clips if clip.text != ""]
    path = data / f"taught-{zlib.crc32(augment.heard().encode())}" / name
    given = teach(speech, path, make_teacher(), partial(clean_clip, augment), lambda *_: None)
    return given + [clip for clip in clips if clip.text == ""]


def make_batches(recipe, data, *, seed=None, start=0, rank=0, world=1, augment=None, taught=False):
    augment = recipe.augment if augment is None else augment
    clips = {name: taught_clips(data, name, augment) if taught else load_shard(data / name) for name in recipe.sources}
    return Batches(
        {name: (clips[name], weight) for name, weight in recipe.sources.items()},
        full_tokenizer(),
        augment,
        load_shard(data / "noise"),
        seconds=recipe.optimizer.seconds,
        seed=recipe.seed if seed is None else seed,
        start=start,
        rank=rank,
        world=world,
    )


def make_trainer(recipe, data, directory, *, encoder=ENCODER, rank=0, world=1):
    """A new trainer, not resumed; the teacher is another random model."""
    directory.mkdir(parents=True, exist_ok=True)
    model = make_model(encoder, fading=recipe.fade_steps > 0)
    guide = make_teacher().decoder if recipe.loss.imitation else None
    return Trainer(recipe, model, guide, make_batches(recipe, data, rank=rank, world=world, taught=True), directory)
