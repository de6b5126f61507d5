#!/usr/bin/env bash
# Lint protos/ with buf, and look for changes that break clients of the main branch. Needs Node; without it this is left out.
set -euo pipefail

cd "$(dirname "$0")/.."
buf=@bufbuild/buf@1.75.0
if ! command -v npx >/dev/null; then
    echo "protos: npx is not installed, so buf's lint and breaking checks are left out" >&2
    exit 0
fi
if ! npx -y "$buf" --version >/dev/null; then
    echo "protos: npm's registry cannot be reached, so buf's lint and breaking checks are left out" >&2
    exit 0
fi
npx -y "$buf" lint protos
for main in origin/main main; do
    if git rev-parse -q --verify "$main:protos/rtstream" >/dev/null; then
        before=$(mktemp -d)
        trap 'rm -rf "$before"' EXIT
        git archive "$main" protos | tar -x -C "$before"
        npx -y "$buf" breaking protos --against "$before/protos"
        break
    fi
done
