#!/usr/bin/env bash
# The wheel alone, in a virtual environment that has nothing else, far from this checkout: it brings no torch and the
# models, and recognises. Needs a package index.
#
#     scripts/test-wheel.sh PYTHON WHEEL
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:?usage: test-wheel.sh PYTHON WHEEL}
wheel=$(realpath "${2:?usage: test-wheel.sh PYTHON WHEEL}")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH RTSTREAM_MODEL
export XDG_CACHE_HOME=$work/cache
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check "$wheel"
echo "wheel: $(du -m "$wheel" | cut -f1) MB; installed with all that it needs: $(du -sm "$work/venv" | cut -f1) MB"

cp "$root/tests/data/cv-laundry.wav" "$work/x.wav"
cd "$work"
fail() {
    echo "wheel: error: $*" >&2
    exit 1
}
[ -z "$(find venv -maxdepth 5 -name torch -type d)" ] || fail "it brings torch"
for model in base tiny; do
    text=$(venv/bin/rtstream replay --model "$model" x.wav 2>"$model.log") || fail "$(tail -n 1 "$model.log")"
    grep -qi laundry <<<"$text" || fail "$model hears: $text"
    echo "$model: $text"
done
venv/bin/rtstream replay --translate es x.wav
echo "wheel: right"
