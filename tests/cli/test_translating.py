"""``--translate`` of replay and listen, with a model that writes in capitals."""

import itertools
import json
import re

import pytest

from rtstream.cli.main import main
from rtstream.cli.screen import LiveText
from rtstream.events import Final, Partial, Translation
from rtstream.translation import models
from tests.cli.test_clients import ended, lines, run, start
from tests.publish.finals import final, partial, translation
from tests.recognizer.tiny_bundle import DATA
from tests.rpc.calls import until
from tests.rpc.conftest import running
from tests.translation.tiny_ctranslate2 import save_shouting_model
from tests.translation.tiny_random import save_random_model

CLIP = DATA / "lj-high-wall.flac"


@pytest.fixture(autouse=True)
def _none_ships(monkeypatch, tmp_path):
    monkeypatch.delenv(models.VARIABLE, raising=False)
    monkeypatch.setattr(models, "CHECKOUT", tmp_path)
    monkeypatch.setattr(models, "INSTALLED", tmp_path)


@pytest.fixture(scope="module")
def polyglot(tmp_path_factory):
    languages = ("eng_Latn", "fra_Latn", "spa_Latn")
    return save_shouting_model(tmp_path_factory.mktemp("models"), family="nllb", languages=languages)


@pytest.fixture
def replay(tiny_model, capsys):  # noqa: ARG001 - sets the environment
    def run_it(*arguments):
        code = main(["replay", "--partials", "ctc", "--engine", "float", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_it


@pytest.fixture
async def served():
    async with running() as made:
        yield made


def test_text_has_the_translations_below_each_final(replay, polyglot):
    code, out, err = replay("--translate", "es,fr", "--translation-model", polyglot, CLIP)
    assert (code, err) == (0, "")
    original, *below = out.splitlines()
    times, _, text = original.partition("] ")
    assert below == [f"{times}] {language}: {text.upper()}" for language in ("es", "fr")]


def test_jsonl_has_translations_of_partials_that_grow(replay, polyglot):
    out = replay("--translate", "es", "--translation-model", f"es={polyglot}", "--format", "jsonl", CLIP)[1]
    given = [json.loads(line) for line in out.splitlines()]
    translations = [line for line in given if line["type"] == "translation"]
    assert len(translations) > 2
    for before, after in itertools.pairwise(translations[:-1]):
        assert after["text"].startswith(before["text"])
        assert not after["final"]
    assert translations[-1]["final"]
    assert translations[-1]["text"] == given[-2]["text"].upper()
    assert given[-2]["type"] == "final"
    assert {line["language"] for line in translations} == {"es"}


def test_translation_changes_nothing_else(replay, polyglot):
    plain = replay("--format", "jsonl", CLIP)[1].splitlines()
    both = replay("--translate", "es", "--translation-model", polyglot, "--format", "jsonl", CLIP)[1].splitlines()
    assert [line for line in both if '"type": "translation"' not in line] == plain


def test_finals_alone_are_translated_without_partials(replay, polyglot):
    options = ("--translate", "es", "--translation-model", polyglot, "--format", "jsonl", "--no-partials")
    assert [json.loads(line)["type"] for line in replay(*options, CLIP)[1].splitlines()] == ["final", "translation"]


@pytest.mark.parametrize("format_", ["srt", "vtt"])
def test_captions_have_the_original_and_below_it_the_translation(replay, polyglot, format_):
    out = replay("--translate", "es,fr", "--translation-model", polyglot, "--format", format_, CLIP)[1]
    cues = [cue for cue in out.removeprefix("WEBVTT\n\n").strip().split("\n\n") if cue]
    assert cues
    originals, translations = [], []
    for cue in cues:
        texts = cue.splitlines()[2 if format_ == "srt" else 1 :]
        originals.append(texts[0])
        translations += texts[1:]
    assert re.sub(r"\s", "", "".join(translations)).upper() == "".join(translations).replace(" ", "")
    assert len("".join(translations)) >= len("".join(originals))


@pytest.fixture(scope="module")
def random(tmp_path_factory):
    return save_random_model(tmp_path_factory.mktemp("random"))


def test_beam_of_translation_is_taken(replay, random):
    def translations(beam):
        options = ("--translate", "es", "--translation-model", random, "--translation-beam", beam)
        lines = map(json.loads, replay(*options, "--format", "jsonl", CLIP)[1].splitlines())
        given = [line for line in lines if line["type"] == "translation"]
        return [[line for line in given if line["final"] is final] for final in (False, True)]

    one, four = translations(1), translations(4)
    assert one[0] == four[0]  # partials are searched greedily
    assert one[1] != four[1]


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--translate", "es"], 1, "no model translates into es"),
        (["--translate", "spanish"], 2, "'spanish' is no language tag"),
        (["--translate", "es", "--translation-model", "/nowhere"], 1, "/nowhere: no such directory"),
        (["--translate", "en"], 1, "translation into en: tiny does not translate speech"),
        (["--translation-model", "/nowhere"], 2, "is of no use without --translate"),
        (["--translate", "es", "--translation-model", "spanish=/nowhere"], 2, "'spanish' is no language tag"),
    ],
)
def test_translation_that_is_not_possible_is_told(replay, options, code, told):
    done, out, err = replay(*options, CLIP)
    assert (done, out) == (code, "")
    assert told in err
    assert "Traceback" not in err


