"""One system, in a process of its own: recordings in, texts and what they took out. It runs in any environment.

    python benchmarks/worker.py SYSTEM MODE < clips.json

``clips.json``: a list of ``{"id": ..., "audio": path of .npy, float32 at 16 kHz}``, the same for all systems. ``MODE``
is ``whole``, a recording at once, or ``live``: blocks of 20 ms, with captions that grow, and a final. Live audio is not
waited for: a delay is what audio had come, and the CPU seconds that it then took, which on one core that does nothing
else are those of the clock. Prints a JSON object: ``start``, memory, and for each clip its text, CPU seconds, and in
live mode when words came.
"""

import ctypes
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RATE = 16_000
STEP = 10_240
"""Samples, 0.64 s: how often those that do not stream look again at all audio so far, and rtstream's chunk."""
BLOCK = 320
CACHE = Path.home() / ".cache" / "rtstream"


class Rtstream:
    """This project's pipeline, by ONNX Runtime."""

    def __init__(self, model, engine="onnx"):
        from rtstream.bundle.default import model_path
        from rtstream.engine.open import load_bundle
        from rtstream.recognizer.recognizer import Recognizer, RecognizerConfig

        self.bundle = load_bundle(model_path(Path(model)), engine, threads=1)
        self.bytes = sum(each.stat().st_size for each in self.bundle.path.iterdir() if each.suffix != ".md")
        self.live = Recognizer(self.bundle, RecognizerConfig())
        self.plain = Recognizer(self.bundle, RecognizerConfig(partials="none"))

    def stream(self, recognizer):
        from rtstream.events import AudioBlock, Final, Partial
        from rtstream.recognizer.pipeline import Pipeline

        pipeline, finals, shown, position = Pipeline(recognizer), [], "", 0

        def told(events):
            nonlocal shown
            for event in events:
                if isinstance(event, Final):
                    finals.append(event.text)
                    shown = ""
                elif isinstance(event, Partial):
                    shown = event.text
            return " ".join(filter(None, [*finals, shown]))

        def push(samples):
            nonlocal position
            events = pipeline.push(AudioBlock(samples, position))
            position += len(samples)
            return told(events)

        return push, lambda: told(pipeline.finish())

    def whole(self, audio):
        push, finish = self.stream(self.plain)
        push(audio)
        return finish()

    def captions(self):
        return self.stream(self.live)


class Whole:
    """Of a system that recognises whole recordings: captions by LocalAgreement.

    All audio so far is recognised again each 0.64 s; what two results in a row agree on is shown for good (arXiv
    2307.14743), as whisper_streaming does, but without its cutting of what is older than 15 s.
    """

    def captions(self):
        audio, shown, before, waiting = np.zeros(0, np.float32), [], [], 0

        def push(samples):
            nonlocal audio, before, waiting, shown
            audio = np.concatenate([audio, samples])
            waiting += len(samples)
            if waiting >= STEP:
                waiting = 0
                words = self.whole(audio).split()
                same = next(
                    (n for n, (a, b) in enumerate(zip(words, before, strict=False)) if plain(a) != plain(b)),
                    min(len(words), len(before)),
                )
                if same > len(shown):
                    shown = words[:same]
                before = words
            return " ".join(shown)

        return push, lambda: self.whole(audio)


def plain(word):
    return "".join(filter(str.isalnum, word)).lower()


