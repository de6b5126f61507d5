"""The service translates, with a real CTranslate2 model that writes in capitals."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest
import soundfile

from rtstream.config import load
from rtstream.daemon.settings import check_settings
from rtstream.doctor import checkup
from rtstream.wire.v1 import rtstream_pb2 as pb
from tests.audio.sound_server import until
from tests.bundle.tiny_tokenizer import SPECIAL, make_tokenizer
from tests.daemon.served import PROGRAM
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle
from tests.translation.tiny_ctranslate2 import save_shouting_model
from tests.vad.recordings import read_clip

CTC = '[recognition]\npartials = "ctc"\nretry_seconds = 0.2\n'


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_shouting_model(folder / "opus")
    save_shouting_model(folder / "nllb", family="nllb", languages=("eng_Latn", "fra_Latn", "por_Latn"))
    return folder


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Two sentences with a second of silence behind each, as 16-bit samples."""
    import numpy as np

    clips = []
    for name in ("cv-telephone.wav", "lj-high-wall.flac"):
        clips += [read_clip(DATA / name), np.zeros(16_000, np.float32)]
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(path, np.round(np.concatenate(clips) * 32767).astype("<i2"), 16_000)
    return path


def settings(models, **keys):
    """The settings: Spanish by a model of its own, French by one for all languages."""
    lines = ['languages = ["es", "fr"]', f'model = "{models}/nllb"', *(f"{k} = {v}" for k, v in keys.items())]
    return "\n".join([f"{CTC}[translation]", *lines, f'[translation.models]\nes = "{models}/opus"\n'])


def test_subscribers_get_translations_of_partials_and_of_every_final(serve, models, speech):
    daemon = serve("--source", f"wav:{speech}?loop=1", settings=settings(models, mask=0)).ready()
    assert daemon.status().languages == ["es", "fr"]
    subscriber, spanish = daemon.subscribe(), daemon.subscribe(languages=["es"], no_partial_translations=True)

    def translated():
        made = {(t.segment, t.language): t for t in subscriber.of("translation") if t.final}
        finals = [final for final in subscriber.of("final") if (final.segment, "fr") in made]
        return [(final, made[final.segment, language]) for final in finals for language in ("es", "fr")]

    def partials():
        return [translation for translation in subscriber.of("translation") if not translation.final]

    for final, translation in until(lambda: len(translated()) >= 4 and translated(), "translations"):
        assert translation.text == final.text.upper()
        assert (translation.start, translation.end, translation.position) == (final.start, final.end, final.position)
    until(partials, "a partial's", 180)  # on a busy machine most are stale before their turn
    assert not any(translation.HasField("position") for translation in partials())
    until(lambda: len(spanish.of("translation")) >= 2, "Spanish")
    assert all(translation.final and translation.language == "es" for translation in spanish.of("translation"))
    counters = daemon.status().counters
    assert counters["translations"] >= 4
    assert counters["partial_translations"] >= 1
    assert counters["translations_lost"] == 0
    assert daemon.stop() in {0, 75}
    assert not [entry for entry in daemon.log if "text" in entry]


def test_sigterm_translates_the_segment_that_is_being_spoken(serve, models, speech, tmp_path):
    fifo = tmp_path / "pcm"
    os.mkfifo(fifo)
    daemon = serve("--source", f"fifo:{fifo}", settings=settings(models)).ready()
    subscriber = daemon.subscribe()
    pcm = soundfile.read(speech, dtype="int16")[0]
    with fifo.open("wb", buffering=0) as writer:
        writer.write(pcm[: 2 * 16_000].tobytes())
        until(lambda: daemon.status().counters["recognised_samples"] == 2 * 16_000, "heard")
        assert not subscriber.of("final")
        assert daemon.stop() == 0
    (final,) = subscriber.of("final")
    translations = [translation for translation in subscriber.of("translation") if translation.final]
    assert [(t.language, t.text) for t in translations] == [("es", final.text.upper()), ("fr", final.text.upper())]


