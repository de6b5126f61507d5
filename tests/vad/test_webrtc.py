"""The real detector on recorded speech and noise."""

import sys
import tarfile

import numpy as np
import pytest

from rtstream.vad.gate import GateMissingError
from rtstream.vad.segmenter import SegmenterConfig
from rtstream.vad.webrtc import WebRtcGate
from tests.vad import recordings
from tests.vad.recordings import DATA, NOISE, SHARED, SPEECH, covered, pause, read_clip, verdicts


def segment(source, block=1_600, gate=None):
    return recordings.segment(source, gate or WebRtcGate(), block)


@pytest.mark.parametrize("name", SPEECH)
@pytest.mark.parametrize("gain_db", [0, -20])
def test_speech_is_inside_segments(name, gain_db):
    source = read_clip(DATA / name) * np.float32(10 ** (gain_db / 20))
    spans = segment(np.concatenate((pause(1, -90), source, pause(1.5, -90))))
    assert covered(source, spans, padding=16_000) > 0.98


@pytest.mark.parametrize("name", SPEECH)
def test_speech_from_the_very_first_sample_is_inside_segments(name):
    source = read_clip(DATA / name)
    loud = np.flatnonzero(np.abs(source) > 0.05 * np.abs(source).max())
    source = source[loud[0] :]
    assert covered(source, segment(source)) > 0.98


@pytest.mark.parametrize("gain_db", [0, -30])
@pytest.mark.parametrize("name", SPEECH)
def test_a_short_word_with_nothing_before_it_is_inside_a_segment(name, gain_db):
    source = read_clip(DATA / name) * np.float32(10 ** (gain_db / 20))
    loud = np.flatnonzero(np.abs(source) > 0.3 * np.abs(source).max())
    word = source[loud[0] : loud[0] + 4_000]
    assert segment(np.concatenate((word, np.zeros(16_000, np.float32))))


@pytest.mark.parametrize("name", SPEECH)
def test_segments_end_after_speech_and_do_not_depend_on_the_blocks(name):
    source = np.concatenate((read_clip(DATA / name), pause(2)))
    spans = segment(source)
    assert spans[-1][1] < len(source) - 8_000
    assert spans == segment(source, block=37) == segment(source, block=len(source))


def test_sentences_are_cut_at_pauses_longer_than_the_hang_over():
    source = read_clip(DATA / "libri-669-long.flac")
    spans = segment(source)
    assert 4 <= len(spans) <= 8
    assert covered(source, spans) > 0.99


def test_speech_in_noise_is_inside_segments():
    speech = read_clip(DATA / "cv-utica.flac")
    for name in NOISE:
        noise = np.resize(read_clip(DATA / name), len(speech))
        noise *= np.sqrt((speech**2).mean() / (noise**2).mean()) * 10**-0.5  # 10 dB below
        spans = segment(speech + noise)
        assert covered(speech, spans) > 0.98


@pytest.mark.parametrize("level_db", [-90, -60, -40])
def test_steady_noise_opens_nothing_after_the_first_moment(level_db):
    assert all(end < 24_000 for _, end in segment(pause(20, level_db)))


def test_digital_silence_opens_nothing():
    assert segment(np.zeros(160_000, np.float32)) == []


def test_aggressiveness_rejects_more():
    noise = np.concatenate([read_clip(DATA / name) for name in NOISE])

    def seconds(aggressiveness: int) -> float:
        return sum(end - begin for begin, end in segment(noise, gate=WebRtcGate(aggressiveness))) / 16_000

    assert seconds(3) < seconds(0)


@pytest.mark.parametrize("frame_ms", [10, 20, 30])
def test_every_frame_length_hears_speech(frame_ms):
    gate = WebRtcGate(frame_ms=frame_ms)
    assert gate.frame_samples == 16 * frame_ms
    source = read_clip(DATA / "cv-telephone.wav")
    assert covered(source, segment(source, gate=gate)) > 0.98


def test_a_gate_that_was_reset_is_as_new_and_gates_do_not_share_state():
    speech, noise = read_clip(DATA / "cv-laundry.wav"), read_clip(DATA / "noise-dishes.flac")
    expected = verdicts(WebRtcGate(), speech)
    gate, other = WebRtcGate(), WebRtcGate()
    verdicts(gate, noise)
    assert verdicts(gate, speech) != expected, "what came before matters"
    gate.reset()
    assert verdicts(gate, speech) == expected
    assert verdicts(other, speech) == expected


def test_samples_may_be_beyond_full_scale():
    speech = read_clip(DATA / "cv-utica.flac")
    assert verdicts(WebRtcGate(), speech * 500) == verdicts(WebRtcGate(), speech * 50)


@pytest.mark.parametrize("name", SPEECH)
@pytest.mark.parametrize("peak_db", [-30, -20, -10])
def test_a_recording_is_cut_into_the_same_segments_at_any_level(name, peak_db):
    source = np.concatenate((read_clip(DATA / name), pause(1.5, -120)))
    source /= np.abs(source).max()
    softer = (np.round(source * 32767 * 10 ** (peak_db / 20)) / 32768).astype(np.float32)  # as 16 bits hold it
    expected, found = segment(source), segment(softer)
    assert len(found) == len(expected)
    # Noise that 16 bits hardly resolve is another.
    assert np.abs(np.array(found) - np.array(expected)).max() <= 9_000


def test_the_level_itself_changes_nothing():
    source = read_clip(DATA / "libri-669-long.flac")
    assert verdicts(WebRtcGate(), source) == verdicts(WebRtcGate(), source / 8) == verdicts(WebRtcGate(), source * 8)


def test_steady_noise_opens_nothing_after_the_first_moment_at_any_level():
    hiss = pause(10, -20)
    spans = segment(hiss)
    assert spans == segment(hiss / 1000)
    assert all(end < 24_000 for _, end in spans)


@pytest.mark.parametrize("options", [{"aggressiveness": 4}, {"aggressiveness": -1}, {"frame_ms": 15}])
def test_other_settings_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        WebRtcGate(**options)


def test_a_missing_library_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(GateMissingError, match="pip install webrtcvad-wheels"):
        WebRtcGate()


@pytest.mark.parametrize("name", ["dev-cv", "dev-librispeech", "dev-digits"])
def test_nearly_all_speech_of_the_dev_sets_is_inside_segments(name, tmp_path):
    if not SHARED.is_dir():
        pytest.skip(f"needs {SHARED}")
    shares = []
    with tarfile.open(SHARED / f"{name}.tar") as tar:
        for member in tar.getmembers()[:60]:
            tar.extract(member, tmp_path, filter="data")
            source = read_clip(tmp_path / member.name)
            spans = segment(np.concatenate((pause(1), source, pause(1.5))))
            shares.append(covered(source, spans, padding=16_000))
    assert np.mean(shares) > 0.999
    assert np.min(shares) > 0.98


def test_the_defaults_are_what_was_measured():
    assert SegmenterConfig() == SegmenterConfig(400, 200, 120, 700, 1_000, 8_000, 30_000)
    assert WebRtcGate().frame_samples == 320
