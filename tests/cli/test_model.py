"""``rtstream model``: the numbers of bundles, runs and recipes, and bundles made from runs and other bundles."""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rtstream.bundle.deflate import BITS
from rtstream.cli.main import main
from rtstream.engine.open import load_bundle, load_text_bundle
from rtstream.export.bundles import save_bundle, save_text_bundle
from rtstream.export.rounding import Rounding
from rtstream.model.config import EncoderConfig
from rtstream.nn.model import SpeechModel
from rtstream.training.recipe import SHIPPED as RECIPES
from rtstream.training.text.translation import load_translation_checkpoint, make_translation_trainer
from tests.training.tiny_pairs import make_recipe as make_pairs_recipe
from tests.training.tiny_pairs import write_pairs
from tests.training.tiny_training import make_model, make_recipe, make_trainer, write_data
from tests.training.tiny_whisper import full_tokenizer


@pytest.fixture
def bundle(tmp_path):
    encoder = EncoderConfig(
        n_mels=80, d_model=16, heads=2, ffn=24, layers=4, share=2, rank=2, layer_scale=True, max_frames=400
    )
    save_bundle(tmp_path / "small", "small", make_model(encoder), full_tokenizer(), "card")
    return tmp_path / "small"


@pytest.fixture
def run(tmp_path):
    write_data(tmp_path / "audio")
    trainer = make_trainer(make_recipe(), tmp_path / "audio", tmp_path / "run")
    trainer.train_step(next(iter(trainer.batches)))
    trainer.save()
    full_tokenizer().save(tmp_path / "run/tokenizer.json")
    return tmp_path / "run"


