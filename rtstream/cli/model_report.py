"""The numbers of ``rtstream model info``: gathered as plain data, and laid out as tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rtstream.bundle.bundle import read_manifest
from rtstream.bundle.config import from_dict
from rtstream.bundle.default import shipped_model
from rtstream.bundle.files import WEIGHTS, tensor_bytes
from rtstream.bundle.pieces import PieceTokenizer
from rtstream.bundle.text_bundle import PIECES, holds_text_model, read_text_manifest
from rtstream.bundle.text_config import text_config_from_dict
from rtstream.model.accounting import (
    FLOAT32,
    encoder_bytes_int8,
    encoder_parameters,
    group_parameters,
    model_bytes_int8,
    model_parameters,
    packed_buffers,
    part_of,
    unshared,
)
from rtstream.model.config import EncoderConfig, ModelConfig, TextModelConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rtstream.model.config import StackConfig

CHECKPOINT = "checkpoint.pt"
SIZES = {"unshared_fp32": "unshared fp32", "shared_fp32": "shared fp32", "shared_int8": "shared int8"}
"""Bytes in memory, and their headings."""
ON_DISK = {"on_disk": "on disk"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; ``total``: it sums up those above."""

    cells: tuple[str, ...]
    total: bool = False


Sizes = EncoderConfig | ModelConfig | TextModelConfig
"""A recipe for speech knows those of its encoder alone."""
Layout = tuple[str, "Sequence[str]", "Sequence[Row]"]


@dataclass(frozen=True, slots=True)
class Report:
    """``data`` is what ``--json`` prints: sizes, and numbers of parameters and bytes by part.

    ``shared_int8`` is what int8 inference holds in memory; ``on_disk``, of a bundle alone, what its file holds.
    """

    data: dict[str, Any]

    def tables(self) -> Iterator[Layout]:
        """(title, columns, rows) of the whole, and of the encoder's groups."""
        sizes = SIZES | ON_DISK if "weights_file_bytes" in self.data else SIZES
        columns = ("part", "parameters", *sizes.values())
        rows: list[Row] = []
        for name in ("encoder", "rest"):
            section = self.data.get(name)
            if section is None:
                continue
            rows += [_row(part, counts, sizes) for part, counts in section["parts"].items()]
            if name == "encoder":
                rows.append(_row("encoder", section["total"], sizes, total=True))
        if "total" in self.data:
            rows.append(_row("model", self.data["total"], sizes, total=True))
        yield f"{self.data['name']}", columns, rows

        groups = self.data["encoder"]["groups"]
        parts = list(groups[0]["parameters"])
        lines = [
            Row((f"{g['layers'][0]}-{g['layers'][-1]}", *(_count(n) for n in g["parameters"].values()))) for g in groups
        ]
        yield "parameters of each group", ("layers", *parts), lines

    def notes(self) -> Iterator[str]:
        """What else there is to know, a line each."""
        encoder = self.data["encoder"]
        ratios = encoder["ratio_to_unshared_fp32"]
        yield (
            f"encoder: shared fp32 is {ratios['shared_fp32']:.1%} of unshared fp32, "
            f"shared int8 {ratios['shared_int8']:.1%} (1/{1 / ratios['shared_int8']:.1f})"
        )
        buffers = encoder["packed_buffers"]
        yield f"packed int8 buffers of the encoder: {buffers['full-rank']} shared, {buffers['low-rank']} low-rank"
        yield "shared int8: as it is in memory"
        if "weights_file_bytes" in self.data:
            yield f"weights' file: {_megabytes(self.data['weights_file_bytes'])}, matrices {self.data['weights']}"
        if "languages" in self.data:
            yield f"translates into {', '.join(self.data['languages'])}"
        if "recognized_languages" in self.data:
            yield f"recognises {', '.join(self.data['recognized_languages'])}"


def make_report(target: str) -> Report:
    """The report of a bundle, a run or a recipe. Raises BundleError or TrainingError where it is none of them."""
    name, config, stored, extra = _find(target)
    encoder = config if isinstance(config, EncoderConfig) else config.encoder
    data: dict[str, Any] = {"name": name, "encoder": _encoder(encoder, stored)} | extra
    if not isinstance(config, EncoderConfig):
        parameters, held = model_parameters(config), model_bytes_int8(config)
        own = encoder_parameters(encoder)
        rest = {part: _sizes(n, n, held[part], _at(stored, part)) for part, n in parameters.items() if part not in own}
        data["rest"] = {"parts": rest}
        data["total"] = _summed([data["encoder"]["total"], *rest.values()])
    return Report(data)