class Whisper(Whole):
    """faster-whisper (CTranslate2), int8, greedy."""

    def __init__(self, name):
        from faster_whisper import WhisperModel

        folder = CACHE / "teacher" / f"whisper-{name}"
        with tempfile.TemporaryDirectory() as place:
            # CTranslate2 wants a vocabulary beside the model, which is in the tokenizer too.
            for file in folder.iterdir():
                Path(place, file.name).symlink_to(file)
            vocabulary = Path(place, "vocabulary.json")
            if not vocabulary.exists():
                tokenizer = json.loads((folder / "tokenizer.json").read_text())
                ids = dict(tokenizer["model"]["vocab"]) | {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
                tokens = sorted(ids, key=ids.get)
                times = [f"<|{number / 50:.2f}|>" for number in range(1501)]  # which a tokenizer may leave out
                vocabulary.write_text(json.dumps(tokens + [each for each in times if each not in ids]))
            self.model = WhisperModel(place, device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)
        self.bytes = (folder / "model.bin").stat().st_size

    def whole(self, audio):
        segments, _ = self.model.transcribe(
            audio, language="en", beam_size=1, condition_on_previous_text=False, temperature=0.0
        )
        return " ".join(segment.text.strip() for segment in segments)


class Moonshine(Whole):
    """Moonshine base by the wheel moonshine-cpp, which has it in int8 (ONNX Runtime)."""

    def __init__(self):
        from moonshine_cpp.moonshine_cpp import MoonshineModel, moonshine_lib

        self.model, self.library = MoonshineModel(), moonshine_lib
        self.bytes = sum(each.stat().st_size for each in Path(self.model.model_dir_path).iterdir())

    def whole(self, audio):
        # Its own Python method for samples fails on a name that ctypes has not.
        text = ctypes.c_char_p()
        samples = np.ascontiguousarray(audio, np.float32)
        given = samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        error = self.library.moonshine_transcribe(self.model.model_handle, given, len(samples), ctypes.byref(text))
        if error:
            raise RuntimeError(f"moonshine_transcribe gives {error}")
        return (text.value or b"").decode()


class PocketSphinx:
    """PocketSphinx with the model of its package, which streams."""

    def __init__(self):
        from pocketsphinx import Decoder, get_model_path

        self.decoder = Decoder(samprate=RATE, loglevel="FATAL")
        folder = Path(get_model_path("en-us"))
        self.bytes = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())

    @staticmethod
    def pcm(audio):
        return (np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()

    def text(self):
        found = self.decoder.hyp()
        return found.hypstr if found else ""

    def whole(self, audio):
        self.decoder.start_utt()
        self.decoder.process_raw(self.pcm(audio), full_utt=True)
        self.decoder.end_utt()
        return self.text()

    def captions(self):
        self.decoder.start_utt()

        def push(samples):
            self.decoder.process_raw(self.pcm(samples))
            return self.text()

        def finish():
            self.decoder.end_utt()
            return self.text()

        return push, finish


SYSTEMS = {
    "rtstream-base": lambda: Rtstream("base"),
    "rtstream-tiny": lambda: Rtstream("tiny"),
    "whisper-base": lambda: Whisper("base"),
    "whisper-tiny.en": lambda: Whisper("tiny.en"),
    "moonshine-base": Moonshine,
    "pocketsphinx": PocketSphinx,
}


def memory():
    """Bytes at most, and now those that are the process's own."""
    # Of this program alone: what getrusage says begins with the one that started it.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    own = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return {"peak": peak * 1024, "private": own * 1024}


def whole(system, audio):
    began = time.process_time()
    text = system.whole(audio)
    return {"text": text, "cpu": time.process_time() - began}


def live(system, audio):
    """``words``: audio that had come when so many words were shown, and what it took then; ``final``: after the end."""
    push, finish = system.captions()
    words, shown, first = [], 0, time.process_time()
    for start in range(0, len(audio), BLOCK):
        began = time.process_time()
        text = push(audio[start : start + BLOCK])
        took = time.process_time() - began
        count = len(text.split())
        if count > shown:
            words.append({"count": count, "audio": (start + BLOCK) / RATE, "took": took})
            shown = count
    began = time.process_time()
    text = finish()
    ended = time.process_time()
    return {"text": text, "words": words, "final": ended - began, "cpu": ended - first}


def main(name, mode):
    clips = json.load(sys.stdin)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, whatever they take for a thread
    system = SYSTEMS[name]()
    start = time.process_time()  # with the interpreter's own
    run = {"whole": whole, "live": live}[mode]
    run(system, np.load(clips[0]["audio"])[: 2 * RATE])  # the first takes longer, once
    found = [{"id": clip["id"]} | run(system, np.load(clip["audio"])) for clip in clips]
    json.dump(
        {"system": name, "mode": mode, "start": start, "bytes": system.bytes, "memory": memory(), "clips": found},
        sys.stdout,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
