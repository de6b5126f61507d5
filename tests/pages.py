"""The documentation's pages, and the blocks of code in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def examples(page, language=""):
    """A page's blocks of code that are marked as of a language, or as of none."""
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for marked, text in blocks if marked == language]
