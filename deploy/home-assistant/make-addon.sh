#!/usr/bin/env bash
# Put the Home Assistant add-on together: a folder that the Supervisor can build, with this program's source in it.
#
#     deploy/home-assistant/make-addon.sh FOLDER        for example /mnt/addons/rtstream, the share "addons" of the machine
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=${1:?usage: make-addon.sh FOLDER}

mkdir -p "$folder/source"
cp -R "$here/rtstream/." "$folder/"
for part in pyproject.toml README.md LICENSE NOTICE rtstream models packages; do
    rm -rf "${folder:?}/source/$part"
    cp -R "$root/$part" "$folder/source/"
done
find "$folder/source" -name __pycache__ -type d -prune -exec rm -rf {} +
echo "The add-on is in $folder: in Home Assistant, Settings, Apps (before 2026: Add-ons), App store, menu, Check for updates; then install it."
