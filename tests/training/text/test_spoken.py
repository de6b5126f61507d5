"""Translation of speech is learnt beside that of text, which stays as it is."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rtstream.bundle.text_bundle import PIECES
from rtstream.engine.open import TextBundle, load_text_bundle
from rtstream.engine.torch_int8 import TorchTextEngine
from rtstream.errors import TrainingError, TranslationError
from rtstream.export.bundles import save_text_bundle
from rtstream.model.config import SpeechInputConfig
from rtstream.nn.text_model import with_speech
from rtstream.training.corpus.data import load_shard
from rtstream.training.text.spoken import TEXTS, SpokenTrainer, make_spoken_trainer
from rtstream.training.text.spoken_data import SpokenBatches, translated
from rtstream.training.text.spoken_recipe import SpokenRecipe
from rtstream.training.text.translation import load_translation_checkpoint
from rtstream.translation.built_in import BuiltInTranslator
from tests.training.tiny_pairs import ENGLISH, WORDS
from tests.training.tiny_pairs import translated as right
from tests.training.tiny_speech import WIDTH, make_said, states_of
from tests.training.tiny_training import PLAIN, write_shard
from tests.training.tiny_whisper import make_weights, write_hugging_face
from tests.translation.tiny_built_in import save_learnt_model


def make_recipe(**changes):
    recipe = {
        "task": "speech-translation",
        "name": "hears",
        "stack": 3,
        "dropout": 0.0,
        "optimizer": {"steps": 2, "seconds": 2.0, "lr": 3e-3, "warmup": 2, "average": 0.9, "label_smoothing": 0.0},
        "taught": 1.0,
        "augment": PLAIN,
        "sources": {"said": 1.0},
        "precision": "float32",
    }
    return SpokenRecipe(**(recipe | changes))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A folder with a run, ``run``, and a ``bundle`` of a model that translates the twenty sentences as text."""
    return save_learnt_model(tmp_path_factory.mktemp("learnt")).parent


@pytest.fixture
def start(learnt):
    return load_translation_checkpoint(learnt / "run")


def make_batches(said, tokenizer, **changes):
    options = {"languages": tuple(WORDS), "seconds": 8.0, "human": 3.0, "most": 60, "stack": 3, "seed": 1}
    return SpokenBatches({"said": (said, 1.0)}, tokenizer, **(options | changes))


@pytest.fixture(scope="module")
def hears(learnt, tmp_path_factory):
    """The bundle of that model after it has heard the sentences, and the text model that it began with."""
    folder = tmp_path_factory.mktemp("hears")
    text, tokenizer = load_translation_checkpoint(learnt / "run")
    torch.manual_seed(0)
    model = with_speech(text, SpeechInputConfig(WIDTH, 3))
    optimizer = {"steps": 260, "seconds": 8.0, "lr": 4e-3, "warmup": 10, "decay": 100, "average": 0.9}
    recipe = make_recipe(optimizer=optimizer | {"label_smoothing": 0.0})
    trainer = SpokenTrainer(recipe, model, make_batches(make_said(folder / "f16"), tokenizer), folder)
    trainer.run(lambda _: None, workers=0)
    made, _ = load_model(trainer, tokenizer, folder)
    save_text_bundle(folder / "bundle", "hears", made, tokenizer, "card")
    return folder / "bundle"


def load_model(trainer, tokenizer, folder):
    tokenizer.save(folder / PIECES)
    return load_translation_checkpoint(trainer.checkpoint)


def test_what_was_heard_is_translated_and_text_as_before(hears, learnt):
    translator = BuiltInTranslator.open(hears)
    assert translator.hears
    assert not BuiltInTranslator.open(learnt / "bundle").hears
    for language in WORDS:
        wanted = [right(text, language) for text in ENGLISH]
        states = [torch.from_numpy(states_of(text, 99).astype(np.float32)) for text in ENGLISH]
        made = [translator.translate_speech(each.numpy(), language) for each in states]
        assert sum(map(str.__eq__, made, wanted)) >= 0.8 * len(ENGLISH), list(zip(made, wanted, strict=True))
    before = BuiltInTranslator.open(learnt / "bundle", engine="float")
    after = BuiltInTranslator.open(hears, engine="float")
    assert [after.translate(text, "es") for text in ENGLISH] == [before.translate(text, "es") for text in ENGLISH]


