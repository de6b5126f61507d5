"""What the service needs of this machine, looked at one by one."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rtstream.audio.devices import list_devices
from rtstream.audio.source import parse_source
from rtstream.daemon.settings import (
    check_settings,
    server_config,
    translated_speech,
    translation_models,
    vad_settings,
)
from rtstream.engine.room import available, needed
from rtstream.errors import AudioError, BundleError, ConfigError, TranslationError
from rtstream.languages import ENGLISH
from rtstream.rpc.security import make_way
from rtstream.translation.ctranslate2 import INSTALL
from rtstream.translation.models import model_kind
from rtstream.vad.gate import GateMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtstream.config import Config
    from rtstream.rpc.security import Address

Verdict = Literal["ok", "warning", "failed"]

CLOCK_SET_AFTER = 1_735_689_600.0
"""2025-01-01: before it, no time server was reached since the machine was switched on."""
FREE_BYTES = 256 << 20
ENOUGH_CORES = 2
"""For base: recognition takes one, and the rest of the machine wants one too."""
SOUND_DEVICES = Path("/dev/snd")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``found``, and ``advice`` unless all is well."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def look(config: Config) -> Iterator[Finding]:
    """Look at everything but the level of the microphone, which takes time and a voice."""
    try:
        check_settings(config)
    except ConfigError as error:
        yield Finding("settings", "failed", str(error), "correct it; 'rtstream config check' says if more is wrong")
        return
    yield Finding("settings", "ok", "right")
    yield from _sound(config)
    yield _vad(config)
    yield _model(config)
    if config.translation.languages:
        yield _translation(config)
    for address in server_config(config.server).listen:
        yield _address(address)
    if config.publish.store is not None:
        yield _store(config.publish.store)
    yield _clock()
    yield _memory(config)


def _sound(config: Config) -> Iterator[Finding]:
    spec = parse_source(config.audio.source)
    if spec.kind != "mic":
        path = Path(spec.target)
        there = spec.kind == "stdin" or path.exists() or (spec.create and path.parent.is_dir())
        advice = (
            "" if there else f"make it: mkfifo {shlex.quote(spec.target)}" if spec.kind == "fifo" else "check the path"
        )
        yield Finding("source", "ok" if there else "failed", config.audio.source, advice)
        return
    yield _permission()
    try:
        devices = list_devices()
    except AudioError as error:
        yield Finding("PortAudio", "failed", str(error), "install libportaudio2, and look for a driver that hangs")
        return
    names = ", ".join(device.name for device in devices)
    yield Finding("PortAudio", "ok", f"starts and sees {len(devices)} microphone{'s' * (len(devices) != 1)}")
    from rtstream.audio.capture import CaptureError, choose  # noqa: PLC0415 - the capturing process's own

    rows = [{"index": d.index, "name": d.name, "max_input_channels": d.channels, "default": d.default} for d in devices]
    try:
        chosen = choose(rows, spec.target)
    except CaptureError as error:
        advice = (
            f"plug it in, or name another one: {names}"
            if names
            else "plug in a microphone ('arecord -l' shows what the kernel sees), or free it from other programs"
        )
        yield Finding("device", "failed", str(error), advice)
    else:
        yield Finding("device", "ok", f"{chosen['name']} (of: {names})")


def _permission() -> Finding:
    cards = sorted(SOUND_DEVICES.glob("pcmC*c")) if SOUND_DEVICES.is_dir() else []
    if not cards:
        return Finding(
            "permission",
            "warning",
            "no sound card of the kernel's can capture",
            "nothing to do if a sound server or plug-in is used; else plug in a microphone, or in a container give it "
            "--device /dev/snd",
        )
    closed = [str(card) for card in cards if not os.access(card, os.R_OK | os.W_OK)]
    if closed:
        return Finding(
            "permission",
            "failed",
            f"{', '.join(closed)}: not for this user",
            "sudo usermod -aG audio $USER, log in anew",
        )
    return Finding("permission", "ok", f"{len(cards)} sound device{'s' * (len(cards) != 1)} can be opened")


def _vad(config: Config) -> Finding:
    vad = config.vad
    try:
        vad_settings(vad)
    except GateMissingError as error:
        return Finding("vad", "failed", str(error), "install or name what is missing, or choose another vad.engine")
    how = f"threshold {vad.threshold:g}" if vad.engine == "silero" else f"aggressiveness {vad.aggressiveness}"
    return Finding("vad", "ok", f"{vad.engine} loads, {how}")


def _model(config: Config) -> Finding:
    from rtstream.bundle.bundle import read_manifest  # noqa: PLC0415 - torch, whose import takes seconds
    from rtstream.bundle.default import model_path  # noqa: PLC0415

    try:
        path = model_path(config.recognition.model)
        name, _, weights, *_ = read_manifest(path)
    except BundleError as error:
        return Finding("model", "failed", str(error), "copy a bundle there, or name another one (recognition.model)")
    return Finding("model", "ok", f"{name} in {path}, {weights}, checksums right")


def _speech_translator(config: Config) -> str:
    """The name of the model that recognises, which translates speech. Raises BundleError, and ConfigError if not."""
    from rtstream.bundle.bundle import TOKENIZER, read_manifest  # noqa: PLC0415 - torch, whose import takes seconds
    from rtstream.bundle.default import model_path  # noqa: PLC0415
    from rtstream.bundle.tokenizer import Tokenizer  # noqa: PLC0415

    path = model_path(config.recognition.model)
    name, *_, languages = read_manifest(path)
    if not Tokenizer.load(path / TOKENIZER).translates or languages == (ENGLISH,):
        raise ConfigError(f"{name}, the model that recognises, does not translate speech into {ENGLISH}")
    return name


def _translation(config: Config) -> Finding:
    from rtstream.bundle.default import how_to_get  # noqa: PLC0415

    found = []
    if translated_speech(config.translation) != "nothing":
        try:
            name = _speech_translator(config)
        except (BundleError, ConfigError) as error:
            how = f" ({needed})" if (needed := how_to_get("multi")) else ""
            advice = f"choose one that does, such as multi{how}, or leave en out"
            return Finding("translation", "failed", str(error), advice)
        found.append(f"{ENGLISH}: {name}")
    for language, path in translation_models(config.translation).items():
        try:
            kind = model_kind(path)
        except TranslationError as error:
            return Finding("translation", "failed", str(error), "copy a model there, or name another one")
        if kind == "ctranslate2" and any(find_spec(package) is None for package in ("ctranslate2", "sentencepiece")):
            return Finding("translation", "failed", f"{path} needs CTranslate2", INSTALL)
        found.append(f"{language}: {path}")
    return Finding("translation", "ok", ", ".join(found))


def _address(address: Address) -> Finding:
    name = f"listen {address}"
    if address.path:
        try:
            make_way(address)
        except ConfigError as error:
            running = "another service" in str(error)
            advice = "nothing, if that is the service" if running else "make the folder, or choose another path"
            return Finding(name, "warning" if running else "failed", str(error), advice)
        folder = Path(address.path).parent
        if not os.access(folder, os.W_OK):
            return Finding(
                name, "failed", f"{folder} is not writable for this user", "choose another path, or its owner"
            )
        return Finding(name, "ok", "free")
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            return Finding(
                name,
                "warning",
                f"{error.strerror}",
                f"nothing, if that is the service; else: ss -ltnp 'sport = {address.port}'",
            )
    return Finding(name, "ok", "free")


def _store(path: Path) -> Finding:
    folder = path.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding(
            "store", "failed", f"{folder} is not a folder that this user may write to", f"make it: mkdir -p {folder}"
        )
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        return Finding("store", "warning", f"{free >> 20} MiB are free in {folder}", "free some space")
    return Finding("store", "ok", f"{folder} is writable, {free >> 20} MiB are free")


def _clock() -> Finding:
    if time.time() < CLOCK_SET_AFTER:
        return Finding(
            "clock",
            "warning",
            f"it shows {time.strftime('%Y-%m-%d', time.gmtime())}",
            "recognition does without it, TLS does not: set it, or let systemd-timesyncd do it (timedatectl)",
        )
    return Finding("clock", "ok", f"shows {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}")


def _memory(config: Config) -> Finding:
    """What there is beside what the model takes, and which model suits this machine."""
    from rtstream.bundle.bundle import read_manifest  # noqa: PLC0415 - numpy, without which others are looked at
    from rtstream.bundle.default import model_path  # noqa: PLC0415

    free, cores = available(), os.cpu_count() or 1
    if free is None:
        return Finding("memory", "ok", "the system does not say how much there is")
    wants = {}
    for model in ("base", "tiny"):
        with suppress(BundleError):
            wants[model] = needed(read_manifest(model_path(Path(model)))[1])
    fitting = [model for model, wanted in wants.items() if wanted <= free]
    if cores < ENOUGH_CORES and "tiny" in fitting:
        fitting = ["tiny"]
    suited = f"{fitting[0]} suits this machine" if fitting else "no model that ships fits"
    found = f"{free >> 20} MiB are available, {cores} core{'s' * (cores != 1)}: {suited}"
    try:
        wanted = needed(read_manifest(model_path(config.recognition.model))[1])
    except BundleError:  # which has a line of its own
        return Finding("memory", "ok", found)
    if wanted <= free:
        return Finding("memory", "ok", found)
    other = f", or recognition.model = {fitting[0]!r}" if fitting else ""
    return Finding(
        "memory",
        "failed",
        f"{found}; the model of the settings needs {wanted >> 20} MiB at its first start",
        f"stop other programs, raise the limit{other}",
    )
