"""The settings tree: defaults, over them a TOML file, over that the environment, over all the command line.

Strict: what is unknown or has a value that is not allowed is an error that names the key, the value and what is
allowed. Lists of allowed values are those of the stages below, which this module does not import.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from rtstream.constants import DEFAULT_CHUNK_MS, ChunkMs
from rtstream.errors import ConfigError
from rtstream.languages import AUTO, canonical, read_choice

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic_core import ErrorDetails

DEFAULT_PATH = Path("/etc/rtstream/rtstream.toml")
PREFIX, DELIMITER = "RTSTREAM_", "__"
ADDRESS = r"^(unix:.+|.+:\d{1,5})$"
TOPIC = r"^[^#+\s]+$"
URI = r"^(|unix:.+|tcp://.+:\d{1,5})$"
PATTERNS = {
    ("server", "listen"): "it must be HOST:PORT or unix:PATH",
    ("server", "unix_mode"): "it must be a mode in octal, such as 0660",
    ("http", "listen"): "it must be HOST:PORT or unix:PATH",
    ("metrics", "listen"): "it must be HOST:PORT or empty",
    ("mqtt", "topic"): "it must be a topic such as rtstream, or site/rtstream, without +, # and spaces",
    ("mqtt", "discovery"): "it must be a topic such as homeassistant, without +, # and spaces, or empty",
    ("wyoming", "listen"): "it must be tcp://HOST:PORT, unix:PATH or empty",
    ("wyoming", "microphone"): "it must be tcp://HOST:PORT, unix:PATH or empty",
}

FLAT = ("environment", "command line")
"""Where a value has no quotes and no brackets."""
LISTS = {"tuple_type", "list_type"}
TEXTS = {"string_type", "path_type"}
KINDS = (
    ({"int_type", "int_parsing", "int_from_float"}, "a whole number"),
    ({"float_type", "float_parsing"}, "a number"),
    ({"bool_type", "bool_parsing"}, "true or false"),
    ({"dict_type"}, "a table"),
    (LISTS, "a list"),
    (TEXTS, "text"),
)
"""What pydantic misses, in words."""

Address = Annotated[str, Field(pattern=ADDRESS)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Language = Annotated[str, AfterValidator(canonical)]


def _spoken(given: object) -> str | tuple[str, ...]:
    """AUTO, or a list of tags."""
    if not isinstance(given, str | list | tuple) or not all(isinstance(each, str) for each in given):
        raise ValueError('write "auto", a language such as "es", or a list such as ["en", "es"]')
    return read_choice(given) or AUTO


Spoken = Annotated[str | tuple[str, ...], BeforeValidator(_spoken)]


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Audio(Section):
    """Where the audio comes from."""

    source: str = Field(
        "mic",
        description="mic, mic:NAME, wav:FILE?speed=max&loop=1, fifo:PATH?rate=16000&pause=10&create=1, -, -?rate=16000",
    )
    rate: int = Field(0, ge=0, le=768_000, description="Hz at which the microphone is captured; 0: its own")
    channels: int = Field(0, ge=0, le=32, description="channels captured, which are averaged; 0: the microphone's own")
    open_seconds: Seconds = Field(15.0, description="time that a device has to open")
    stall_seconds: Seconds = Field(3.0, description="without audio for so long a device is opened anew")
    retry_seconds: Seconds = Field(15.0, description="longest pause between attempts to open an absent device")
    muted: bool = Field(default=False, description="begin muted: audio is dropped until 'rtstream unmute'")
    ring_seconds: float = Field(5.0, ge=0.1, le=60, description="audio held for the service while it cannot take it")
    backlog_seconds: float = Field(20.0, ge=1, le=600, description="audio that may wait for recognition; more is lost")


class Vad(Section):
    """What is speech, and where a segment of it begins and ends; lengths in milliseconds."""

    engine: Literal["webrtc", "silero"] = Field("webrtc", description="what tells speech from the rest")
    aggressiveness: Literal[0, 1, 2, 3] = Field(1, description="webrtc: 0 lets most through, 3 rejects most")
    frame_ms: Literal[10, 20, 30] = Field(20, description="webrtc: audio that is judged at a time")
    threshold: float = Field(0.5, gt=0, lt=1, description="silero: probability from which it is speech")
    model: Path | None = Field(None, description="silero: its .onnx file; unset: that of the package silero-vad")
    pre_roll_ms: int = Field(400, ge=0, description="audio before the first speech that belongs to a segment")
    onset_window_ms: int = Field(200, gt=0, description="time in which min_speech_ms of speech must be heard")
    min_speech_ms: int = Field(120, gt=0, description="speech within onset_window_ms that opens a segment")
    hangover_ms: int = Field(700, gt=0, description="silence that closes a segment")
    min_segment_ms: int = Field(1_000, ge=0, description="a segment is not closed before this length")
    soft_ms: int = Field(8_000, ge=0, description="before max_segment_ms in which ever shorter pauses close a segment")
    max_segment_ms: int = Field(30_000, gt=0, le=30_000, description="a segment is closed at this length at the latest")


class Recognition(Section):
    """How the audio is recognised."""

    model: Path | None = Field(
        None,
        description="base, tiny, multi (a package of its own: rtstream-multi), or a bundle's directory; "
        "unset: $RTSTREAM_MODEL, or base",
    )
    language: Spoken = Field(
        AUTO,
        description='what may be spoken: "auto", all that the model knows, or one, "es", or some, ["en", "es"]',
    )
    engine: Literal["auto", "onnx", "torch", "x86", "fbgemm", "onednn", "qnnpack", "float"] = Field(
        "onnx",
        description="what computes: onnx; torch, if it is installed, by its best kernel, another, or float",
    )
    threads: int = Field(1, ge=1, le=64, description="threads that compute one chunk")
    workers: int = Field(1, ge=1, le=64, description="streams that are recognised at the same moment")
    chunk_ms: ChunkMs = Field(
        DEFAULT_CHUNK_MS, description="audio recognised at a time: 320 shows words sooner, 1280 takes less computing"
    )
    partials: Literal["decoder", "ctc", "none"] = Field(
        "decoder", description="what writes the partials, if anything; ctc English alone"
    )
    full_context: Literal["always", "unsure"] = Field(
        "always",
        description="whether a segment is encoded once more for its final: always, for the best text, the same with "
        "and without partials, or only where unsure, for less computing",
    )
    beam: int = Field(
        4, ge=1, le=5, description="hypotheses among which the decoder looks for a text where it is unsure"
    )
    prepare: bool = Field(
        default=True,
        description="look for a final while the silence lasts that may close its segment: sooner, sometimes in vain",
    )
    words: bool = Field(
        default=False, description="times and confidence of each word, also in the service's own events"
    )
    phrases: tuple[str, ...] = Field(
        (), description='names and words to find where they are said, each "PHRASE" or "PHRASE=WEIGHT", 0 < WEIGHT <= 5'
    )
    max_streams: int = Field(8, ge=0, le=10_000, description="clients' own streams that are recognised at a time")
    retry_seconds: Seconds = Field(10.0, description="pause between attempts to load a model that cannot be used")

    @property
    def languages(self) -> tuple[str, ...]:
        """Those that may be spoken; none: whatever the model knows."""
        return read_choice(self.language)


class Text(Section):
    """How finals are written."""

    numbers: Literal["as spoken", "digits", "words"] = Field(
        "as spoken",
        description="numbers, times, sums, dates: as the model writes them, or in one form (docs/numbers.md)",
    )


class Translation(Section):
    """What is translated into other languages, and by which models."""

    languages: tuple[Language, ...] = Field((), description="targets, such as es, pt-BR; empty: no translation")
    model: Path | None = Field(
        None, description="a model's directory; unset: $RTSTREAM_TRANSLATION_MODEL, or the shipped model"
    )
    models: dict[Language, Path] = Field({}, description="directories of models for single languages, by language")
    threads: int = Field(1, ge=1, le=64, description="threads that compute one translation (CTranslate2)")
    beam: int = Field(
        4, ge=1, le=4, description="hypotheses that are weighed for a final (rtstream's own models); fewer are quicker"
    )
    partials: bool = Field(default=True, description="translate what is being spoken, not finals alone")
    mask: int = Field(3, ge=0, le=100, description="last words of a partial's translation that are not shown yet")
    keep: Literal["nothing", "partials", "all"] = Field(
        "partials", description="what was shown stays: until the final, in the final too, or not at all"
    )
    context: int = Field(0, ge=0, le=10, description="finals before a segment that are translated again with it")


class Server(Section):
    """The gRPC service."""

    listen: tuple[Address, ...] = Field(("127.0.0.1:7660",), description="HOST:PORT or unix:PATH, each")
    tls_certificate: Path | None = Field(None, description="PEM file; with tls_key it turns TLS on")
    tls_key: Path | None = Field(None, description="PEM file: the key of tls_certificate, without a passphrase")
    tls_client_ca: Path | None = Field(
        None, description="PEM file: clients must show a certificate signed by one of these"
    )
    tokens: Path | None = Field(None, description="file with a bearer token a line")
    insecure_public: bool = Field(default=False, description="allow an address that others can reach without TLS")
    unix_mode: str = Field("0660", pattern=r"^0?[0-7]{3}$", description="of Unix sockets: who may connect")
    max_calls: int = Field(256, ge=1, le=100_000, description="calls that stay open, of all clients")
    max_calls_per_client: int = Field(64, ge=1, le=100_000, description="of them those of one client")
    max_connections: int = Field(512, ge=8, le=100_000, description="connections of all clients, to each address")
    max_connections_per_client: int = Field(
        128, ge=1, le=100_000, description="of one client: a remote address, or all of this machine; more are closed"
    )
    max_message_bytes: int = Field(
        4 << 20, ge=1 << 16, le=64 << 20, description="longest message that a client may send, as in Transcribe"
    )
    idle_seconds: Seconds = Field(
        30.0, description="a client that sends no audio, or reads no event, for so long is sent away"
    )
    pause_seconds: Seconds = Field(
        10.0,
        description="a client that holds its stream open without audio: what was said gets its final after so long",
    )


class Http(Section):
    """OpenAI's API for transcription, and captions for browsers; TLS, tokens and insecure_public are [server]'s."""

    listen: tuple[Address, ...] = Field((), description="HOST:PORT or unix:PATH, each; empty: off")
    hosts: tuple[str, ...] = Field(
        (), description="names by which browsers call this machine, besides its addresses, localhost and its own name"
    )
    mute: bool = Field(default=True, description="whoever may see the captions may mute the service")
    max_connections: int = Field(64, ge=4, le=100_000, description="connections of all clients")
    max_connections_per_client: int = Field(
        32, ge=2, le=100_000, description="of one client: a remote address, or all of this machine"
    )
    max_upload_megabytes: int = Field(32, ge=1, le=1024, description="largest file; two at a time are held in memory")
    max_audio_minutes: float = Field(60.0, gt=0, le=1440, description="longest recording")


class Publish(Section):
    """What is kept for subscribers."""

    queue_size: int = Field(256, ge=8, le=100_000, description="events that may wait for one subscriber")
    held_finals: int = Field(
        1_000, ge=0, le=1_000_000, description="finals held in memory, also for who returns while the store fails"
    )
    store: Path | None = Field(None, description="SQLite file for finals; unset: none is written to disk")
    store_max_age_hours: float = Field(168.0, gt=0, description="older finals are removed from the store")
    store_max_megabytes: int = Field(64, ge=1, le=1 << 20, description="a larger store loses its oldest finals")


class Metrics(Section):
    """Prometheus."""

    listen: str = Field("", pattern=r"^(|.+:\d{1,5})$", description="HOST:PORT; empty: off")


class Wyoming(Section):
    """Speech to text for Home Assistant and whatever else speaks Wyoming, which has neither TLS nor tokens."""

    listen: str = Field("", pattern=URI, description="tcp://HOST:PORT (10300 is usual) or unix:PATH; empty: off")
    microphone: str = Field(
        "", pattern=URI, description="where whoever connects gets the microphone's audio; empty: off"
    )
    external_vad: bool = Field(
        default=True, description="the client says when a command ends; false: it ends when the speaker pauses"
    )
    insecure_public: bool = Field(default=False, description="allow addresses that others can reach")
    allow: tuple[str, ...] = Field(
        (), description="hosts and networks that may connect, such as 192.168.1.0/24; empty: all"
    )
    announce: str = Field("", max_length=60, description="name by which others find it (mDNS); empty: not announced")
    max_connections: int = Field(64, ge=1, le=10_000, description="connections of all clients, to each address")
    max_connections_per_client: int = Field(16, ge=1, le=10_000, description="of one client")


class Mqtt(Section):
    """What is heard, published to an MQTT broker: for Home Assistant, and for many devices (docs/mqtt.md)."""

    broker: str = Field("", description="mqtts://HOST or mqtt://HOST, with :PORT or not; empty: off")
    username: str | None = Field(None, description="at the broker")
    password_file: Path | None = Field(None, description="file with the password of that user, and nothing else")
    ca: Path | None = Field(None, description="PEM file: who signs the broker's certificate; unset: the system's")
    certificate: Path | None = Field(None, description="PEM file: the certificate of this device")
    key: Path | None = Field(None, description="PEM file: the key of certificate")
    insecure: bool = Field(default=False, description="allow a broker on another machine without TLS")
    device: str = Field("", description="name of this device in topics; unset: the machine's")
    name: str = Field("", max_length=100, description="of this device, for people; unset: rtstream and the machine's")
    topic: str = Field("rtstream", pattern=TOPIC, description="all topics begin with it, then comes the device")
    discovery: str = Field(
        "homeassistant", pattern=r"^(|[^#+\s]+)$", description="prefix of Home Assistant; empty: none"
    )
    partials: bool = Field(default=False, description="also publish what is being spoken, several times a second")
    mute: bool = Field(default=True, description="whoever may write to the topic mute/set may mute the service")
    state: Path | None = Field(
        None, description="file that remembers the last final sent; unset: after a restart only new ones are"
    )


class Log(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severity that is logged")
    transcripts: bool = Field(default=False, description="also log what is recognised")


class Service(Section):
    """The life of the process."""

    drain_seconds: Seconds = Field(10.0, description="at SIGTERM: time to recognise and publish what was said")
    on_final: tuple[str, ...] = Field(
        (), description="a command and its arguments, run without a shell for each final, whose text it reads"
    )
    on_final_seconds: Seconds = Field(10.0, description="after so long it is ended, with all that it has started")


class Config(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter=DELIMITER)

    audio: Audio = Audio()
    vad: Vad = Vad()
    recognition: Recognition = Recognition()
    text: Text = Text()
    translation: Translation = Translation()
    server: Server = Server()
    http: Http = Http()
    publish: Publish = Publish()
    metrics: Metrics = Metrics()
    wyoming: Wyoming = Wyoming()
    mqtt: Mqtt = Mqtt()
    log: Log = Log()
    service: Service = Service()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what :func:`load` has put together and nothing else."""
        return (init_settings,)


