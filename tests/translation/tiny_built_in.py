"""A translation model that has learnt twenty sentences by heart, and its bundle."""

from rtstream.export.bundles import save_text_bundle
from rtstream.training.text.translation import load_translation_checkpoint, make_translation_trainer
from tests.training.tiny_pairs import make_recipe, write_pairs


def save_learnt_model(folder):
    """The bundle's directory in ``folder``, which gets texts and a run too."""
    write_pairs(folder / "texts")
    recipe = make_recipe(
        noise={"as_written": 1.0, "join": 0.0, "copy_names": 0.3},
        optimizer={
            "steps": 450,
            "pairs": 40,
            "lr": 5e-3,
            "warmup": 10,
            "decay": 150,
            "label_smoothing": 0.0,
            "average": 0.9,
        },
    )
    trainer = make_translation_trainer(recipe, directory=folder / "run", texts=[folder / "texts"])
    trainer.run(lambda _: None, workers=0)
    model, tokenizer = load_translation_checkpoint(folder / "run")
    save_text_bundle(folder / "bundle", "tiny", model, tokenizer, "card")
    return folder / "bundle"
