#!/bin/sh
# record-demo.sh RTSTREAM FILE.svg: README's recording of a terminal: RTSTREAM, a command that runs, replays two recordings
# as fast as they were spoken. termtosvg draws it, from PyPI, in an environment of its own.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
rtstream=$(realpath "$1") output=$(realpath -m "$2")
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
python3 -m venv "$parts/venv"
"$parts/venv/bin/python" -m pip install -qq --disable-pip-version-check termtosvg 'setuptools<80' # it asks for pkg_resources
cd "$root"
clips="tests/data/cv-utica.flac tests/data/libri-7312-passionate.flac"
"$rtstream" replay tests/data/cv-utica.flac >/dev/null # what is packed is then in the cache
printf '#!/bin/sh\nprintf "$ rtstream replay --realtime %s\\n"\nexec "%s" replay --realtime %s\n' "$clips" "$rtstream" "$clips" >"$parts/show"
chmod +x "$parts/show"
# script gives it a terminal, which it insists on.
script -qec "$parts/venv/bin/termtosvg '$output' -c $parts/show -g 96x10 -m 40 -D 3000" /dev/null >/dev/null </dev/null
echo "$output"