def test_model_that_is_missing_is_a_fault_until_it_is_there_and_recognition_goes_on(serve, models, speech, tmp_path):
    late = tmp_path / "late"
    daemon = serve(
        "--source",
        f"wav:{speech}?speed=8&loop=1",
        settings=f'{CTC}[translation]\nlanguages = ["pt"]\nmodel = "{late}"\n',
    ).ready()
    subscriber = daemon.subscribe()
    until(lambda: daemon.status().phase == pb.PHASE_DEGRADED, "degraded")
    (fault,) = daemon.status().faults
    assert fault.code == "TRANSLATION_UNUSABLE"
    assert f"{late}: no such directory" in fault.message
    until(lambda: subscriber.of("final"), "a final all the same")
    assert not subscriber.of("translation")
    shutil.copytree(models / "nllb", tmp_path / "copy")
    (tmp_path / "copy").rename(late)
    until(lambda: daemon.status().phase == pb.PHASE_READY, "ready")
    until(lambda: subscriber.of("translation"), "translated")
    assert daemon.stop() in {0, 75}


def test_own_streams_of_clients_are_recognised_beside_it(serve, models, speech):
    daemon = serve("--source", "fifo:none", settings=settings(models)).ready()
    request = pb.TranscribeRequest(
        config=pb.RecognitionConfig(encoding=pb.AUDIO_ENCODING_WAV), audio=speech.read_bytes()
    )
    assert daemon.stub().Transcribe(request).finals
    assert daemon.status().counters["translations"] == 0
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[translation]\nlanguages = ["xx"]\n', "translation.languages: no model translates into xx"),
        ('[translation]\nlanguages = ["spanish"]\n', "'spanish' is no language tag"),
    ],
)
def test_translation_without_a_model_is_an_error_of_the_settings(tmp_path, text, told):
    config = tmp_path / "c.toml"
    config.write_text(text)
    done = subprocess.run(
        [*PROGRAM, "serve", "--config", config, "--source", "fifo:none"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("model", "verdict"), [("nllb", "ok"), ("none", "failed")])
def test_doctor_looks_for_the_models(models, tmp_path, model, verdict):
    path = tmp_path / "c.toml"
    path.write_text(f'[translation]\nlanguages = ["fr"]\nmodel = "{models / model}"\n')
    finding = checkup._translation(load(path))
    assert (finding.name, finding.verdict) == ("translation", verdict)
    assert str(models / model) in finding.found


def test_english_of_speech_takes_a_model_that_translates_and_no_model_of_texts(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text(
        f'[recognition]\nmodel = "{save_tiny_bundle(tmp_path / "tiny")}"\n[translation]\nlanguages = ["en"]\n'
    )
    check_settings(load(config))
    finding = checkup._translation(load(config))
    assert (finding.verdict, finding.found) == (
        "failed",
        "tiny, the model that recognises, does not translate speech into en",
    )
    command = [*PROGRAM, "serve", "--config", config, "--source", "fifo:none", "--listen", f"unix:{tmp_path}/socket"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "translation into en: tiny does not translate speech" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_doctor_names_the_model_that_translates_speech(tmp_path):
    path = save_tiny_bundle(tmp_path / "tiny")
    make_tokenizer((*SPECIAL, "<|es|>", "<|translate|>")).save(path / "tokenizer.json")
    manifest = json.loads((path / "bundle.json").read_text())
    digest = hashlib.sha256((path / "tokenizer.json").read_bytes()).hexdigest()
    manifest |= {"languages": ["en", "es"], "sha256": manifest["sha256"] | {"tokenizer.json": digest}}
    (path / "bundle.json").write_text(json.dumps(manifest))
    config = tmp_path / "c.toml"
    config.write_text(f'[recognition]\nmodel = "{path}"\n[translation]\nlanguages = ["en"]\n')
    finding = checkup._translation(load(config))
    assert (finding.verdict, finding.found) == ("ok", "en: tiny")


def test_settings_are_checked_without_loading_a_model(tmp_path):
    program = (
        "import sys; from pathlib import Path; from rtstream.config import load\n"
        "from rtstream.daemon.settings import check_settings\n"
        "check_settings(load(Path(sys.argv[1])))\n"
        "sys.exit(', '.join({'torch', 'ctranslate2'} & sys.modules.keys()) or 0)"
    )
    config = tmp_path / "c.toml"
    config.write_text('[translation]\nlanguages = ["es"]\nmodel = "/m"\n')
    done = subprocess.run([sys.executable, "-c", program, config], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
