"""Settings: where they come from, and what is said of those that are wrong."""

import json

import pytest

from rtstream.cli.main import main
from rtstream.config import Config, load, to_toml
from rtstream.daemon.settings import check_settings
from rtstream.errors import ConfigError
from rtstream.recognizer.number_forms import NUMBER_FORMS


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.delenv("RTSTREAM_MODEL", raising=False)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "rtstream.toml"
        path.write_text(text)
        return path

    return write


def test_defaults_are_right():
    check_settings(Config())


def test_environment_is_stronger_than_the_file_and_the_command_line_than_both(file, monkeypatch):
    path = file('[log]\nlevel = "error"\n[server]\nlisten = ["unix:/a"]\n[vad]\naggressiveness = 3\n')
    monkeypatch.setenv("RTSTREAM_LOG__LEVEL", "debug")
    monkeypatch.setenv("RTSTREAM_SERVER__LISTEN", "unix:/b, 127.0.0.1:7")
    monkeypatch.setenv("RTSTREAM_PUBLISH__QUEUE_SIZE", "99")
    config = load(path)
    assert config.vad.aggressiveness == 3
    assert config.log.level == "debug"
    assert config.server.listen == ("unix:/b", "127.0.0.1:7")
    assert config.publish.queue_size == 99
    assert load(path, {"log": {"level": "info"}}).log.level == "info"


@pytest.mark.parametrize(
    ("value", "phrases"),
    [
        ("Wren Hollow, Grafana,", ("Wren Hollow", "Grafana")),
        ('"Wren Hollow, Bath", Grafana', ("Wren Hollow, Bath", "Grafana")),
        ("Wren Hollow\nGrafana", ("Wren Hollow", "Grafana")),
        ('"Wren Hollow, Bath"\rGrafana', ("Wren Hollow, Bath", "Grafana")),
        ("", ()),
        ("x" * 140_000, ("x" * 140_000,)),
    ],
)
def test_lists_in_the_environment_are_parted_by_commas_but_in_quotes(monkeypatch, value, phrases):
    monkeypatch.setenv("RTSTREAM_RECOGNITION__PHRASES", value)
    assert load().recognition.phrases == phrases


def test_tables_of_all_sources_are_put_together_entry_by_entry(file, monkeypatch):
    path = file('[translation]\nlanguages = ["es"]\n[translation.models]\nes = "/a"\npt-BR = "/b"\n')
    monkeypatch.setenv("RTSTREAM_TRANSLATION__LANGUAGES", "es, pt_br")
    monkeypatch.setenv("RTSTREAM_TRANSLATION__MODELS__PT_BR", "/c")
    translation = load(path).translation
    assert translation.languages == ("es", "pt-BR")
    assert {language: str(model) for language, model in translation.models.items()} == {"es": "/a", "pt-BR": "/c"}
    assert to_toml(load(file(to_toml(load(path))))) == to_toml(load(path))
    monkeypatch.setenv("RTSTREAM_TRANSLATION__MASK__ES", "3")
    with pytest.raises(ConfigError, match="RTSTREAM_TRANSLATION__MASK__ES is not a setting"):
        load(path)


def test_variables_that_are_no_settings_are_left_alone(monkeypatch):
    monkeypatch.setenv("RTSTREAM_MODEL", "/models/x")
    monkeypatch.setenv("RTSTREAM_DEBUG", "1")
    assert load().recognition.model is None


@pytest.mark.parametrize(
    ("written", "languages"), [("'auto'", ()), ("'es'", ("es",)), ("['en', 'es_MX']", ("en", "es-MX")), ("[]", ())]
)
def test_what_may_be_spoken_is_any_language_one_or_a_list(file, written, languages):
    config = load(file(f"[recognition]\nlanguage = {written}"))
    assert config.recognition.languages == languages
    assert load(file(to_toml(config))) == config


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[audio]\nsourc = 'mic'", "audio.sourc is not a setting; did you mean 'source'?"),
        ("[sever]\n", "[sever] is not a section; did you mean 'server'?"),
        ("audio = 3", "audio = 3: it is a section"),
        ("[vad]\naggressiveness = 4", "vad.aggressiveness = 4: input should be 0, 1, 2 or 3"),
        ("[vad]\nengine = 'cobra'", "vad.engine = 'cobra': input should be 'webrtc' or 'silero'"),
        ("[vad]\nthreshold = 1", "vad.threshold = 1: input should be less than 1"),
        ("[recognition]\nchunk_ms = 500", "recognition.chunk_ms = 500: input should be 320, 640 or 1280"),
        ("[recognition]\nbeam = 6", "recognition.beam = 6: input should be less than or equal to 5"),
        ("[audio]\nrate = 'fast'", "audio.rate = 'fast': write a whole number, such as rate = 0"),
        ("[audio]\nrate = 1.5", "audio.rate = 1.5: write a whole number"),
        ("[audio]\nsource = 3", 'audio.source = 3: it is text, write source = "3"'),
        ("[vad]\nthreshold = 'a'", "vad.threshold = 'a': write a number, such as threshold = 0.5"),
        ("[log]\ntranscripts = 'maybe'", "log.transcripts = 'maybe': write true or false, such as transcripts = false"),
        ("[server]\ntokens = 5", 'server.tokens = 5: it is text, write tokens = "5"'),
        ("[server]\nunix_mode = 660", 'server.unix_mode = 660: it is text, write unix_mode = "660"'),
        ("[server]\nlisten = 'unix:/s'", """server.listen = 'unix:/s': it is a list, write listen = ["unix:/s"]"""),
        ("[recognition]\nphrases = [3]", "recognition.phrases = 3: its entries are text, each in quotes"),
        ("[recognition]\nlanguage = 'spanish'", "recognition.language = 'spanish': 'spanish' is no language tag"),
        (
            "[recognition]\nlanguage = 3",
            """recognition.language = 3: write "auto", a language such as "es", or a list""",
        ),
        ("[translation]\nmodels = 3", "translation.models = 3: write a table"),
        ("aggressiveness = 3", "aggressiveness stands above all sections; write it below [vad]"),
        ("loudness = 3", "loudness is not a setting, and stands above all sections; there are: audio, vad"),
        ("[server]\nlisten = ['nowhere']", "server.listen = 'nowhere': it must be HOST:PORT or unix:PATH"),
        ("[publish]\nqueue_size = 1", "publish.queue_size = 1: input should be greater than or equal to 8"),
        ("[log]\nlevel = 'loud'", "log.level = 'loud': input should be 'debug', 'info', 'warning' or 'error'"),
        ("[log\n", "not TOML"),
        ("[vad]\nmin_speech_ms = 300", "vad: min_speech_ms (300) must fit into onset_window_ms (200)"),
        ("[audio]\nsource = 'radio'", "source 'radio' is not known; it is one of: mic"),
        ("[server]\ntls_key = '/k'", "server.tls_certificate and server.tls_key belong together"),
        ("[translation]\nlanguages = ['spanish']", "translation.languages = 'spanish': 'spanish' is no language tag"),
        ("[translation]\nlanguages = ['xx']", "translation.languages: no model translates into xx"),
        ("[translation.models]\nspanish = '/m'", "translation.models = 'spanish': 'spanish' is no language tag"),
    ],
)
def test_what_is_wrong_is_one_line_with_key_value_and_what_is_allowed(file, capsys, text, told):
    assert main(["config", "check", "--config", str(file(text))]) == 1
    shown = capsys.readouterr().err
    assert told in shown
    assert shown.count("\n") == 1


