#!/usr/bin/env bash
# The wheels alone, in a virtual environment that has nothing else, far from this checkout: the first brings no torch and
# the models, and recognises; the second, if there is one, brings the model of ten languages. Needs a package index.
#
#     scripts/test-wheel.sh PYTHON WHEEL [WHEEL OF RTSTREAM-MULTI]
set -euo pipefail

usage="usage: test-wheel.sh PYTHON WHEEL [WHEEL OF RTSTREAM-MULTI]"
root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:?$usage}
wheel=$(realpath "${2:?$usage}")
multi=${3:+$(realpath "$3")}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH RTSTREAM_MODEL
export XDG_CACHE_HOME=$work/cache
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check "$wheel"
echo "wheel: $(du -m "$wheel" | cut -f1) MB; installed with all that it needs: $(du -sm "$work/venv" | cut -f1) MB"

cp "$root/tests/data/cv-laundry.wav" "$work/x.wav"
cp "$root/tests/data/languages/cv-pt-vez.flac" "$work/pt.flac"
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
if [ -n "$multi" ]; then
    for model in multi nope; do
        ! said=$(venv/bin/rtstream replay --model "$model" pt.flac 2>&1) || fail "$model is there before it is installed"
        grep -q 'pip install rtstream-multi' <<<"$said" || fail "nothing says how to get multi: $said"
    done
    venv/bin/python -m pip install -qq --disable-pip-version-check --no-index "$multi"
    echo "rtstream-multi: $(du -m "$multi" | cut -f1) MB; installed with it: $(du -sm venv | cut -f1) MB"
    text=$(venv/bin/rtstream replay --model multi pt.flac 2>multi.log) || fail "$(tail -n 1 multi.log)"
    grep -qi vez <<<"$text" || fail "multi hears: $text"
    echo "multi: $text"
fi
echo "wheel: right"
