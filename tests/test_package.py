"""The package as a whole: what importing it costs, and that it declares what it uses."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import rtstream
from rtstream.bundle.default import PACKAGES

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rtstream"
WITH_TORCH = (
    "nn",
    "training",
    "evaluation",
    "export",
    "research",
    "engine/torch_int8.py",
    "cli/ablation.py",
    "cli/eval_translation.py",
    "cli/model_export.py",
    "cli/model_report.py",
    "cli/train.py",
)
"""What torch is an extra of: all else does without."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("module", ["rtstream", "rtstream.events", "rtstream.errors", "rtstream.cli.main"])
def test_import_needs_neither_torch_nor_numpy(module):
    program = f"import sys, {module}; sys.exit(', '.join({{'torch', 'numpy'}} & sys.modules.keys()) or 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_changelog_knows_the_version():
    assert f"## [{rtstream.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_imported_package_is_a_declared_dependency(path):
    declared = _names(PROJECT["dependencies"])
    if any(PACKAGE / each in path.parents for each in ("training", "evaluation", "export", "research")):
        extras = PROJECT["optional-dependencies"]
        declared |= _names(extras["train"]) | _names(extras["portuguese"])
    if any(path.is_relative_to(PACKAGE / each) for each in WITH_TORCH):
        declared |= _names(PROJECT["optional-dependencies"]["torch"])
    if path.parent.parent == PACKAGE / "adapters":  # each has an extra of its name
        declared |= _names(PROJECT["optional-dependencies"][path.parent.name])
    distributions = packages_distributions()
    for name in _imported(path) - set(sys.stdlib_module_names) - {"rtstream"}:
        if name == "__future__":
            continue
        providers = {_canonical(provider) for provider in distributions.get(name, [name])}
        assert providers & declared, f"{path} imports {name}, which pyproject.toml does not declare"


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def _names(requirements: list[str]) -> set[str]:
    return {_canonical(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_package_of_a_model_is_for_this_version_alone():
    for name, _ in PACKAGES.values():
        project = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())["project"]
        assert (project["name"], project["version"]) == (name, rtstream.__version__)
        assert project["dependencies"] == [f"rtstream=={rtstream.__version__}"]


def packed(project, folder):
    """Paths of the files in what setuptools makes of the project in a folder."""
    folder.mkdir()
    (folder / "build.cfg").write_text(f"[build]\nbuild_base = {folder}\n[egg_info]\negg_base = {folder}\n")
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import setuptools; setuptools.setup()",
            "-q",
            "build_py",
            "--build-lib",
            folder / "lib",
        ],
        cwd=project,
        env={**os.environ, "DIST_EXTRA_CONFIG": str(folder / "build.cfg")},
        check=True,
        capture_output=True,
    )
    return {str(path.relative_to(folder / "lib")) for path in (folder / "lib").rglob("*")}


@pytest.mark.slow
def test_every_model_is_in_one_package_with_all_its_files(tmp_path):
    own = packed(ROOT, tmp_path / "own")
    multi = packed(ROOT / "packages/rtstream-multi", tmp_path / "multi")
    models = {str(path.relative_to(ROOT)) for path in (ROOT / "models").glob("*/*")}
    assert models == {name.removeprefix("rtstream/") for name in own if re.match("rtstream/models/.*/", name)} | {
        name.replace("rtstream_multi/", "models/") for name in multi if "/multi/" in name
    }
    assert not [name for name in own if "multi/" in name]


def test_it_is_the_service_wherever_a_user_reads():
    pages = [
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        *ROOT.glob("protos/**/*.proto"),
    ]
    told = [
        (page.name, line) for page in pages for line in page.read_text().splitlines() if re.search(r"\bdaemon\b", line)
    ]
    assert [line for _, line in told if "tests.daemon" not in line] == []