def info(target, capsys):
    assert main(["model", "info", "--json", str(target)]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_counts_the_parameters_of_the_bundle(bundle, capsys):
    data = info(bundle, capsys)
    model = load_bundle(bundle, "float").engine.model
    assert data["name"] == "small"
    assert data["total"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert data["encoder"]["total"]["parameters"] == sum(p.numel() for p in model.encoder.parameters())
    assert data["encoder"]["packed_buffers"] == {"full-rank": 8, "low-rank": 16}
    assert [group["layers"] for group in data["encoder"]["groups"]] == [[0, 1], [2, 3]]


def test_json_counts_the_bytes_of_the_weights_file(bundle, capsys):
    data = info(bundle, capsys)
    header = data["weights_file_bytes"] - data["total"]["on_disk"]
    assert 0 < header < 20_000  # safetensors' names and shapes
    assert data["weights"] == "int8-deflate"
    assert all(part["on_disk"] > 0 for part in data["encoder"]["parts"].values() if part["parameters"])


def test_ratio_is_to_the_unshared_encoder_of_the_same_depth(bundle, capsys):
    encoder = info(bundle, capsys)["encoder"]
    total = encoder["total"]
    assert encoder["ratio_to_unshared_fp32"]["shared_int8"] == total["shared_int8"] / total["unshared_fp32"]
    assert encoder["parts"]["full-rank"]["unshared_fp32"] == 2 * encoder["parts"]["full-rank"]["shared_fp32"]


@pytest.mark.parametrize("name", ["tiny", "en-x-small"])
def test_a_model_that_ships_is_known_by_its_name(capsys, name):
    assert info(name, capsys) == info(Path("models", name).resolve(), capsys)


def test_recipe_is_reported_as_of_whisper_base(capsys):
    encoder = info(RECIPES / "base.toml", capsys)["encoder"]
    assert (encoder["config"]["layers"], encoder["config"]["d_model"]) == (6, 512)
    assert encoder["parts"]["full-rank"]["parameters"] == 6 * (4 * 512 * 512 + 2 * 512 * 2048)


@pytest.mark.parametrize("part", ["", "checkpoint.pt"])
def test_run_is_reported_with_its_step(run, capsys, part):
    data = info(run / part, capsys)
    assert (data["name"], data["step"]) == ("tiny", 1)


def test_tables_show_every_part(bundle, capsys):
    assert main(["model", "info", str(bundle)]) == 0
    shown = capsys.readouterr().out
    for part in ("full-rank", "low-rank", "diagonal", "bias and norm", "convolutions", "CTC", "decoder", "embeddings"):
        assert part in shown
    assert "8 shared, 16 low-rank" in shown
    assert "unshared fp32" in shown


def test_export_writes_the_averaged_weights(run, tmp_path):
    (tmp_path / "CARD.md").write_text("# A card\n")
    target = tmp_path / "made"
    assert main(["model", "export", str(run), str(target), "--card", str(tmp_path / "CARD.md"), "--float16"]) == 0
    loaded = load_bundle(target, "float")
    assert loaded.name == "made"
    assert (target / "CARD.md").read_text() == "# A card\n"
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    for name, parameter in loaded.engine.model.named_parameters():
        torch.testing.assert_close(parameter.data, state["average"][name].half().float())


def exported(source, target, *options):
    assert main(["model", "export", str(source), str(target), *map(str, options)]) == 0
    return load_bundle(target, "float").engine.model.state_dict()


def test_export_of_a_bundle_keeps_its_tokens_and_its_card(bundle, tmp_path):
    (bundle / "CARD.md").write_text("# Its card\n")
    exported(bundle, tmp_path / "again")
    assert load_bundle(tmp_path / "again").name == "again"
    assert load_bundle(tmp_path / "again").tokenizer == full_tokenizer()
    assert (tmp_path / "again" / "CARD.md").read_text() == "# Its card\n"


def test_a_bundle_is_exported_onto_itself(bundle):
    before = load_bundle(bundle, "float").engine.model.state_dict()
    for name, tensor in exported(bundle, bundle).items():
        torch.testing.assert_close(tensor, before[name], rtol=0.05, atol=1e-4)


def test_export_takes_the_mean_of_several_models(bundle, tmp_path):
    other, apart = tmp_path / "other", tmp_path / "apart"
    loaded = load_bundle(bundle, "float")
    config, state = loaded.engine.model.config, loaded.engine.model.state_dict()
    for path, change in ((other, 0.5), (apart, 1.0)):
        model = SpeechModel(config)
        model.load_state_dict(state | {"encoder.norm.bias": state["encoder.norm.bias"] + change})
        save_bundle(path, path.name, model, full_tokenizer(), "card", rounding=Rounding(None))
    made = exported(bundle, tmp_path / "mean", "--mean-with", other, "--mean-with", apart, "--float16")
    for name, tensor in exported(bundle, tmp_path / "same", "--float16").items():
        moved = 0.5 if name == "encoder.norm.bias" else 0.0
        torch.testing.assert_close(made[name], tensor + moved, rtol=0, atol=2e-3 if moved else 0)


@pytest.mark.parametrize("what", ["sizes", "tokens"])
def test_the_mean_of_models_that_differ_in_more_than_weights_is_refused(bundle, tmp_path, capsys, what):
    model = load_bundle(bundle, "float").engine.model
    if what == "sizes":
        save_bundle(tmp_path / "other", "other", make_model(), full_tokenizer(), "card")
    else:
        save_bundle(tmp_path / "other", "other", model, full_tokenizer().select_special(["<|endoftext|>"]), "card")
    options = ["--mean-with", str(tmp_path / "other")]
    assert main(["model", "export", str(bundle), str(tmp_path / "mean"), *options]) == 1
    shown = capsys.readouterr().err
    assert f"other: it has other {what} than the model that is exported" in shown
    assert shown.count("\n") == 1


def test_disk_that_takes_no_more_is_told_with_the_name_of_the_bundle(bundle, tmp_path):
    def no_file_may_grow():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))

    program = "import sys; from rtstream.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, "model", "export", bundle, tmp_path / "new"],
        preexec_fn=no_file_may_grow,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"rtstream: error: {tmp_path / 'new'}")
    assert done.stderr.endswith(": File too large\n")
    assert done.stderr.count("\n") == 1


