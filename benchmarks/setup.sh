#!/bin/sh
# The recognisers that benchmarks/run.py compares with, in an environment of their own. Their models: `make teacher`.
set -eu
place="${XDG_CACHE_HOME:-$HOME/.cache}/rtstream/benchmarks"
mkdir -p "$place"
[ -x "$place/venv/bin/python" ] || python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --only-binary=:all: faster-whisper==1.2.1 pocketsphinx==5.1.1 moonshine-cpp==0.1.4
