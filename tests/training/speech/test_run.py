"""A run is put together from recipe, data and start, and keeps of the start what it can."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from rtstream.bundle.files import WEIGHTS
from rtstream.cli.model_export import export
from rtstream.errors import BundleError, TrainingError
from rtstream.export.bundles import save_bundle
from rtstream.export.rounding import Rounding
from rtstream.model.config import POSITIONS, DecoderConfig, EncoderConfig, ModelConfig
from rtstream.nn.model import SpeechModel
from rtstream.nn.quantized import rounded_names
from rtstream.training.corpus.augment import Augment
from rtstream.training.speech.initialization import teacher_encoder
from rtstream.training.speech.recipe import Encoder
from rtstream.training.speech.run import load_start, make_trainer, target_encoder
from rtstream.training.speech.vocabulary import SPECIAL, kept_ids
from rtstream.training.speech.whisper import load_whisper
from tests.bundle.tiny_tokenizer import make_tokenizer
from tests.training.tiny_training import ENCODER, TWO_PASSES, make_model, make_recipe, write_shard
from tests.training.tiny_whisper import (
    LANGUAGES,
    LAYERS,
    MAX_TOKENS,
    D,
    full_tokenizer,
    make_weights,
    write_hugging_face,
)

SHARED = replace(ENCODER, layers=4, share=2, rank=2, diagonal=True, layer_scale=True)
HALF = {"rtol": 0.01, "atol": 0.01}
SAME = {"share": 2, "rank": 2, "diagonal": True}


def start_run(model, data, directory, encoder, **changes):
    """A trainer that starts from ``model``; no teacher is needed."""
    recipe = make_recipe(encoder=encoder, loss={}, **changes)
    paths = {"directory": directory, "audio": (data,), "texts": directory, "teacher_directory": directory / "none"}
    return make_trainer(recipe, **paths, taught=directory / "taught", start=(model, full_tokenizer()))


@pytest.fixture
def paths(data, tmp_path):
    """Where a run with a teacher finds what it needs, and keeps what the teacher makes."""
    write_hugging_face(tmp_path / "teacher", make_weights())
    (tmp_path / "words.txt").write_text("the end\n")
    return {
        "audio": (data,),
        "texts": tmp_path,
        "teacher_directory": tmp_path / "teacher",
        "taught": tmp_path / "taught",
    }


def taught_recipe(seconds=60.0, **changes):
    """The teacher is given so many seconds of audio."""
    return make_recipe(vocabulary={"texts": ("words.txt",)}, taught=seconds / 3600, **changes)


def sources(trainer):
    """The clips of each source by where they lie."""
    given = zip(trainer.recipe.sources, trainer.batches.sources, strict=True)
    return {name: {clip.offset: clip for clip in clips} for name, (clips, _) in given}


def kept(paths):
    """The files of what the teacher made."""
    return {path.name: path.read_bytes() for path in sorted(paths["taught"].rglob("*")) if path.is_file()}


def encoded(model):
    mel = torch.randn(1, 31, 80, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.encoder.eval()(mel, chunk=4)


def test_recipe_decides_structure_and_the_start_sizes():
    wanted = target_encoder(ENCODER, Encoder(grow=3, share=3, rank=4, left_context=7))
    expected = replace(ENCODER, layers=6, share=3, rank=4, layer_scale=True, left_context=7)
    assert wanted == expected
    assert target_encoder(SHARED, Encoder(**SAME)) == SHARED


def test_impossible_structure_is_an_error_of_the_recipe():
    with pytest.raises(TrainingError, match=r"encoder: layers \(2\) must be a multiple of share \(3\)"):
        target_encoder(ENCODER, Encoder(share=3))


@pytest.mark.parametrize("left_context", [512, 9])
def test_start_of_the_same_structure_keeps_its_matrices(data, tmp_path, left_context):
    model = make_model(SHARED)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer = start_run(model, data, tmp_path, SAME | {"left_context": left_context})
    assert trainer.model.config.encoder == replace(SHARED, left_context=left_context)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())


def test_shared_start_can_come_to_share_otherwise(data, tmp_path):
    model = make_model(SHARED)
    before = encoded(model)
    trainer = start_run(model, data, tmp_path, {"share": 4, "rank": 16})
    assert trainer.model.config.encoder.share == 4
    assert_close(encoded(trainer.model), before, rtol=1e-3, atol=1e-4)


def test_what_a_new_structure_leaves_out_fades(data, tmp_path):
    trainer = start_run(make_model(), data, tmp_path, {"share": 2}, fade_steps=5)
    assert all(layer.private("qkv").fading is not None for layer in trainer.model.encoder.layers)


def test_teacher_is_read_only_where_it_is_needed(data, tmp_path):
    assert start_run(make_model(), data, tmp_path, {}).guide is None
    assert not (tmp_path / "taught").exists()
    for changes in ({"taught": 1.0}, {"mix": 0.5}):
        with pytest.raises(TrainingError, match="none: no Whisper checkpoint"):
            start_run(make_model(), data, tmp_path / "other", {}, **changes)


def test_new_run_from_the_teacher_has_its_encoder_and_a_cut_vocabulary(paths, tmp_path):
    trainer = make_trainer(taught_recipe(), directory=tmp_path / "run", **paths)
    teacher = load_whisper(paths["teacher_directory"])
    assert_close(trainer.model.encoder.state_dict(), teacher_encoder(teacher).state_dict())
    assert trainer.model.config.decoder.vocabulary == len(trainer.batches.tokenizer) < len(full_tokenizer())


def test_guide_is_the_teachers_decoder_over_the_students_tokens(paths, tmp_path):
    trainer = make_trainer(taught_recipe(), directory=tmp_path / "run", **paths)
    assert_close(trainer.guide.state_dict(), trainer.model.decoder.state_dict())
    assert not any(p.requires_grad for p in trainer.guide.parameters())
    assert all(p.requires_grad for p in trainer.model.parameters())
    assert make_trainer(taught_recipe(loss={}), directory=tmp_path / "other", **paths).guide is None


def test_without_hours_all_clips_are_learnt_from_and_none_is_taught(paths, tmp_path):
    trainer = make_trainer(taught_recipe(0.0), directory=tmp_path / "run", **paths)
    assert {name: len(clips) for name, clips in sources(trainer).items()} == {"speech": 6, "foreign": 3}
    assert trainer.guide is None
    assert not any(clip.taught for clips in sources(trainer).values() for clip in clips.values())
    assert not kept(paths)


@pytest.mark.parametrize("seconds", [1.0, 2.5, 60.0])
def test_each_source_gets_its_share_of_the_hours(paths, tmp_path, seconds):
    trainer = make_trainer(taught_recipe(seconds), directory=tmp_path / "run", **paths)
    for name, clips in sources(trainer).items():
        wanted = seconds * trainer.recipe.sources[name]
        got = sum(clip.seconds for clip in clips.values())
        assert min(wanted, 1.45 if name == "foreign" else 3.55) - 1e-9 <= got < wanted + 0.8
        assert all(clip.taught is not None for clip in clips.values())
        assert all(clip.taught.written is None for clip in clips.values() if clip.text is None)


def test_joined_digits_are_learnt_from_their_texts_without_the_teacher(paths, tmp_path):
    write_shard(tmp_path / "digits", [(0.4, word, {"speaker": "ann"}) for word in ("one", "two", "five")])
    recipe = taught_recipe(30.0, sources={"speech": 0.5, "digits:joined": 0.5})
    audio = (*paths["audio"], tmp_path)
    clips = sources(make_trainer(recipe, directory=tmp_path / "run", **(paths | {"audio": audio})))
    assert sum(clip.seconds for clip in clips["digits:joined"].values()) >= 15
    assert all(clip.parts and clip.taught is None for clip in clips["digits:joined"].values())
    assert all(clip.taught is not None for clip in clips["speech"].values())
    assert [name.partition(".")[0] for name in kept(paths)] == ["speech", "speech"]


def test_language_without_a_token_is_an_error_of_the_recipe(paths, tmp_path):
    with pytest.raises(TrainingError, match="languages: the model's tokenizer has no token for xx-YY"):
        make_trainer(taught_recipe(languages=("en", "xx-YY")), directory=tmp_path / "run", **paths)


def test_sources_that_the_teacher_does_not_know_are_learnt_from_their_texts(paths, tmp_path):
    recipe = taught_recipe(untaught=("speech",))
    clips = sources(make_trainer(recipe, directory=tmp_path / "run", **paths))
    assert all(clip.untaught and clip.taught is None for clip in clips["speech"].values())
    assert {clip.written[-1] for clip in clips["speech"].values() if clip.text} == {"."}
    assert all(clip.taught is not None for clip in clips["foreign"].values())


def test_more_hours_keep_the_clips_of_less_and_what_was_made_of_them(paths, tmp_path):
    chosen, files = [], []
    for seconds in (0.5, 2.0, 3.0, 60.0):
        trainer = make_trainer(taught_recipe(seconds), directory=tmp_path / str(seconds), **paths)
        chosen.append(sources(trainer))
        files.append(kept(paths))
    for less, more in pairwise(chosen):
        for name, clips in less.items():
            assert clips.items() <= more[name].items()
    for less, more in pairwise(files):
        assert all(more[name].startswith(data) for name, data in less.items())
    assert len({sum(map(len, clips.values())) for clips in chosen}) == 4
    told = []
    make_trainer(
        taught_recipe(2.0), directory=tmp_path / "again", **paths, report=lambda *progress: told.append(progress)
    )
    assert not told
    assert kept(paths) == files[-1]


def test_report_names_the_source(paths, tmp_path):
    told = []
    make_trainer(taught_recipe(), directory=tmp_path / "run", **paths, report=lambda *progress: told.append(progress))
    assert told == [("speech", 6, 6), ("foreign", 3, 3)]


@pytest.mark.parametrize("changes", [{"speed": 0.0}, {"tail": (0.2, 0.3)}])
def test_what_was_made_of_other_audio_is_not_used(paths, tmp_path, changes):
    make_trainer(taught_recipe(), directory=tmp_path / "run", **paths)
    told = []
    other = taught_recipe(augment=Augment(**changes))
    make_trainer(other, directory=tmp_path / "other", **paths, report=lambda *progress: told.append(progress))
    assert ("speech", 6, 6) in told


def test_run_learns_from_what_the_teacher_made_and_goes_on_with_it(paths, tmp_path):
    trainer = make_trainer(taught_recipe(chunks=(8,)), directory=tmp_path / "run", **paths)
    metrics = []
    assert trainer.run(metrics.append, workers=0)
    assert sum(step["distance"] for step in metrics) > 0
    assert sum(step["imitation"] for step in metrics) > 0
    before = kept(paths)
    again = make_trainer(taught_recipe(chunks=(8,)), directory=tmp_path / "run", **paths)
    assert again.step == 4
    assert all(torch.equal(t, trainer.model.state_dict()[name]) for name, t in again.model.state_dict().items())
    assert kept(paths) == before


@pytest.mark.parametrize("whole", [False, True])
def test_a_start_goes_on_over_its_own_tokens_and_the_teachers_languages(paths, tmp_path, whole):
    tokenizer = make_tokenizer((*SPECIAL, "<|en|>"))
    sizes = {"d_model": D, "heads": 1, "ffn": 4 * D, "layers": LAYERS}
    parts = EncoderConfig(**sizes, whole=whole), DecoderConfig(len(tokenizer), **sizes, max_tokens=MAX_TOKENS)
    model = SpeechModel(ModelConfig(*parts))
    theirs = teacher_encoder(load_whisper(paths["teacher_directory"])).state_dict()
    groups = {name: tensor for name, tensor in theirs.items() if name.startswith("groups.")}
    if whole:  # of two passes one is the teacher's, but for rounding
        rounded = {name: tensor.half().float() for name, tensor in groups.items()}
        model.encoder.load_state_dict(model.encoder.state_dict() | rounded)
    recipe = taught_recipe(encoder={"whole": whole})
    trainer = make_trainer(recipe, directory=tmp_path / "run", **paths, start=(model, tokenizer))
    assert trainer.batches.tokenizer.pieces == (*tokenizer.pieces, *LANGUAGES[1:])
    assert trainer.model.config.decoder.vocabulary == len(tokenizer) + len(LANGUAGES) - 1
    trainer.run(lambda _: None, workers=0)
    tuned, own = load_start(tmp_path / "run")
    assert own == trainer.batches.tokenizer
    if whole:
        assert_close({name: tuned.encoder.state_dict()[name] for name in groups}, groups, rtol=0, atol=0)


def test_a_start_can_bring_the_encoder_alone_to_the_teachers_decoder(paths, tmp_path):
    tokenizer = make_tokenizer((*SPECIAL, "<|en|>"))
    encoder = replace(teacher_encoder(load_whisper(paths["teacher_directory"])).config, whole=True)
    sizes = {"d_model": D, "heads": 1, "ffn": 4 * D, "layers": LAYERS}
    model = SpeechModel(ModelConfig(encoder, DecoderConfig(len(tokenizer), **sizes, max_tokens=MAX_TOKENS)))
    teacher = load_whisper(paths["teacher_directory"])
    theirs = teacher_encoder(teacher).state_dict()
    groups = {name: tensor for name, tensor in theirs.items() if name.startswith("groups.")}
    model.encoder.load_state_dict(model.encoder.state_dict() | groups)
    recipe = taught_recipe(encoder={"whole": True}, decoder={"whole": True})
    trainer = make_trainer(recipe, directory=tmp_path / "run", **paths, start=(model, tokenizer))
    own = trainer.batches.tokenizer
    assert set(own.languages) == set(full_tokenizer().languages)  # cut from the teacher's
    assert_close(trainer.model.encoder.state_dict(), model.encoder.state_dict(), rtol=0, atol=0)
    rows = teacher.weights["decoder.embed_tokens.weight"][kept_ids(teacher.tokenizer, own)]
    assert_close(trainer.model.decoder.embedding.weight.detach(), rows, **HALF)


def test_start_is_mixed_with_the_teacher_once(paths, tmp_path):
    first = make_trainer(taught_recipe(0.0), directory=tmp_path / "first", **paths)
    first.run(lambda _: None, workers=0)
    start = load_start(tmp_path / "first")
    ours = {name: tensor.clone() for name, tensor in start[0].encoder.state_dict().items()}
    theirs = teacher_encoder(load_whisper(paths["teacher_directory"])).state_dict()
    recipe = taught_recipe(0.0, mix=0.25, optimizer={"steps": 1, "seconds": 1.0, "encoder_lr": 0.0})
    trainer = make_trainer(recipe, directory=tmp_path / "second", **paths, start=start)
    expected = {name: 0.75 * tensor + 0.25 * theirs[name] for name, tensor in ours.items()}
    assert any(not torch.allclose(tensor, theirs[name], atol=1e-4) for name, tensor in ours.items())
    assert_close(dict(trainer.model.encoder.state_dict()), expected)
    assert_close(trainer.model.ctc.state_dict(), start[0].ctc.state_dict())
    guide = make_trainer(taught_recipe(), directory=tmp_path / "first", **paths).guide
    assert_close(trainer.model.decoder.state_dict(), guide.state_dict())
    trainer.save()
    resumed = make_trainer(recipe, directory=tmp_path / "second", **paths, start=load_start(tmp_path / "first"))
    assert_close(dict(resumed.model.encoder.state_dict()), expected)


def test_start_of_other_sizes_cannot_be_mixed(paths, tmp_path):
    with pytest.raises(TrainingError, match="mix: only an unshared model of the teacher's sizes"):
        make_trainer(
            taught_recipe(mix=0.5), directory=tmp_path / "run", **paths, start=(make_model(), full_tokenizer())
        )


def test_without_a_start_there_is_nothing_to_mix(paths, tmp_path):
    trainer = make_trainer(taught_recipe(0.0, mix=0.5), directory=tmp_path / "run", **paths)
    teacher = teacher_encoder(load_whisper(paths["teacher_directory"]))
    assert_close(trainer.model.encoder.state_dict(), teacher.state_dict())


@pytest.mark.parametrize("bits", [8, 5.5, None])
def test_bundle_as_a_start_can_be_trained(tmp_path, bits):
    model = make_model(SHARED)
    save_bundle(tmp_path / "bundle", "small", model, full_tokenizer(), "card", rounding=Rounding(bits))
    loaded, tokenizer = load_start(tmp_path / "bundle")
    assert tokenizer == full_tokenizer()
    assert all(p.requires_grad for p in loaded.parameters())
    assert_close(encoded(loaded), encoded(model), rtol=0.1, atol=0.2)


@pytest.fixture
def rounded(tmp_path):
    """A bundle of two passes whose matrices are rounded coarsely."""
    model = make_model(TWO_PASSES)
    torch.nn.init.normal_(model.decoder.positions, std=0.1)
    save_bundle(tmp_path / "rounded", "some", model, full_tokenizer(), "card", rounding=Rounding(4))
    return tmp_path / "rounded"


def rounded_run(rounded, data, directory, **changes):
    encoder = {"rank": 2, "diagonal": True, "whole": True}
    return start_run(load_start(rounded)[0], data, directory, encoder, rounded=True, **changes)


def test_a_rounded_run_learns_everything_but_what_is_rounded(rounded, data, tmp_path):
    before = load_start(rounded)[0].state_dict()
    trainer = rounded_run(rounded, data, tmp_path / "run", chunks=(0, 2))
    assert trainer.run(lambda _: None, workers=0)
    after = load_start(tmp_path / "run")[0].state_dict()
    same = {name for name, tensor in after.items() if torch.equal(tensor, before[name])}
    small = {name for name in after if name.startswith("ctc.") or name.endswith((".a", ".b", ".d", "positions"))}
    assert same == {name for name, tensor in after.items() if tensor.dim() > 1} - small


def test_where_chunks_alone_are_heard_full_context_stays_as_it_is(rounded, data, tmp_path):
    before = load_start(rounded)[0]
    rates = {"steps": 2, "seconds": 1.0, "warmup": 0, "decoder_lr": 0.0, "ctc_lr": 0.0}
    rounded_run(rounded, data, tmp_path / "run", chunks=(2,), optimizer=rates).run(lambda _: None, workers=0)
    after = load_start(tmp_path / "run")[0].state_dict()
    moved = {name for name, tensor in before.state_dict().items() if not torch.equal(tensor, after[name])}
    chunks = {name for name in after if name.startswith(("encoder.layers.", "encoder.norm."))}
    assert moved == {name for name in chunks if "attention_scale" not in name}


def test_private_parts_of_a_lower_rank_keep_the_start_s_largest_directions(rounded, data, tmp_path):
    encoder = {"rank": 1, "diagonal": True, "whole": True}
    start = load_start(rounded)[0].eval()
    with torch.no_grad():
        for layer in start.encoder.layers:
            for name in POSITIONS:
                private = layer.private(name)
                private.a[:, :, 1:] = private.a[:, :, :1]  # two directions that are one
                private.b.view(private.parts, 2, -1)[:, 1:] = private.b.view(private.parts, 2, -1)[:, :1]
    features = torch.randn(1, 40, start.config.encoder.n_mels)
    trainer = start_run(start, data, tmp_path / "run", encoder, rounded=True, chunks=(2,))
    narrow = trainer.model.eval()
    assert narrow.config.encoder == replace(start.config.encoder, rank=1)
    with torch.no_grad():
        for chunk in (2, None):
            assert_close(narrow.encoder(features, None, chunk), start.encoder(features, None, chunk))
    with pytest.raises(TrainingError, match="rank 2, the recipe 3"):
        start_run(start, data, tmp_path / "wider", encoder | {"rank": 3}, rounded=True)


def test_what_a_rounded_run_leaves_is_exported_as_it_was_rounded(rounded, data, tmp_path):
    trainer = rounded_run(rounded, data, tmp_path / "run", optimizer={"steps": 2, "seconds": 1.0, "warmup": 0})
    trainer.run(lambda _: None, workers=0)
    export(tmp_path / "run", tmp_path / "again", "some", rounded / "CARD.md", rounding=Rounding(8), rounded_as=rounded)
    first, second = (load_file(path / WEIGHTS) for path in (rounded, tmp_path / "again"))
    numbers = {name for name, tensor in first.items() if tensor.dtype == torch.uint8}
    moved = {name for name in numbers if not torch.equal(first[name], second[name])}
    assert {name for name in moved if not name.endswith((".a", ".b"))} == {"ctc.hidden.weight", "ctc.output.weight"}
    assert_close(load_start(tmp_path / "again")[0].state_dict(), load_start(tmp_path / "run")[0].state_dict(), **HALF)


def test_what_is_exported_for_one_pass_is_what_chunks_hear(rounded, tmp_path):
    export(rounded, tmp_path / "one", "some", None, rounding=Rounding(None), one_pass=True)
    both, one = (load_start(path)[0].eval() for path in (rounded, tmp_path / "one"))
    assert one.config.one_pass
    assert one.config.encoder == replace(both.config.encoder, whole=False, rank=0, diagonal=False)
    features = torch.randn(1, 40, both.config.encoder.n_mels)
    with torch.no_grad():
        assert_close(one.encoder(features, None, 2), both.encoder(features, None, 2), **HALF)
    with pytest.raises(TrainingError, match="needs a start of two passes"):
        export(tmp_path / "one", tmp_path / "again", "some", None, rounding=Rounding(None), one_pass=True)


def test_matrices_that_a_run_has_trained_are_rounded_anew_and_others_stay(rounded, data, tmp_path):
    trainer = rounded_run(rounded, data, tmp_path / "run")
    trainer.average["decoder.layers.0.out.weight"].normal_()
    trainer.save()
    export(tmp_path / "run", tmp_path / "again", "some", rounded / "CARD.md", rounding=Rounding(8), rounded_as=rounded)
    first, second = (load_file(path / WEIGHTS) for path in (rounded, tmp_path / "again"))
    moved = {name for name in rounded_names(trainer.model) if not torch.equal(first[name], second[name])}
    assert moved == {"decoder.layers.0.out.weight"}


def test_a_rounded_run_needs_a_start_of_its_own_structure(rounded, data, tmp_path):
    recipe = make_recipe(rounded=True)
    paths = {"audio": (data,), "texts": tmp_path, "teacher_directory": tmp_path, "taught": tmp_path}
    with pytest.raises(TrainingError, match="--from: a recipe that is rounded needs the bundle"):
        make_trainer(recipe, directory=tmp_path / "run", **paths)
    with pytest.raises(TrainingError, match="--from: its encoder has rank 2, the recipe 0"):
        make_trainer(recipe, directory=tmp_path / "run", **paths, start=load_start(rounded))
    recipe = make_recipe(rounded=True, encoder={"whole": True})
    with pytest.raises(TrainingError, match="--from: its encoder has whole False, the recipe True"):
        make_trainer(recipe, directory=tmp_path / "run", **paths, start=(make_model(), full_tokenizer()))
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_bundle_that_a_run_did_not_begin_at_has_no_rounding_to_keep(rounded, data, tmp_path):
    rounded_run(rounded, data, tmp_path / "run").save()
    save_bundle(tmp_path / "other", "some", make_model(TWO_PASSES, seed=8), full_tokenizer(), "card")
    with pytest.raises(BundleError, match=r"other: none of its matrices is one of .*: name the bundle"):
        export(
            tmp_path / "run",
            tmp_path / "made",
            "some",
            rounded / "CARD.md",
            rounding=Rounding(8),
            rounded_as=tmp_path / "other",
        )
    assert not (tmp_path / "made").exists()
