#!/usr/bin/env bash
# Build rtstream's wheels: its own, with the models that it always has, and rtstream-multi's, which is a model of ten
# languages alone. Prints their paths, one a line, its own first; the checkout stays as it is.
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
mkdir -p "$folder"

build() { # SOURCE MODELS...: the files of each model that must be in it
    local source=$1 model wheel
    # In the source's own build folder setuptools would find, and pack, what has since been removed from it.
    rm -rf "$work/build" "$work/wheel"
    mkdir -p "$work/build" "$work/wheel"
    printf '[build]\nbuild_base = %s\n[egg_info]\negg_base = %s\n' "$work/build" "$work/build" >"$work/extra.cfg"
    DIST_EXTRA_CONFIG=$work/extra.cfg "$python" -m pip wheel -qq --disable-pip-version-check --no-deps \
        --wheel-dir "$work/wheel" "$source"
    for model in "${@:2}"; do
        # Not "grep -q": what writes into the pipe would end by an error.
        "$python" -m zipfile -l "$work"/wheel/*.whl | grep "^$model/model.safetensors " >/dev/null || {
            echo "wheel: error: models/${model##*/} is not in this checkout: get it whole, then build again" >&2
            exit 1
        }
    done
    wheel=$(basename "$work"/wheel/*.whl)
    mv "$work/wheel/$wheel" "$folder/$wheel"
    echo "$folder/$wheel"
}

build "$root" rtstream/models/{base,tiny,en-x-small}
build "$root/packages/rtstream-multi" rtstream_multi/multi