def test_wrong_variable_is_named_as_such(monkeypatch):
    monkeypatch.setenv("RTSTREAM_VAD__FRAME_MS", "25")
    with pytest.raises(ConfigError, match=r"environment: vad.frame_ms = '25': input should be 10, 20 or 30"):
        load()
    monkeypatch.delenv("RTSTREAM_VAD__FRAME_MS")
    monkeypatch.setenv("RTSTREAM_VADD__FRAME_MS", "20")
    with pytest.raises(ConfigError, match="RTSTREAM_VADD__FRAME_MS is not a setting"):
        load()


def test_several_faults_are_all_told(file):
    with pytest.raises(ConfigError, match=r"vad.frame_ms = 7.*log.levle is not a setting; did you mean 'level'"):
        load(file("[vad]\nframe_ms = 7\n[log]\nlevle = 'info'"))


def test_wrong_section_hides_nothing_else(file, monkeypatch):
    monkeypatch.setenv("RTSTREAM_LOGG__LEVEL", "info")
    monkeypatch.setenv("RTSTREAM_LOG__TRANSCRIPTS", "maybe")
    with pytest.raises(ConfigError) as caught:
        load(file("channels = 2\n[sever]\nx = 1\n[vad]\nframe_ms = 7\n"))
    told = str(caught.value)
    for fault in (
        "channels stands above all sections",
        "[sever] is not a section; did you mean 'server'?",
        "vad.frame_ms = 7: input should be 10, 20 or 30",
        "RTSTREAM_LOGG__LEVEL is not a setting",
        "environment: log.transcripts = 'maybe': write true or false",
    ):
        assert fault in told


def test_all_that_does_not_go_together_is_told(file):
    config = load(file("[audio]\nsource = 'radio'\n[vad]\nmin_speech_ms = 300\n[recognition]\nphrases = ['x=y']\n"))
    with pytest.raises(ConfigError, match=r"source 'radio' is not known.*min_speech_ms \(300\).*recognition.phrases: "):
        check_settings(config)


def test_every_setting_is_explained(capsys):
    assert main(["config", "show"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert [line for line in lines if "  # " not in line and not line.startswith(("# ", "["))] == []
    assert [line for line in lines if line.startswith("# ") and " =" in line and "  # " not in line] == []


def test_missing_file_is_an_error_only_where_it_was_named(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.toml")


def test_what_show_writes_is_read_as_the_same_settings(file, capsys):
    path = file('[audio]\nsource = "mic:Müller \\"X\\""\n[server]\nlisten = ["unix:/b"]\nmax_calls = 3\n')
    assert main(["config", "show", "--config", str(path)]) == 0
    shown = capsys.readouterr().out
    again = path.with_name("again.toml")
    again.write_text(shown)
    assert load(again) == load(path)
    assert to_toml(load(again)) == shown


def test_schema_has_every_setting(capsys):
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["$defs"]["Vad"]["properties"]["aggressiveness"]["enum"] == [0, 1, 2, 3]


def test_numbers_have_one_of_the_forms_that_there_are(file):
    assert load(file('[text]\nnumbers = "digits"\n')).text.numbers == "digits"
    with pytest.raises(ConfigError, match=r"text\.numbers = 'figures': .*'as spoken', 'digits' or 'words'"):
        load(file('[text]\nnumbers = "figures"\n'))
    for form in NUMBER_FORMS:
        assert load(file(f'[text]\nnumbers = "{form}"\n')).text.numbers == form
