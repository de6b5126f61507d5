#!/usr/bin/env bash
# Generate rtstream/wire/v1 from protos/, with the grpcio-tools of a virtual environment.
#
#     scripts/make-protos.sh .venv/bin/python            write it
#     scripts/make-protos.sh .venv/bin/python --check    only say whether it is up to date
#
# The same input and the same version of grpcio-tools, which pyproject.toml pins, give the same bytes.
set -euo pipefail

cd "$(dirname "$0")/.."
interpreter=${1:?usage: make-protos.sh PYTHON [--check]}
target=rtstream/wire/v1

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
# The proto is given a path inside the package, so that the generated imports are absolute ones.
"$interpreter" -m grpc_tools.protoc -I "$target=protos/rtstream/v1" \
    --python_out="$made" --pyi_out="$made" --grpc_python_out="$made" "$target/rtstream.proto"

for file in "$made/$target"/*; do
    name=$(basename "$file")
    if [ "${2:-}" != --check ]; then
        mkdir -p "$target"
        cp "$file" "$target/$name"
    elif ! cmp -s "$file" "$target/$name"; then
        echo "protos: error: $target/$name is not what protos/ makes: run 'make protos'" >&2
        exit 1
    fi
done