def test_speech_that_cannot_be_translated_is_one_line(hears, learnt):
    translator = BuiltInTranslator.open(hears)
    assert translator.translate_speech(torch.zeros(0, WIDTH).numpy(), "es") == ""
    assert isinstance(
        translator.translate_speech(torch.randn(3000, WIDTH).numpy(), "es"), str
    )  # more than it has room for
    with pytest.raises(TranslationError, match=f"reads states of {WIDTH} numbers, the recogniser's have 5"):
        translator.translate_speech(torch.zeros(10, 5).numpy(), "es")
    with pytest.raises(TranslationError, match="does not know 'xx'"):
        translator.translate_speech(torch.zeros(10, WIDTH).numpy(), "xx")
    with pytest.raises(TranslationError, match="translates text alone"):
        BuiltInTranslator.open(learnt / "bundle").translate_speech(torch.zeros(10, WIDTH).numpy(), "es")


def test_bundle_keeps_the_part_for_speech(hears):
    exact, packed = load_text_bundle(hears, "float"), load_text_bundle(hears, "torch")
    assert exact.engine.config.speech == packed.engine.config.speech == SpeechInputConfig(WIDTH, 3)
    states = torch.from_numpy(states_of(ENGLISH[0]).astype(np.float32))[None]
    language = torch.tensor([exact.tokenizer.languages["de"]])
    with torch.inference_mode():
        one, other = (m.hear(m.speech.stacked(states), language) for m in (exact.engine.model, packed.engine.model))
    assert float((one - other).norm() / one.norm()) < 0.1


def test_batches_are_a_function_of_the_step(start, tmp_path):
    said = make_said(tmp_path / "f16")
    batches = iter(make_batches(said, start[1]))
    first = [next(batches) for _ in range(5)]
    late = make_batches(said, start[1])
    late.start = 3
    other = iter(late)
    for batch in first[3:]:
        again = next(other)
        for name in batch.__slots__:
            assert_close(getattr(batch, name), getattr(again, name))


def test_batch_says_what_its_clips_say(start, tmp_path):
    said = make_said(tmp_path / "f16")
    batch = next(iter(make_batches(said, start[1])))
    lengths = {each.english: each.frames for each in said}
    names = {number: name for name, number in start[1].languages.items()}
    ends = batch.piece_counts.cumsum(0).tolist()
    for row in range(len(batch.counts)):
        english = start[1].decode(batch.pieces[ends[row] - batch.piece_counts[row] : ends[row]].tolist())
        assert lengths[english] == batch.counts[row]
        target = [token for token in batch.targets[row].tolist() if token >= 0]
        assert start[1].decode(target) == right(english, names[int(batch.languages[row])])
        assert batch.tokens[row, 0] == batch.languages[row]


def test_languages_that_people_translated_come_more_often(start, tmp_path):
    said = make_said(tmp_path / "f16", ("es",))
    said = [type(each)(each.clip, each.english, each.human, {"de": right(each.english, "de")}) for each in said]
    batches = iter(make_batches(said, start[1], human=4.0, seconds=40.0))
    languages = torch.cat([next(batches).languages for _ in range(10)])
    share = float((languages == start[1].languages["es"]).float().mean())
    assert 0.7 < share < 0.9


@pytest.fixture
def paths(tmp_path):
    """Where a run finds what it needs: a shard of which people translated half, a teacher, and room."""
    write_hugging_face(tmp_path / "teacher", make_weights())
    rows = [
        (0.5, text, {"translations": {"es": [right(text, "es")]}} if index % 2 else {})
        for index, text in enumerate([each for each in ENGLISH if "5" not in each][:6])
    ]
    (tmp_path / "audio").mkdir()
    write_shard(tmp_path / "audio" / "said", rows)
    return {
        "audio": [tmp_path / "nothing", tmp_path / "audio"],
        "teacher_directory": tmp_path / "teacher",
        "taught": tmp_path / "taught",
    }


