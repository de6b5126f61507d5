"""What matrices multiply is counted while clips are recognised, and makes up for rounding."""

import pytest
import torch

from rtstream.engine.open import load_bundle
from rtstream.export.bundles import save_bundle
from rtstream.export.calibrate import input_grams
from rtstream.export.rounding import Rounding
from rtstream.nn.quantized import quantized_names
from rtstream.training.corpus.data import load_shard
from tests.recognizer.tiny_bundle import save_tiny_bundle
from tests.training.tiny_training import write_data


@pytest.fixture
def bundle(tmp_path):
    return load_bundle(save_tiny_bundle(tmp_path / "bundle"), "float")


@pytest.fixture
def clips(tmp_path):
    write_data(tmp_path / "audio")
    return load_shard(tmp_path / "audio/speech")[:3]


def multiplied(bundle):
    """Names of the matrices that are called with rows."""
    return {
        name for name in quantized_names(bundle.engine.model) if name.endswith(".weight") and "embedding" not in name
    }


def test_every_matrix_that_multiplies_is_counted(bundle, clips):
    grams = input_grams(bundle, clips)
    assert set(grams) == multiplied(bundle)
    state = bundle.engine.model.state_dict()
    for name, gram in grams.items():
        assert gram.shape == (state[name].shape[1],) * 2
        torch.testing.assert_close(gram, gram.T)
        assert float(torch.linalg.eigvalsh(gram).min()) > -1e-4 * float(gram.diagonal().max())


def test_counting_changes_nothing_and_ends(bundle, clips):
    first, again = input_grams(bundle, clips), input_grams(bundle, clips)
    assert first.keys() == again.keys()
    for name, gram in first.items():
        torch.testing.assert_close(gram, again[name])
    assert not any(module._forward_pre_hooks for module in bundle.engine.model.modules())


def test_the_longer_one_hears_the_more_there_is(bundle, clips):
    some, all_of_them = input_grams(bundle, clips[:1]), input_grams(bundle, clips)
    for name, gram in some.items():
        assert float(gram.trace()) < float(all_of_them[name].trace())


def test_what_is_known_to_be_multiplied_is_stored_with_less_error(bundle, clips, tmp_path):
    grams = input_grams(bundle, clips)
    state = bundle.engine.model.state_dict()
    errors = {}
    for kind, given in (("plain", None), ("calibrated", grams)):
        save_bundle(
            tmp_path / kind, "some", bundle.engine.model, bundle.tokenizer, "", rounding=Rounding(4, grams=given)
        )
        stored = load_bundle(tmp_path / kind, "float").engine.model.state_dict()
        off = {name: (stored[name] - state[name]).double() for name in grams}
        errors[kind] = {name: float((off[name] @ grams[name] * off[name]).sum()) for name in grams}
    assert sum(errors["calibrated"].values()) < 0.8 * sum(errors["plain"].values())
    assert all(errors["calibrated"][name] <= 1.01 * errors["plain"][name] for name in grams)
