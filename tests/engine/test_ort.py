"""The engine of ONNX Runtime computes what torch does, packs each matrix once, and keeps what it packed."""

import json
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from rtstream.bundle.files import WEIGHTS, read_tensors
from rtstream.cli.options import RecognizerOptions
from rtstream.config import Recognition
from rtstream.engine.open import load_bundle, load_text_bundle
from rtstream.engine.ort import front_end, tensors
from rtstream.engine.ort import open as opening
from rtstream.engine.ort.graph import Graph
from rtstream.engine.ort.networks import encoder_graph
from rtstream.engine.ort.sessions import LARGE, MANIFEST, Parts, Session, whole
from rtstream.engine.ort.tensors import Quantized, unsaturated
from rtstream.export.bundles import save_bundle, save_text_bundle
from rtstream.export.rounding import Rounding
from rtstream.model.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    StackConfig,
    TextModelConfig,
)
from rtstream.model.shapes import SCALE
from rtstream.nn.model import SpeechModel
from rtstream.nn.quantized import _unsaturated
from rtstream.nn.text_model import TextModel
from tests.bundle.tiny_tokenizer import make_tokenizer
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle
from tests.translation.tiny_random import make_pieces

TOKENIZER = make_tokenizer()
SIZES = {"d_model": 64, "heads": 4, "ffn": 96, "layers": 4}
MEL = {**SIZES, "n_mels": 20, "left_context": 24, "max_frames": 200}
WAVE = {**MEL, "front_end": "wave", "positions": "rope", "rotary": 8}
ENCODERS = {
    "mel": EncoderConfig(**MEL),
    "mel, two passes": EncoderConfig(**MEL, share=2, rank=6, diagonal=True, whole=True),
    "mel, two private parts": EncoderConfig(**MEL, share=4, rank=6, diagonal=True, whole=True, whole_rank=4),
    "mel, no shared part": EncoderConfig(**MEL, full_rank=False, rank=20, layer_scale=True),
    "wave, two passes": EncoderConfig(**WAVE, share=2, rank=6, diagonal=True, whole=True),
    "wave": EncoderConfig(**WAVE),
}
ALIGNING = ((1, 0), (3, 1), (3, 2))
DECODERS = {
    "mel": DecoderConfig(len(TOKENIZER), **SIZES, max_tokens=60, alignment_heads=ALIGNING),
    "wave": DecoderConfig(len(TOKENIZER), **SIZES, max_tokens=60, alignment_heads=ALIGNING, rotary=8, mlp="swiglu"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    return tmp_path / "cache/rtstream"


def randomize(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith((".a", ".b", ".d", "bias", "norm.weight", "scale")):
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def engines(path, name):
    """Torch's in float, of the same rounded weights, and that of ONNX Runtime."""
    config = ModelConfig(ENCODERS[name], DECODERS[name[:4].strip(",")], voice=name.startswith("wave"))
    save_bundle(path / "bundle", "some", randomize(SpeechModel(config)), TOKENIZER, "", rounding=Rounding(8))
    return load_bundle(path / "bundle", "float").engine, load_bundle(path / "bundle", "onnx").engine


def features(config, seconds=1.5):
    rng = np.random.default_rng(0)
    if config.front_end == "wave":
        return (0.1 * rng.standard_normal(int(16_000 * seconds))).astype(np.float32)
    return rng.standard_normal((int(100 * seconds), config.n_mels)).astype(np.float32)


def same(found, wanted, tolerance=0.05):
    """Equal but for what int8 activations round away."""
    assert found.shape == wanted.shape
    assert np.linalg.norm(found - wanted) <= tolerance * np.linalg.norm(wanted) + 1e-6


@pytest.mark.parametrize("name", ENCODERS)
def test_both_passes_give_the_states_that_torch_gives(tmp_path, name):
    wanted, found = engines(tmp_path, name)
    config = ENCODERS[name]
    given = features(config)
    count = config.frames(len(given))
    same(*(each.encoder.full(given, length=len(given), wanted=count - 3) for each in (found, wanted)))
    states = []
    for each in (found, wanted):
        state, settled = each.encoder.initial_state(), []
        for start in range(0, len(given), 1 + len(given) // 7):
            block = given[start : start + 1 + len(given) // 7]
            last = start + len(block) == len(given)
            encoded, state = each.encoder.step(block, state, 8, ahead=3, last=last)
            settled.append(encoded.settled)
        assert len(encoded.open) == 0
        states.append(np.concatenate(settled))
    same(*states)
    assert len(states[0]) == count


@pytest.mark.parametrize("name", ["mel", "wave"])
def test_heads_and_decoder_give_what_torchs_give(tmp_path, name):
    wanted, found = engines(tmp_path, name)
    states = np.random.default_rng(1).standard_normal((30, 64)).astype(np.float32)
    same(found.ctc(states), wanted.ctc(states))
    assert (found.voice(states) is None) is (wanted.voice(states) is None) is (name == "mel")
    if name == "wave":
        same(found.voice(states), wanted.voice(states))
    results = []
    for each in (found, wanted):
        decoder = each.decoder
        state = decoder.cross_keys(states[:12], decoder.initial_state(5))
        state = decoder.cross_keys(states[12:], state.without(2))
        first = decoder.decode([3, 8, 1, 9], state)
        assert (first.state.tokens, first.state.frames) == (4, 28)
        second = decoder.decode([5, 7, 2], first.state.rewound(3), scored=2)
        batch = second.state.batch()
        logits, batch = decoder.decode_batch(np.array([[4]]), batch)
        batch = batch.select([0, 0, 0])
        more, batch = decoder.decode_batch(np.array([[1], [2], [3]]), batch)
        chosen, _ = decoder.decode_batch(np.array([[1], [2]]), batch.select([2, 0]))
        results.append((first.logits, first.attention, second.logits, second.attention, logits, more, chosen))
    for mine, theirs in zip(*results, strict=True):
        same(mine, theirs)


def test_more_than_there_are_positions_is_refused(tmp_path):
    _, found = engines(tmp_path, "mel")
    with pytest.raises(ValueError, match="201 frames are more than the 200 positions"):
        found.encoder.full(features(ENCODERS["mel"], 4.02), length=402, wanted=201)
    state = found.decoder.cross_keys(np.zeros((2, 64), np.float32), found.decoder.initial_state())
    with pytest.raises(ValueError, match="61 tokens are more than the 60"):
        found.decoder.decode([1] * 61, state)


def test_translation_gives_what_torchs_gives(tmp_path):
    pieces = make_pieces()
    stack = StackConfig(**SIZES, share=2, rank=6, diagonal=True)
    config = TextModelConfig(stack, DecoderConfig(len(pieces), **SIZES, max_tokens=60))
    save_text_bundle(tmp_path / "text", "some", randomize(TextModel(config)), pieces, "", rounding=Rounding(8))
    wanted, found = (load_text_bundle(tmp_path / "text", name).engine for name in ("float", "onnx"))
    source = np.array([[5, 6, 7, 8, 2], [5, 9, 2, 0, 0]])
    tokens = np.array([[5, 7], [5, 3]])
    results = []
    for each in (found, wanted):
        logits, state = each.decode_batch(tokens, each.encode(source, [5, 3]))
        more, _ = each.decode_batch(np.array([[4], [4]]), state.select([1, 1]))
        results.append([logits, more])
    for mine, theirs in zip(*results, strict=True):
        same(mine, theirs)


@pytest.mark.parametrize("name", ["mel, two passes", "mel, two private parts"])
def test_a_shared_matrix_is_packed_once_for_its_layers_and_both_passes(tmp_path, name):
    config = ENCODERS[name]
    _, found = engines(tmp_path, name)
    model = ModelConfig(config, DECODERS["mel"])
    state = Quantized(read_tensors(tmp_path / "bundle" / WEIGHTS, model, "int8-deflate"), [])
    graph = encoder_graph(config, state).model().graph
    passes = passes_of(graph)
    uses = Counter()
    for nodes in passes:
        products = Counter(node.input[1] for node in nodes if node.op_type == "DynamicQuantizeMatMul")
        assert {each: count for each, count in products.items() if ".groups." in each} == dict.fromkeys(
            (f"encoder.groups.{g}.{p}.weight" for g in range(config.groups) for p in ("qkv", "out", "ff1", "ff2")),
            config.share,
        )
        uses += products
    assert len(passes) == (2 if config.whole else 1)
    assert Counter(each.name for each in graph.initializer).most_common(1)[0][1] == 1
    assert set(uses) == set(found.packed)
    # What was packed lies in the cache, once for each but the smallest.
    large = [each for each in uses if state[each].size >= LARGE]
    assert len(large) >= 4 * config.groups
    (folder,) = (tmp_path / "cache/rtstream").iterdir()
    assert (folder / "encoder.onnx").read_bytes().count(b"DynamicQuantizeMatMul+") == len(large)


def passes_of(graph):
    """The nodes of each pass."""
    branches = [attribute.g for node in graph.node if node.op_type == "If" for attribute in node.attribute]
    return [each.node for each in branches] or [graph.node]


@pytest.mark.parametrize("name", ["mel, two passes", "mel, two private parts"])
def test_full_context_computes_nothing_that_is_the_chunks_own(tmp_path, name):
    engines(tmp_path, name)
    state = read_tensors(tmp_path / "bundle" / WEIGHTS, ModelConfig(ENCODERS[name], DECODERS["mel"]), "int8-deflate")
    chunks, full = (
        {given for node in nodes for given in node.input if given.startswith(("encoder.layers.", "encoder.whole."))}
        for nodes in passes_of(encoder_graph(ENCODERS[name], Quantized(state, [])).model().graph)
    )
    assert any(each.endswith(".b") for each in chunks)
    assert all(each.startswith("encoder.whole.") for each in full)
    assert any(each.endswith(".b") for each in full) is (ENCODERS[name].whole_rank > 0)


def test_a_long_segment_is_computed_in_blocks_to_the_same_bits(tmp_path, monkeypatch):
    _, found = engines(tmp_path, "wave")
    given = features(ENCODERS["wave"], 3.0)
    whole_segment = found.encoder.full(given, length=len(given), wanted=20)
    monkeypatch.setattr(front_end, "BLOCK", 16)
    assert np.array_equal(found.encoder.full(given, length=len(given), wanted=20), whole_segment)


def test_frames_are_held_once_by_states_that_extend_one_another(tmp_path):
    _, found = engines(tmp_path, "mel")
    states = np.random.default_rng(1).standard_normal((30, 64)).astype(np.float32)
    decoder = found.decoder
    before = decoder.cross_keys(states[:12], decoder.initial_state())
    wanted = decoder.decode([3, 8], before).logits
    after = decoder.cross_keys(states[12:], before)
    assert after.cross_keys is before.cross_keys
    assert np.array_equal(decoder.decode([3, 8], before).logits, wanted)
    at_once = decoder.cross_keys(states, decoder.initial_state())
    same(decoder.decode([3, 8], after).logits, decoder.decode([3, 8], at_once).logits)


def test_a_later_start_takes_what_was_packed_and_reads_no_weights(tmp_path, monkeypatch):
    path = save_tiny_bundle(tmp_path / "bundle")
    first = load_bundle(path, "onnx").engine
    monkeypatch.setattr("rtstream.engine.open.read_tensors", lambda *_: pytest.fail("the weights were read"))
    second = load_bundle(path, "onnx").engine
    states = np.random.default_rng(0).standard_normal((9, 32)).astype(np.float32)
    assert np.array_equal(first.ctc(states), second.ctc(states))


def written(path, family, name):
    """The encoder's graph of a bundle."""
    engines(path, name)
    config = ModelConfig(ENCODERS[name], DECODERS[family], voice=family == "wave")
    return encoder_graph(config.encoder, Quantized(read_tensors(path / "bundle" / WEIGHTS, config, "int8-deflate"), []))


def holds(read, graph):
    """Whether what was read has the constants of the graph and no others."""
    found = {each.name: numpy_helper.to_array(each) for each in read.graph.initializer}
    constants = dict(graph._constants())
    return found.keys() == constants.keys() and all(np.array_equal(found[name], constants[name]) for name in found)


@pytest.mark.parametrize(("family", "name"), [("mel", "mel, two passes"), ("wave", "wave, two passes")])
def test_what_is_written_is_what_the_format_has(tmp_path, family, name):
    graph = written(tmp_path, family, name)
    data = graph.model().SerializeToString()
    read = onnx.ModelProto.FromString(data)
    assert read.SerializeToString() == data
    onnx.checker.check_model(read)
    assert holds(read, graph)


def test_constants_in_files_of_their_own_are_found_there(tmp_path):
    graph = written(tmp_path, "wave", "wave")
    folder = tmp_path / "graph"
    folder.mkdir()
    read = onnx.load(graph.save(folder))
    assert any(folder.glob("*.bin"))
    assert holds(read, graph)


class Made(Mapping):
    """Sixteen matrices, of which each is made when it is asked for."""

    def __getitem__(self, name):
        if name.endswith(SCALE):
            return np.ones(512, np.float32)
        return np.full((512, 512), int(name), np.int8)

    def __iter__(self):
        return map(str, range(16))

    def __len__(self):
        return 16


def test_a_graph_is_written_with_one_of_its_matrices_in_memory_at_a_time(tmp_path):
    graph = Graph(Made())
    x = graph.input("x", [None, 512])
    for name in graph.state:
        x = graph.product(graph.rows(x), name)
    graph.output(x, "y", 2)
    tracemalloc.start()
    try:
        path = graph.save(tmp_path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 5 * 512 * 512
    given = {"x": np.random.default_rng(0).standard_normal((3, 512)).astype(np.float32)}
    found, wanted = (Session(each, 1).run(given)["y"] for each in (path, graph.model().SerializeToString()))
    assert np.array_equal(found, wanted)


def test_a_first_start_leaves_nothing_but_what_later_ones_map(tmp_path, cache):
    load_bundle(save_tiny_bundle(tmp_path / "bundle"), "onnx")
    (folder,) = cache.iterdir()
    assert {each.suffix for each in folder.iterdir()} == {".onnx", ".bin", ".npy", ".json"}
    assert {each.name for each in folder.iterdir()} == {MANIFEST, *json.loads((folder / MANIFEST).read_text())}


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "no manifest"])
def test_a_damaged_cache_is_made_anew(tmp_path, cache, damage):
    path = save_tiny_bundle(tmp_path / "bundle")
    load_bundle(path, "onnx")
    (folder,) = cache.iterdir()
    file = folder / (MANIFEST if damage == "no manifest" else "decoder.bin")
    data = file.read_bytes()
    file.unlink()  # it may be mapped
    if damage == "cut":
        file.write_bytes(data[:-10])
    elif damage == "changed":
        file.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    assert not whole(folder)
    load_bundle(path, "onnx")
    assert whole(folder)
    assert [each.name for each in cache.iterdir()] == [folder.name]


def test_a_cache_of_other_weights_is_another(tmp_path, cache):
    load_bundle(save_tiny_bundle(tmp_path / "one"), "onnx")
    other = save_tiny_bundle(tmp_path / "other")
    manifest = json.loads((other / "bundle.json").read_text())
    engine = load_bundle(other, "onnx").engine
    assert len(list(cache.iterdir())) == len({manifest["sha256"][WEIGHTS]} | {_weights(tmp_path / "one")})
    assert engine.name == "onnx"


def _weights(path):
    return json.loads((path / "bundle.json").read_text())["sha256"][WEIGHTS]


def test_where_nothing_can_be_kept_it_works_from_memory(tmp_path, monkeypatch):
    path = save_tiny_bundle(tmp_path / "bundle")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    states = np.random.default_rng(0).standard_normal((9, 32)).astype(np.float32)
    assert np.isfinite(load_bundle(path, "onnx").engine.ctc(states)).all()


def test_what_would_saturate_is_made_coarser_as_torchs_is():
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (20, 31), np.int8)
    weight[:5] //= 4
    scale = rng.random(20).astype(np.float32)
    wanted = _unsaturated(torch.from_numpy(weight), torch.from_numpy(scale))
    for mine, theirs in zip(unsaturated(weight, scale), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-6)


@pytest.mark.parametrize("saturates", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_rounded_in_blocks_a_matrix_is_the_same(monkeypatch, scaled, saturates):
    rng = np.random.default_rng(0)
    state = {"w": rng.standard_normal((2, 10, 31)).astype(np.float16)}
    if scaled:
        state = {"w": rng.integers(-127, 128, (2, 10, 31), np.int8), "w.scale": rng.random(20).astype(np.float32)}
    at_once = dict(Quantized(state, ["w"], saturates=saturates))
    monkeypatch.setattr(tensors, "BLOCK", 8)
    in_blocks = dict(Quantized(state, ["w"], saturates=saturates))
    assert at_once.keys() == in_blocks.keys() == {"w", "w.scale"}
    for name, wanted in at_once.items():
        assert (in_blocks[name].dtype, in_blocks[name].shape) == (wanted.dtype, wanted.shape)
        assert np.array_equal(in_blocks[name], wanted)


def test_processors_that_saturate_get_coarser_weights(tmp_path, monkeypatch):
    path = save_tiny_bundle(tmp_path / "bundle")
    given = []
    monkeypatch.setattr(opening, "saturates", lambda: True)
    monkeypatch.setattr(opening, "Quantized", lambda *a, **k: given.append(k) or Quantized(*a, **k))
    load_bundle(path, "onnx")
    assert given == [{"saturates": True}]


def test_a_recording_is_transcribed_without_torch(tmp_path):
    path = save_tiny_bundle(tmp_path / "bundle")
    code = "import sys; sys.modules['torch'] = None; from rtstream.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "replay", "--engine", "onnx", "--model", path, DATA / "cv-utica.flac"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ), timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_the_same_machine_hears_the_same_after_every_restart(tmp_path):
    path = save_tiny_bundle(tmp_path / "bundle")  # whose letters any other rounding changes
    (tmp_path / "file").write_text("no folder")
    heard = []
    for cache in ("cache", "cache", "file", "other"):  # packs; maps what was packed; cannot keep it; packs again
        command = [sys.executable, "-c", "import sys; from rtstream.cli.main import main; sys.exit(main())"]
        command += ["replay", "--format", "jsonl", "--partials", "ctc", "--model", path, DATA / "cv-utica.flac"]
        environment = os.environ | {"CACHE_DIRECTORY": "", "XDG_CACHE_HOME": str(tmp_path / cache)}
        heard.append(subprocess.run(command, capture_output=True, check=True, env=environment, timeout=300).stdout)
    assert heard[0].count(b"\n") > 2
    assert heard == heard[:1] * 4


def test_onnx_is_the_engine_also_where_torch_is_installed(tmp_path):
    path = save_tiny_bundle(tmp_path / "bundle")
    assert load_bundle(path).engine.name == load_bundle(path, "auto").engine.name == "onnx"
    assert Recognition().engine == RecognizerOptions().engine == "onnx"


PRIVATE = """
import os, sys
from pathlib import Path
from rtstream.engine.open import load_bundle
load_bundle(Path(sys.argv[1]), "onnx")
links = [os.readlink(entry) for entry in os.scandir("/proc/self/fd") if os.path.exists(entry)]
print(os.environ["ORT_DISABLE_TELEMETRY"], "torch" in sys.modules, [link for link in links if "socket" in link])
"""


def test_nothing_is_reported_and_nothing_written_but_the_cache(tmp_path):
    path = save_tiny_bundle(tmp_path / "bundle")
    home = tmp_path / "home"
    home.mkdir()
    names = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "TMPDIR")
    environment = os.environ | dict.fromkeys(names, str(home)) | {"ORT_DISABLE_TELEMETRY": "0"}
    command = [sys.executable, "-B", "-c", PRIVATE, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert (done.stdout, done.stderr) == ("1 False []\n", "")
    assert [each.name for each in home.iterdir()] == ["rtstream"]


def test_threads_are_those_that_were_asked_for(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(opening, "Parts", lambda threads, **k: seen.append(threads) or Parts(threads, **k))
    load_bundle(save_tiny_bundle(tmp_path / "bundle"), "onnx", threads=2)
    assert seen.count(2) == 2  # what writes, and what reads
