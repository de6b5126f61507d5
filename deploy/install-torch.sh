#!/usr/bin/env bash
# Install the CPU build of torch, in the version that pyproject.toml asks for: on Linux, plain "pip install torch"
# brings gigabytes of CUDA.
#
#     deploy/install-torch.sh PYTHON        PYTHON: of the virtual environment, for example .venv/bin/python
#
# RTSTREAM_TORCH_INDEX in the environment names another package index than PyTorch's own, such as a mirror.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:?usage: install-torch.sh PYTHON}
index=${RTSTREAM_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
version=$(sed -nE 's/^ *"torch==([0-9.]+)".*/\1/p' "$root/pyproject.toml")
pip=("$python" -m pip --disable-pip-version-check)

fail() {
    echo "setup: error: $*" >&2
    exit 1
}

# Prints "cpu" when the wanted version is there without CUDA, "other" when it is another one. Reads torch's version
# file alone: torch itself may lack, for now, the packages that it needs.
installed() {
    "$python" - "$version" <<'PYTHON'
import importlib.util, pathlib, runpy, sys
spec = importlib.util.find_spec("torch")
if spec and spec.origin:
    torch = runpy.run_path(str(pathlib.Path(spec.origin).with_name("version.py")))
    wanted = torch["__version__"].split("+")[0] == sys.argv[1] and torch["cuda"] is None
    print("cpu" if wanted else "other")
PYTHON
}

[ "$(installed)" != cpu ] || exit 0

# Builds with the local version "+cpu" are never on PyPI: if pip finds one, it lies in a folder or index that this
# machine's pip configuration names (find-links, a mirror), and it comes from there.
if "${pip[@]}" install --dry-run --no-deps -qqq "torch==$version+cpu" >/dev/null 2>&1; then
    echo "setup: installing torch $version, CPU build, from where pip's configuration says"
    "${pip[@]}" install --no-deps -qq "torch==$version+cpu"
else
    echo "setup: installing torch $version, CPU build, from $index"
    "${pip[@]}" install --no-deps -qq --retries 2 --force-reinstall --index-url "$index" "torch==$version" ||
        fail "no CPU build of torch $version for $("$python" --version) on $(uname -m) could be had from $index;" \
            "with the wheel in a folder, set PIP_FIND_LINKS to it"
fi

[ "$(installed)" = cpu ] || fail "what was installed is not the CPU build of torch $version"
