"""Runs that start from Moonshine: what learns, what stays, and that the model of such a run is a bundle like others."""

import pytest
import torch
from torch.testing import assert_close

from rtstream.engine.open import load_bundle
from rtstream.errors import TrainingError
from rtstream.evaluation.evaluate import recognize
from rtstream.export.bundles import save_bundle
from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig
from rtstream.training.corpus.data import load_shard
from rtstream.training.speech.initialization import from_teacher
from rtstream.training.speech.run import load_checkpoint, make_trainer
from rtstream.training.speech.teacher import load_teacher
from tests.training.tiny_moonshine import make_weights, write_moonshine
from tests.training.tiny_training import make_recipe

OPTIMIZER = {"steps": 3, "seconds": 2.0, "warmup": 1, "encoder_lr": 1e-2, "decoder_lr": 0.0, "ctc_lr": 1e-2}
LOSS = {"distance": 1.0, "imitation": 0.5, "voice": 0.3, "decoder": 0.0}
SOURCES = {"speech": 0.6, "foreign": 0.2, "noise": 0.2}


@pytest.fixture
def paths(data, tmp_path):
    write_moonshine(tmp_path / "teacher", make_weights())
    (tmp_path / "words.txt").write_text("the look out\n")
    return {
        "audio": (data,),
        "texts": tmp_path,
        "teacher_directory": tmp_path / "teacher",
        "taught": tmp_path / "taught",
    }


def recipe(**changes):
    made = {"vocabulary": {"texts": ("words.txt",)}, "taught": 60 / 3600, "loss": LOSS, "sources": SOURCES}
    encoder = {"whole": True, "rank": 2, "diagonal": True}
    shape = {"encoder": encoder, "optimizer": OPTIMIZER, "chunks": (2, 5), "spec_augment": False}
    return make_recipe(**(made | shape | changes))


def trained(made, directory, paths):
    trainer = make_trainer(made, directory=directory, **paths)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    assert trainer.run(lambda _: None, workers=0)
    changed = {name for name, tensor in trainer.model.state_dict().items() if not torch.equal(before[name], tensor)}
    return trainer, changed


def test_chunks_and_heads_learn_and_full_context_and_decoder_stay(tmp_path, paths):
    _, changed = trained(recipe(), tmp_path / "run", paths)
    starts = ("encoder.layers.", "encoder.norm.", "ctc.", "voice.")
    assert all(name.startswith(starts) for name in changed)
    assert all(any(name.startswith(start) for name in changed) for start in starts)


def test_heads_alone_learn_first(tmp_path, paths):
    _, changed = trained(recipe(heads_first=3), tmp_path / "run", paths)
    assert {name.partition(".")[0] for name in changed} == {"ctc", "voice"}


def test_layers_come_to_share_and_shared_matrices_learn_at_a_rate_of_their_own(tmp_path, paths):
    encoder = {"share": 2, "whole": True, "whole_rank": 4, "rank": 2, "diagonal": True}
    optimizer = OPTIMIZER | {"shared_lr": 1e-3}
    trainer, changed = trained(recipe(encoder=encoder, optimizer=optimizer, chunks=(0, 2)), tmp_path / "run", paths)
    assert any(name.startswith("encoder.groups.0.") for name in changed)
    assert any(name.startswith("encoder.whole.layers.1.") for name in changed)
    assert not any(name.startswith(("encoder.front.", "decoder.")) for name in changed)
    rates = {group["lr"] for group in trainer.optimizer.param_groups}
    assert len(rates) > 1
    resumed = make_trainer(trainer.recipe, directory=tmp_path / "run", **paths)
    assert resumed.step == 3
    teacher = load_teacher(paths["teacher_directory"])
    tokenizer = teacher.tokenizer
    start = from_teacher(teacher, tokenizer, list(range(len(tokenizer))), 0), tokenizer
    begun = make_trainer(recipe(encoder=encoder), directory=tmp_path / "other", start=start, **paths)
    assert begun.model.config.encoder.share == 2  # from a start of two passes and layers of their own, too


def test_model_of_a_run_is_a_bundle_that_recognises_in_float_and_in_int8(tmp_path, paths, data):
    trained(recipe(), tmp_path / "run", paths)
    model, tokenizer = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    save_bundle(tmp_path / "bundle", "some", model, tokenizer, "")
    audio = load_shard(data / "speech")[5].read()
    states = []
    for engine in ("float", "torch"):
        bundle = load_bundle(tmp_path / "bundle", engine)
        assert bundle.config == model.config
        with torch.no_grad():
            states.append(bundle.engine.model.encoder(torch.from_numpy(audio)[None]))
        recognizer = Recognizer(bundle, RecognizerConfig(beam=2))
        recognize(recognizer, audio)
    assert_close(*states, rtol=0.2, atol=0.2)


def test_what_changes_log_mel_features_is_refused(tmp_path, paths):
    with pytest.raises(TrainingError, match=r"^spec_augment: must be false"):
        make_trainer(recipe(spec_augment=True), directory=tmp_path / "run", **paths)
