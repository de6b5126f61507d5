"""A model's sizes in JSON: read back as they were, or refused with the key's name."""

import json
from dataclasses import replace

import pytest

from rtstream.bundle.config import from_dict, to_dict
from rtstream.errors import BundleError
from rtstream.model.config import DecoderConfig, EncoderConfig, ModelConfig

CONFIG = ModelConfig(
    EncoderConfig(layers=12, share=2, rank=32, diagonal=True, layer_scale=True),
    DecoderConfig(vocabulary=100, alignment_heads=((3, 1), (5, 7))),
)


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, encoder=EncoderConfig(), letters=" abc")])
def test_sizes_come_back_through_json(config):
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("encoder", "layers"), "6", r"model\.encoder\.layers: must be a count \(got '6'\)"),
        (("encoder", "layers"), True, r"model\.encoder\.layers: must be a count"),
        (("encoder", "layers"), -1, r"model\.encoder\.layers: must be a count"),
        (("encoder", "diagonal"), 1, r"model\.encoder\.diagonal: must be true or false"),
        (("encoder", "share"), 0, r"share \(0\) must be at least 1"),
        (("encoder", "share"), 5, r"layers \(12\) must be a multiple of share \(5\)"),
        (("encoder", "experts"), 5, r"model\.encoder\.experts: is unknown"),
        (("encoder",), None, r"model\.encoder: must be a table"),
        (("decoder", "alignment_heads"), "ab", r"model\.decoder\.alignment_heads: must be a list of"),
        (("decoder", "alignment_heads"), [["a", "b"]], r"model\.decoder\.alignment_heads: must be a list of"),
        (("decoder", "alignment_heads"), [[1, 2, 3]], r"model\.decoder\.alignment_heads: must be a list of"),
        (("decoder", "alignment_heads"), [[99, 0]], r"alignment_heads: there is no head 0 in layer 99"),
        (("decoder", "heads"), 7, r"d_model \(512\) must be a multiple of heads \(7\)"),
        (("letters",), 5, r"model\.letters: must be a string"),
        (("version",), 5, r"model\.version: is unknown"),
    ],
)
def test_wrong_value_is_one_error_that_names_the_key(path, value, message):
    data = to_dict(CONFIG)
    *parents, last = path
    table = data
    for key in parents:
        table = table[key]
    table[last] = value
    with pytest.raises(BundleError, match=message) as caught:
        from_dict(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["encoder", "decoder", "letters"])
def test_missing_key_is_named(key):
    data = to_dict(CONFIG)
    del data[key]
    with pytest.raises(BundleError, match=rf"model\.{key}: is missing"):
        from_dict(data)


@pytest.mark.parametrize("data", [None, [], "model", 3])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(BundleError, match="model: must be a table of keys"):
        from_dict(data)
