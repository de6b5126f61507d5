#!/usr/bin/env bash
# Build rtstream's wheel, which has the models that ship in it. Prints its path; the checkout stays as it is.
#
#     deploy/make-wheel.sh PYTHON FOLDER        for example: deploy/make-wheel.sh python3 dist
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:?usage: make-wheel.sh PYTHON FOLDER}
folder=${2:?usage: make-wheel.sh PYTHON FOLDER}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! "$python" -m pip --version >/dev/null 2>&1; then # Debian's has none outside of a virtual environment
    "$python" -m venv "$work/venv" || {
        echo "wheel: error: '$python' has neither pip nor venv: on Debian, sudo apt-get install python3-venv" >&2
        exit 1
    }
    python=$work/venv/bin/python
fi
# In the checkout's own build folder setuptools would find, and pack, what has since been removed from the checkout.
printf '[build]\nbuild_base = %s\n[egg_info]\negg_base = %s\n' "$work/build" "$work" >"$work/extra.cfg"
mkdir -p "$work/build" "$work/wheel" "$folder"
DIST_EXTRA_CONFIG=$work/extra.cfg "$python" -m pip wheel -qq --disable-pip-version-check --no-deps \
    --wheel-dir "$work/wheel" "$root"
for model in base tiny en-x-small; do
    # Not "grep -q": what writes into the pipe would end by an error.
    "$python" -m zipfile -l "$work"/wheel/*.whl | grep "^rtstream/models/$model/model.safetensors " >/dev/null || {
        echo "wheel: error: models/$model is not in this checkout: get it whole, then build again" >&2
        exit 1
    }
done
wheel=$(basename "$work"/wheel/*.whl)
mv "$work/wheel/$wheel" "$folder/$wheel"
echo "$folder/$wheel"