def test_language_that_the_model_does_not_know_is_one_line(replay, polyglot):
    code, out, err = replay("--translate", "de", "--translation-model", polyglot, CLIP)
    assert (code, out) == (1, "")
    assert f"{polyglot}: this model does not know 'de'" in err
    assert err.count("\n") == 1


async def test_listen_shows_the_translations_that_were_asked_for(served):
    process = await start("listen", served.target, "--translate", "es")
    await until(lambda: served.broker.subscribers)
    for event in (final(1), translation(1, "falou", "pt-BR"), translation(1)):
        served.broker.publish(event)
    times = "[00:01.00 - 00:01.50]"
    assert await lines(process, 2) == [f"{times} words that were said\n", f"{times} es: dijo\n"]
    process.terminate()
    await ended(process)


async def test_listen_without_translate_shows_none(served):
    process = await start("listen", served.target, "--format", "jsonl")
    await until(lambda: served.broker.subscribers)
    for event in (translation(1, final=False), final(1), translation(1), final(2)):
        served.broker.publish(event)
    assert [json.loads(line)["type"] for line in await lines(process, 2)] == ["final", "final"]
    process.terminate()
    await ended(process)


async def test_listen_writes_translations_as_lines_of_json_with_the_number_of_their_final(served):
    process = await start("listen", served.target, "--format", "jsonl", "--translate", "es,pt")
    await until(lambda: served.broker.subscribers)
    for event in (partial(1), translation(1, "d", final=False), final(1), translation(1, "falou", "pt-BR")):
        served.broker.publish(event)
    got = [json.loads(line) for line in await lines(process, 4)]
    assert [line["type"] for line in got] == ["partial", "translation", "final", "translation"]
    assert "sequence" not in got[1]
    assert (got[3]["language"], got[3]["final"], got[3]["text"]) == ("pt-BR", True, "falou")
    assert (got[3]["epoch"], got[3]["sequence"]) == (got[2]["epoch"], got[2]["sequence"])
    process.terminate()
    await ended(process)


async def test_captions_of_listen_wait_for_their_translation_and_the_last_ones_come_at_the_end(served):
    process = await start("listen", served.target, "--format", "srt", "--translate", "es")
    await until(lambda: served.broker.subscribers)
    for event in (final(1), final(2), translation(1)):
        served.broker.publish(event)
    assert (await lines(process, 5))[2:] == ["words that were said\n", "dijo\n", "\n"]
    process.send_signal(2)
    code, out, err = await ended(process)
    assert (code, err) == (130, "")
    assert out == "2\n00:00:01,000 --> 00:00:02,000\nwords that were said\n\n"  # from the first one on


async def test_listen_to_a_daemon_that_does_not_translate_is_one_line(served):
    code, out, err = await run("listen", served.target, "--translate", "de")
    assert (code, out) == (1, "")
    assert "the service does not translate into 'de'; it does into es, pt-BR" in err
    assert err.count("\n") == 1


async def test_status_says_into_what_the_daemon_translates(served):
    assert "translates   into es, pt-BR" in (await run("status", served.target))[1]


def test_live_line_shows_the_segment_and_its_translations_until_the_final():
    live = LiveText()
    assert live.add(Partial(1, 0, 10, "one")) == "one"
    assert live.add(Translation(1, 0, 10, "uno", "es", final=False)) == "one | uno"
    assert live.add(Partial(1, 0, 20, "one two")) == "one two | uno"
    assert live.add(Final(1, 0, 30, "one two three")) == ""
    assert live.add(Translation(1, 0, 30, "uno dos tres", "es", final=True)) == ""
    assert live.add(Partial(2, 40, 50, "four")) == "four"
    assert live.add(Translation(1, 0, 30, "uno dos tres", "fr", final=True)) == "four"