def load(path: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """Read the settings. ``overrides``, by section and key, are stronger than the environment, that than the file.

    Without a ``path`` the default one is read, if it is there. Raises ConfigError.
    """
    file = DEFAULT_PATH if path is None else path
    told: list[str] = []
    layers = [
        (str(file), _read(file, missing_is_fine=path is None)),
        ("environment", _environment(told)),
        ("command line", {section: dict(keys) for section, keys in (overrides or {}).items()}),
    ]
    merged: dict[str, Any] = {}
    for origin, layer in layers:
        for section, keys in layer.items():
            if section not in Config.model_fields:
                told.append(f"{origin}: {_unknown_section(section, keys)}")
            elif not isinstance(keys, dict):
                told.append(f"{origin}: {section} = {keys!r}: it is a section, write [{section}] and its keys below")
            else:
                _merge(merged.setdefault(section, {}), keys)
    try:
        config = Config(**merged)
    except ValidationError as error:
        told += _explain(error, layers)
    else:
        if not told:
            return config
    raise ConfigError("; ".join(told))


def to_toml(config: Config) -> str:
    """Write all settings as a file that :func:`load` reads; what is unset becomes a comment."""
    lines: list[str] = []
    for name in Config.model_fields:
        section: Section = getattr(config, name)
        lines += [*([""] if lines else []), f"# {type(section).__doc__}", f"[{name}]"]
        for key, field in type(section).model_fields.items():
            about = f"  # {field.description}" if field.description else ""
            value = getattr(section, key)
            lines.append(f"# {key} ={about}" if value is None else f"{key} = {_toml(value)}{about}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            pairs = ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            return json.dumps(str(value), ensure_ascii=False)


def _read(path: Path, *, missing_is_fine: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if missing_is_fine:
            return {}
        raise ConfigError(f"{path}: no such file; 'rtstream config show' writes one to begin with") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; check its owner and mode") from None


def _environment(told: list[str]) -> dict[str, Any]:
    """The settings in the environment. What is none is ``told``."""
    found: dict[str, Any] = {}
    for variable, value in os.environ.items():
        section, delimiter, key = variable.removeprefix(PREFIX).lower().partition(DELIMITER)
        if not variable.startswith(PREFIX) or not delimiter:
            continue
        if section not in Config.model_fields:
            names = [f"{PREFIX}{name}{DELIMITER}".upper() for name in Config.model_fields]
            told.append(f"environment: {variable} is not a setting; settings begin with {', '.join(names)}")
            continue
        key, nested, entry = key.partition(DELIMITER)
        field = _section(section).model_fields.get(key)
        kind = None if field is None else get_origin(field.annotation)
        if nested and kind is not dict:
            told.append(f"environment: {variable} is not a setting; {section}.{key} has no keys of its own")
        elif nested:
            _merge(found, {section: {key: {entry: value}}})
        else:
            found.setdefault(section, {})[key] = _listed(value) if kind is tuple else value
    return found


def _listed(value: str) -> list[str]:
    """What stands between commas; what has a comma of its own is in double quotes, as in a CSV file."""
    try:
        rows = list(csv.reader(io.StringIO(value, newline=""), skipinitialspace=True))
    except csv.Error:  # a field of more than 128 KiB
        rows = [value.split(",")]
    return [part.strip() for row in rows for part in row if part.strip()]


def _merge(into: dict[str, Any], stronger: Mapping[str, Any]) -> None:
    """Take over keys, and those of tables one by one."""
    for key, value in stronger.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, dict) else value


def _section(name: str) -> type[Section]:
    section = Config.model_fields[name].annotation
    assert isinstance(section, type)
    assert issubclass(section, Section)
    return section


def _unknown_section(name: str, keys: object) -> str:
    if isinstance(keys, dict):
        return f"[{name}] is not a section{_nearest(name, Config.model_fields)}"
    homes = [f"[{section}]" for section in Config.model_fields if name in _section(section).model_fields]
    if homes:
        return f"{name} stands above all sections; write it below {' or '.join(homes)}"
    return f"{name} is not a setting, and stands above all sections; there are: {', '.join(Config.model_fields)}"


def _explain(error: ValidationError, layers: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Say of each fault where it is, what stands there, and what to write instead."""
    told = []
    for fault in error.errors():
        section, key, *_ = [str(part) for part in fault["loc"]]
        origin = next((name for name, layer in reversed(layers) if key in _keys(layer, section)), "settings")
        where = f"{origin}: {section}.{key}"
        if fault["type"] == "extra_forbidden":
            told.append(f"{where} is not a setting{_nearest(key, _section(section).model_fields)}")
        else:
            told.append(
                f"{where} = {_shown(fault['input'])}: {_advice(fault, section, key, in_file=origin not in FLAT)}"
            )
    return told


def _keys(layer: Mapping[str, Any], section: str) -> Collection[str]:
    keys = layer.get(section)
    return keys if isinstance(keys, dict) else ()


def _advice(fault: ErrorDetails, section: str, key: str, *, in_file: bool) -> str:
    """What to write where ``fault`` is."""
    kind, value, whole = fault["type"], fault["input"], len(fault["loc"]) == 2
    if kind == "string_pattern_mismatch":
        return PATTERNS[section, key]
    if kind in LISTS and in_file:
        entries = _toml(tuple(value) if isinstance(value, list) else (value,)) if _is_plain(value) else '["..."]'
        return f"it is a list, write {key} = {entries}"
    if kind in TEXTS and not whole:
        return "its entries are text, each in quotes"
    if kind in TEXTS and in_file and _is_plain(value):
        return f"it is text, write {key} = {_toml(str(value))}"
    named = next((words for kinds, words in KINDS if kind in kinds), None)
    if named is not None:
        default = _section(section).model_fields[key].default
        example = f", such as {key} = {_toml(default)}" if _is_plain(default) and whole else ""
        return f"write {named}{example if in_file else ''}"
    reason = fault["msg"].removeprefix("Value error, ")
    return reason[:1].lower() + reason[1:]


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _shown(value: object) -> str:
    """As it stands in a file."""
    return _toml(value) if isinstance(value, bool) else repr(value)


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{close[0]}'?" if close else f"; there are: {', '.join(known)}"
