#!/usr/bin/env bash
# Make, or bring up to date, a virtual environment with rtstream from this checkout in it.
#
#     scripts/make-venv.sh PYTHON FOLDER [EXTRAS]        for example: scripts/make-venv.sh python3 .venv train,dev
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
interpreter=${1:?usage: make-venv.sh PYTHON FOLDER [EXTRAS]}
folder=${2:?usage: make-venv.sh PYTHON FOLDER [EXTRAS]}
extras=${3:-}

fail() {
    echo "setup: error: $*" >&2
    exit 1
}

if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then # not there, or left half-made
    command -v "$interpreter" >/dev/null ||
        fail "there is no '$interpreter': install Python 3.11 or later, or name one: make setup PYTHON=/path/to/python"
    "$interpreter" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$interpreter" --version 2>&1) is too old, 3.11 or later is needed: make setup PYTHON=/path/to/python"
    "$interpreter" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "this Python cannot make virtual environments: on Debian, Ubuntu or Raspberry Pi OS, sudo apt-get install python3-venv"
    "$interpreter" -m venv --clear "$folder" || fail "cannot make a virtual environment in $folder"
fi

case ",$extras," in
    *,train,* | *,torch,*) torch=yes && "$root/deploy/install-torch.sh" "$folder/bin/python" ;;
    *) torch=no ;;
esac
echo "setup: installing rtstream and the packages that it needs"
"$folder/bin/python" -m pip install -qq --disable-pip-version-check --editable "$root${extras:+[$extras]}"
case ",$extras," in
    *,onnx,*) # For its model alone: older versions depend on torchaudio, this one on any torch, of whatever build.
        "$folder/bin/python" -m pip install -qq --disable-pip-version-check --no-deps silero-vad==6.2.3
        ;;
esac

# Nothing that came after may have put another build in its place; and it must run here.
[ "$torch" = no ] || "$folder/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is not None)' ||
    fail "torch in $folder does not start, or is not its CPU build: remove $folder and run this again"
