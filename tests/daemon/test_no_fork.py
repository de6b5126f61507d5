"""gRPC and torch have threads, and whatever forks a process with threads may hang in it."""

import ast
from pathlib import Path

import pytest

import rtstream

ROOT = Path(rtstream.__file__).parent
OFFLINE = {"training", "evaluation", "export", "research"}
LIVE = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in OFFLINE]
FORKING = {"multiprocessing", "concurrent.futures.process", "pty", "os.fork", "os.forkpty"}


@pytest.mark.parametrize("path", LIVE, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_the_service_runs_forks(path):
    tree = ast.parse(path.read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    named |= {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    starts = {name.partition(".")[0] for name in named}
    assert not (named | starts) & FORKING
    options = {keyword.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords}
    assert "preexec_fn" not in options