def test_thresholds_of_the_guard_are_exported_and_kept(bundle, tmp_path):
    exported(bundle, tmp_path / "some", "--guard", "max_no_speech=0.9", "--guard", "min_alone=0.5")
    exported(tmp_path / "some", tmp_path / "again", "--guard", "min_alone=0.6")
    assert load_bundle(tmp_path / "again").guard == {"max_no_speech": 0.9, "min_alone": 0.6}


def test_thresholds_of_a_language_and_languages_are_exported_and_kept(bundle, tmp_path):
    exported(bundle, tmp_path / "some", "--guard", "de:max_no_speech=0.9", "--guard", "min_alone=0.5")
    exported(tmp_path / "some", tmp_path / "again", "--guard", "de:min_alone=0.6", "--guard", "fr:min_alone=0.7")
    kept = load_bundle(tmp_path / "again")
    by_language = {"de": {"max_no_speech": 0.9, "min_alone": 0.6}, "fr": {"min_alone": 0.7}}
    assert (kept.guard, kept.languages) == ({"min_alone": 0.5, "languages": by_language}, ("en",))


def test_languages_are_exported_if_the_decoder_has_their_tokens(bundle, tmp_path, capsys):
    exported(bundle, tmp_path / "some", "--languages", "de,en")
    assert load_bundle(tmp_path / "some").languages == ("de", "en")
    capsys.readouterr()
    assert info(tmp_path / "some", capsys)["recognized_languages"] == ["de", "en"]
    assert main(["model", "export", str(bundle), str(tmp_path / "other"), "--languages", "en,xh"]) == 1
    assert "has no token for xh, only for" in " ".join(capsys.readouterr().err.split())


def test_fewer_bits_export_a_smaller_file(bundle, tmp_path):
    sizes = []
    for bits in (4, 6, 8):
        exported(bundle, tmp_path / "some", "--bits", bits)
        sizes.append((tmp_path / "some" / "model.safetensors").stat().st_size)
    assert sizes == sorted(set(sizes))


def test_export_says_the_bits_that_it_takes_by_default(capsys):
    assert main(["model", "export", "--help"]) == 0
    assert f"[default: {BITS}]" in " ".join(capsys.readouterr().out.split())


def test_a_translation_run_and_its_bundle_are_exported(tmp_path):
    write_pairs(tmp_path / "texts")
    trainer = make_translation_trainer(make_pairs_recipe(), directory=tmp_path / "run", texts=[tmp_path / "texts"])
    trainer.save()
    (tmp_path / "CARD.md").write_text("# A card\n")
    for source, target in [("run", "made"), ("made", "again")]:
        options = ["--card", tmp_path / "CARD.md"] if source == "run" else []
        command = ["model", "export", tmp_path / source, tmp_path / target, *options, "--bits", 8]
        assert main([str(word) for word in command]) == 0
    first, second = (load_text_bundle(tmp_path / name, "float") for name in ("made", "again"))
    assert first.tokenizer.languages == second.tokenizer.languages
    for name, tensor in first.engine.model.state_dict().items():
        torch.testing.assert_close(second.engine.model.state_dict()[name], tensor, rtol=1e-6, atol=1e-9)


@pytest.fixture(scope="module")
def translating(tmp_path_factory):
    """A run of a translation model, and a bundle of it."""
    place = tmp_path_factory.mktemp("translating")
    write_pairs(place / "texts")
    trainer = make_translation_trainer(make_pairs_recipe(), directory=place / "run", texts=[place / "texts"])
    trainer.save()
    model, pieces = load_translation_checkpoint(place / "run")
    save_text_bundle(place / "bundle", "small", model, pieces, "card")
    return place


