"""The real model on recorded speech and noise."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rtstream.vad.gate import GateMissingError
from rtstream.vad.open_gates import open_gates
from rtstream.vad.silero import FRAME, SileroGate, SileroModel, SileroState
from tests.vad import recordings
from tests.vad.recordings import DATA, NOISE, SPEECH, covered, needs_silero, pause, read_clip, verdicts

pytestmark = needs_silero


@pytest.fixture(scope="module")
def model():
    return SileroModel()


@pytest.fixture
def segment(model):
    return lambda source, block=1_600, **options: recordings.segment(source, SileroGate(model, **options), block)


def probabilities(model, source):
    state, given = SileroState(), []
    for start in range(0, len(source) - FRAME, FRAME):
        probability, state = model.step(source[start : start + FRAME], state)
        given.append(probability)
    return np.array(given)


@pytest.mark.parametrize("name", SPEECH)
@pytest.mark.parametrize("gain_db", [0, -20])
def test_speech_is_inside_segments(segment, name, gain_db):
    source = read_clip(DATA / name) * np.float32(10 ** (gain_db / 20))
    spans = segment(np.concatenate((pause(1, -90), source, pause(1.5, -90))))
    assert covered(source, spans, padding=16_000) > 0.999


@pytest.mark.parametrize("name", SPEECH)
def test_segments_end_after_speech_and_do_not_depend_on_the_blocks(segment, name):
    source = np.concatenate((read_clip(DATA / name), pause(2)))
    spans = segment(source)
    assert spans[-1][1] < len(source) - 8_000
    assert spans == segment(source, block=37) == segment(source, block=len(source))


def test_speech_in_noise_is_inside_segments(segment):
    speech = read_clip(DATA / "cv-utica.flac")
    for name in NOISE:
        noise = np.resize(read_clip(DATA / name), len(speech))
        noise *= np.sqrt((speech**2).mean() / (noise**2).mean()) * 10**-0.5  # 10 dB below
        assert covered(speech, segment(speech + noise)) > 0.999


@pytest.mark.parametrize("name", NOISE)
def test_recorded_noise_opens_nothing(segment, name):
    assert segment(read_clip(DATA / name)) == []


@pytest.mark.parametrize("source", [np.zeros(160_000, np.float32), pause(10, -90), pause(10, -40), pause(10, -20)])
def test_silence_and_steady_noise_open_nothing(segment, source):
    assert segment(source) == []


def test_a_gate_that_was_reset_is_as_new(model):
    speech = read_clip(DATA / "cv-laundry.wav")
    expected = verdicts(SileroGate(model), speech)
    gate = SileroGate(model)
    verdicts(gate, speech[: len(speech) // 2])
    assert verdicts(gate, speech) != expected, "what came before matters"
    gate.reset()
    assert verdicts(gate, speech) == expected


def test_gates_over_one_model_do_not_disturb_one_another(model):
    sources = [read_clip(DATA / name) for name in (SPEECH[0], NOISE[0], SPEECH[1], SPEECH[2])]
    expected = [verdicts(SileroGate(model), source) for source in sources]
    gates, given = [SileroGate(model) for _ in sources], [[] for _ in sources]
    for start in range(0, max(map(len, sources)), FRAME):  # frame by frame in turn
        for gate, source, its in zip(gates, sources, given, strict=True):
            if start < len(source) - FRAME:
                its.append(gate.is_speech(source[start : start + FRAME]))
    assert given == expected
    with ThreadPoolExecutor(len(sources)) as threads:
        assert list(threads.map(lambda source: verdicts(SileroGate(model), source), sources)) == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning:silero_vad")
def test_probabilities_and_the_end_of_speech_are_those_of_the_package(model):
    # Imported after ours was loaded: by then onnxruntime has been told to report nothing.
    torch, silero_vad = pytest.importorskip("torch"), pytest.importorskip("silero_vad")
    its = silero_vad.load_silero_vad(onnx=True)
    source = np.concatenate((read_clip(DATA / "cv-telephone.wav"), pause(1)))
    frames = [source[start : start + FRAME] for start in range(0, len(source) - FRAME, FRAME)]
    expected = [its(torch.from_numpy(frame), 16_000).item() for frame in frames]
    assert np.allclose(probabilities(model, source), expected, atol=1e-6)
    iterator = silero_vad.VADIterator(its, min_silence_duration_ms=0, speech_pad_ms=0)
    speech, wanted = False, []
    for frame in frames:
        speech = "start" in event if (event := iterator(torch.from_numpy(frame))) else speech
        wanted.append(speech)
    assert verdicts(SileroGate(model), source) == wanted


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.9])
def test_speech_begins_at_the_threshold_and_ends_well_below_it(model, threshold):
    source = read_clip(DATA / "libri-669-long.flac")
    given, likely = np.array(verdicts(SileroGate(model, threshold), source)), probabilities(model, source)
    low = max(threshold - 0.15, 0.01)
    assert given[likely >= threshold].all()
    assert not given[likely < low].any()
    between = np.flatnonzero((likely < threshold) & (likely >= low))
    assert len(between)
    assert all(given[frame] == given[frame - 1] for frame in between if frame)


def test_a_higher_threshold_rejects_more(model):
    source = np.concatenate([read_clip(DATA / name) for name in ("cv-utica.flac", "cv-romanians.flac", *NOISE)])
    speech = [sum(verdicts(SileroGate(model, threshold), source)) for threshold in (0.05, 0.5, 0.95)]
    assert speech[0] > speech[1] > speech[2]


def test_samples_beyond_full_scale_are_clipped(model):
    tone = np.sin(np.arange(16_000) / 9).astype(np.float32)
    gates = [SileroGate(model) for _ in range(2)]
    verdicts(gates[0], tone * np.float32(1e30))
    verdicts(gates[1], np.clip(tone * 1e30, -1, 1).astype(np.float32))
    assert np.array_equal(gates[0]._state.recurrent, gates[1]._state.recurrent)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, float("nan")])
def test_other_thresholds_are_refused(model, threshold):
    with pytest.raises(ValueError, match="threshold"):
        SileroGate(model, threshold)


def test_a_missing_library_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "rtstream.onnx_runtime", raising=False)
    with pytest.raises(GateMissingError, match="pip install onnxruntime"):
        open_gates("silero")


def test_a_missing_model_is_an_error_that_says_what_to_install_or_to_set(monkeypatch):
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    with pytest.raises(GateMissingError, match=r"pip install --no-deps silero-vad, or .*vad\.model"):
        open_gates("silero")


def test_a_model_that_is_named_needs_no_package(monkeypatch, model, tmp_path):
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    path = shutil.copy(model.path, tmp_path / "my.onnx")
    source = read_clip(DATA / "cv-utica.flac")
    assert verdicts(open_gates("silero", model=path)(), source) == verdicts(SileroGate(model), source)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none.onnx", "no such file"),
        (".", "no such file"),
        ("text.onnx", "cannot be read as a model"),
        ("cut.onnx", "cannot be read as a model"),
        ("other.onnx", "another model"),
    ],
)
def test_what_is_not_the_model_is_one_line_that_names_the_file(model, tmp_path, name, told):
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "cut.onnx").write_bytes(model.path.read_bytes()[:100_000])
    shutil.copy(model.path.with_name("silero_vad_16k_sequence.onnx"), tmp_path / "other.onnx")
    with pytest.raises(GateMissingError) as error:
        SileroModel(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: {told}")
    assert "\n" not in str(error.value)


def test_gates_of_a_process_share_one_loaded_model():
    new_gate = open_gates("silero", threshold=0.3)
    assert new_gate()._model is new_gate()._model
    assert new_gate()._state is not new_gate()._state


PROGRAM = """
import os, sys
import numpy as np
def threads(): return len(os.listdir("/proc/self/task"))
before = threads()
from rtstream.vad.open_gates import open_gates
gate = open_gates("silero")()
for _ in range(50):
    gate.is_speech(np.zeros(gate.frame_samples, np.float32))
links = [os.readlink(entry) for entry in os.scandir("/proc/self/fd") if os.path.exists(entry)]
print(threads() - before, {"torch", "silero_vad"} & sys.modules.keys(), [link for link in links if "socket" in link])
"""


def test_no_thread_no_torch_no_connection_and_nothing_written(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "ORT_DISABLE_TELEMETRY": "0"}
    environment |= {name: str(tmp_path) for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "TMPDIR")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("0 set() []\n", "")
    assert list(tmp_path.iterdir()) == []