def _encoder(config: StackConfig, stored: dict[str, int] | None) -> dict[str, Any]:
    parameters, plain = encoder_parameters(config), encoder_parameters(unshared(config))
    held = encoder_bytes_int8(config)
    parts = {part: _sizes(n, plain[part], held[part], _at(stored, part)) for part, n in parameters.items()}
    total = _summed(list(parts.values()))
    group = group_parameters(config)
    return {
        "config": asdict(config),
        "parts": parts,
        "total": total,
        "groups": [
            {"layers": list(range(g * config.share, (g + 1) * config.share)), "parameters": group}
            for g in range(config.groups)
        ],
        "ratio_to_unshared_fp32": {size: total[size] / total["unshared_fp32"] for size in list(SIZES)[1:]},
        "packed_buffers": packed_buffers(config),
    }


def _sizes(parameters: int, plain: int, held: int, stored: dict[str, int]) -> dict[str, int]:
    return {
        "parameters": parameters,
        "unshared_fp32": FLOAT32 * plain,
        "shared_fp32": FLOAT32 * parameters,
        "shared_int8": held,
        **stored,
    }


def _at(stored: dict[str, int] | None, part: str) -> dict[str, int]:
    """The bytes of a part on disk, where there is a file."""
    return {} if stored is None else {"on_disk": stored.get(part, 0)}


def _stored(path: Path) -> dict[str, int]:
    """Bytes of a file's tensors by part."""
    parts: Counter[str] = Counter()
    for name, size in tensor_bytes(path).items():
        parts[part_of(name)] += size
    return dict(parts)


def _summed(parts: list[dict[str, int]]) -> dict[str, int]:
    return {size: sum(part[size] for part in parts) for size in parts[0]}


def _find(target: str) -> tuple[str, Sizes, dict[str, int] | None, dict[str, Any]]:
    """Name, sizes, bytes on disk by part, and what else is known of a bundle, a run or a recipe."""
    path = shipped_model(target) or Path(target).expanduser()
    known: dict[str, Any] = {}
    if translates := holds_text_model(path):
        pieces = (path if path.is_dir() else path.parent) / PIECES
        known["languages"] = list(PieceTokenizer.load(pieces).languages)
    if path.is_dir() and not (path / CHECKPOINT).exists():
        name, config, weights = read_text_manifest(path) if translates else read_manifest(path)[:3]
        if not translates:
            known["recognized_languages"] = list(read_manifest(path).languages)
        known |= {"weights": weights, "weights_file_bytes": (path / WEIGHTS).stat().st_size}
        return name, config, _stored(path / WEIGHTS), known

    # Only here: a machine that runs models has no need of what training needs.
    from rtstream.training.core.loop import read_checkpoint  # noqa: PLC0415
    from rtstream.training.recipe import find_recipe, load_recipe  # noqa: PLC0415
    from rtstream.training.speech.run import target_encoder  # noqa: PLC0415
    from rtstream.training.text.recipe import TranslationRecipe  # noqa: PLC0415
    from rtstream.training.text.translation import make_config  # noqa: PLC0415

    if path.is_dir() or path.suffix == ".pt":
        state = read_checkpoint(path / CHECKPOINT if path.is_dir() else path, torch.device("cpu"))
        read = text_config_from_dict if translates else from_dict
        return state["name"], read(state["config"]), None, known | {"step": state["step"]}
    recipe = load_recipe(find_recipe(target))
    if isinstance(recipe, TranslationRecipe):
        config = make_config(recipe.model, recipe.model.vocabulary)
        return recipe.name, config, None, {"languages": list(recipe.data.files)}
    return recipe.name, target_encoder(EncoderConfig(), recipe.encoder), None, {}


def _row(name: str, counts: dict[str, int], sizes: Iterable[str], *, total: bool = False) -> Row:
    return Row((name, _count(counts["parameters"]), *(_megabytes(counts[size]) for size in sizes)), total)


def _count(number: int) -> str:
    return f"{number:,}"


def _megabytes(number: int) -> str:
    return f"{number / 1e6:,.2f} MB"