def test_run_goes_on_with_what_it_has_learnt_and_another_text_model(learnt, start, paths, tmp_path):
    recipe = make_recipe()
    trainer = make_spoken_trainer(recipe, directory=tmp_path / "run", start=start, **paths)
    assert trainer.run(lambda _: None, workers=0)
    learnt_speech = {k: v.clone() for k, v in trainer.model.state_dict().items() if k.startswith("speech.")}
    assert (tmp_path / "run" / TEXTS).read_text().count('"de"') == 6  # people gave none
    other, tokenizer = load_translation_checkpoint(learnt / "run")
    with torch.no_grad():
        other.decoder.norm.weight += 1.0
    longer = make_recipe(optimizer={"steps": 3, "seconds": 2.0})
    again = make_spoken_trainer(longer, directory=tmp_path / "run", start=(other, tokenizer), **paths)
    assert again.step == 2
    state = again.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in learnt_speech.items())
    assert torch.equal(state["decoder.norm.weight"], other.decoder.norm.weight)
    assert again.run(lambda _: None, workers=0)
    made, _ = load_translation_checkpoint(tmp_path / "run")
    assert torch.equal(made.decoder.norm.weight, other.decoder.norm.weight)
    assert not torch.equal(made.speech.into.weight, learnt_speech["speech.into.weight"])


def test_new_run_begins_with_what_its_start_has_learnt_of_speech(start, paths, tmp_path):
    text, tokenizer = start
    hears = with_speech(text, SpeechInputConfig(64, 3))
    with torch.no_grad():
        hears.speech.norm.bias += 1.0
    trainer = make_spoken_trainer(make_recipe(), directory=tmp_path / "run", start=(hears, tokenizer), **paths)
    assert trainer.model.speech is hears.speech
    other = make_recipe(stack=2)
    trainer = make_spoken_trainer(other, directory=tmp_path / "other", start=(hears, tokenizer), **paths)
    assert not torch.equal(trainer.model.speech.norm.bias, hears.speech.norm.bias)


def test_only_what_hears_learns(start, paths, tmp_path):
    before = {name: tensor.clone() for name, tensor in start[0].state_dict().items()}
    trainer = make_spoken_trainer(make_recipe(), directory=tmp_path / "run", start=start, **paths)
    trainer.run(lambda _: None, workers=0)
    after = trainer.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_what_is_missing_is_told(start, paths, tmp_path):
    with pytest.raises(TrainingError, match="--from"):
        make_spoken_trainer(make_recipe(), directory=tmp_path / "run", start=None, **paths)
    recipe = make_recipe(sources={"absent": 1.0})
    with pytest.raises(TrainingError, match="absent: no shard"):
        make_spoken_trainer(recipe, directory=tmp_path / "run", start=start, **paths)


def test_translations_by_the_model_are_kept_and_gone_on_with(start, paths, tmp_path):
    clips = load_shard(paths["audio"][1] / "said")
    translator = BuiltInTranslator(TextBundle("tiny", start[1], TorchTextEngine(start[0].eval())))
    told = []

    def run():
        told.clear()
        return translated(clips, translator, ("es", "de"), tmp_path / "texts", lambda *at: told.append(at))

    first = run()
    assert told[-1] == (9, 9)  # six into German, three into Spanish
    kept = (tmp_path / "texts").read_text()
    assert run() == first
    assert told == []
    (tmp_path / "texts").write_text(kept[: len(kept) - 20])  # cut short
    assert run() == first
    assert sorted((tmp_path / "texts").read_text().splitlines()) == sorted(kept.splitlines())
    (tmp_path / "texts").write_text("nothing\n")
    with pytest.raises(TrainingError, match="remove the file"):
        run()