def test_export_names_what_a_translation_model_does_not_take(translating, tmp_path, capsys):
    source = str(translating / "bundle")
    assert main(["model", "export", source, str(tmp_path / "mean"), "--mean-with", source]) == 1
    shown = capsys.readouterr().err
    assert "it takes --bits alone, and no --guard or --mean-with" in shown
    assert shown.count("\n") == 1


def test_translation_bundle_is_counted_as_one_of_speech(translating, capsys):
    data = info(translating / "bundle", capsys)
    model = load_text_bundle(translating / "bundle", "float").engine.model
    assert data["total"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert data["encoder"]["total"]["parameters"] == sum(p.numel() for p in model.encoder.parameters())
    assert data["encoder"]["packed_buffers"] == {"full-rank": 4, "low-rank": 8}
    assert [group["layers"] for group in data["encoder"]["groups"]] == [[0, 1]]
    assert data["encoder"]["parts"]["full-rank"]["unshared_fp32"] == (
        2 * data["encoder"]["parts"]["full-rank"]["shared_fp32"]
    )
    assert 0 < data["weights_file_bytes"] - data["total"]["on_disk"] < 20_000
    assert (data["name"], sorted(data["languages"])) == ("small", ["de", "es"])


def test_tables_of_a_translation_bundle_show_its_parts_and_no_others(translating, capsys):
    assert main(["model", "info", str(translating / "bundle")]) == 0
    shown = capsys.readouterr().out
    for part in ("full-rank", "low-rank", "bias and norm", "decoder", "embeddings", "unshared fp32", "translates into"):
        assert part in shown
    assert "convolutions" not in shown
    assert "CTC" not in shown


@pytest.mark.parametrize("part", ["", "checkpoint.pt"])
def test_translation_run_is_reported_with_its_step_and_sizes(translating, capsys, part):
    run, bundle = info(translating / "run" / part, capsys), info(translating / "bundle", capsys)
    assert (run["name"], run["step"]) == ("tiny", 0)
    assert run["languages"] == bundle["languages"]
    del bundle["total"]["on_disk"]
    assert run["total"] == bundle["total"]


def test_translation_recipe_is_reported(capsys):
    data = info(RECIPES / "en-x-small.toml", capsys)
    assert "weights" not in data
    assert data["encoder"]["parts"]["full-rank"]["parameters"] == 3 * (4 * 320 * 320 + 2 * 320 * 1280)
    assert data["total"]["parameters"] > data["encoder"]["total"]["parameters"] + 8000 * 320
    assert data["languages"] == ["es", "fr", "de", "pt"]


@pytest.mark.parametrize("file", ["model.safetensors", "sentencepiece.model"])
def test_damaged_translation_bundle_is_one_line(translating, tmp_path, capsys, file):
    shutil.copytree(translating / "bundle", tmp_path / "damaged")
    with (tmp_path / "damaged" / file).open("ab") as damaged:
        damaged.write(b"x")
    assert main(["model", "info", str(tmp_path / "damaged")]) == 1
    shown = capsys.readouterr().err
    assert f"{file}: " in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--bits", "1"), "--bits"),
        (("--bits", "9"), "--bits"),
        (("--bits", "5", "--float16"), "exclude each other"),
        (("--guard", "max_no_speech"), "give THRESHOLD=NUMBER"),
        (("--guard", "max_noise=0.9"), "guard: max_noise = 0.9 is no threshold"),
    ],
)
def test_wrong_options_of_export_are_named(bundle, tmp_path, capsys, options, said):
    assert main(["model", "export", str(bundle), str(tmp_path / "some"), *options]) != 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "some").exists()


def test_a_source_without_a_card_asks_for_one(run, tmp_path, capsys):
    assert main(["model", "export", str(run), str(tmp_path / "made")]) == 1
    assert "CARD.md: no model card there" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["nothing-here", "."])
def test_what_is_no_model_is_one_line(target, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["model", "info", target]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("rtstream: error: ")
    assert shown.count("\n") == 1
