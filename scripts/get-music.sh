#!/bin/sh
# get-music.sh PYTHON DIRECTORY: a set of music without words, DIRECTORY/music, to hear whether a model finds words in
# it: 30 s from the middle of each piece of five games (orchestral, electronic, rock; GPL and CC BY-SA), from Debian 12's
# packages. Nothing of it is installed, trained on or shipped.
set -eu
python=$1 directory=$2
if [ -s "$directory/music.jsonl" ]; then
	echo "$directory/music: the music is there"
	exit 0
fi
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
chmod 755 "$parts" # apt downloads as a user of its own
(cd "$parts" && apt-get download -qq wesnoth-1.16-music nexuiz-music singularity-music hyperrogue-music \
	planetblupi-music-ogg)
for package in "$parts"/*.deb; do
	dpkg -x "$package" "$parts/$(basename "${package%%_*}")"
done
find "$parts" -name "*.pk3" -exec "$python" -m zipfile -e {} "$parts/nexuiz-music" \;
mkdir -p "$directory"
"$python" - "$parts" "$directory" <<'PYTHON'
import io, json, sys, tarfile
from pathlib import Path

import soundfile, soxr

parts, directory = map(Path, sys.argv[1:])
lines = []
with tarfile.open(directory / "music.tar", "w") as archive:
    for piece in sorted(parts.rglob("*.ogg")):
        rate, length = soundfile.info(piece).samplerate, soundfile.info(piece).frames
        if length < 36 * rate:
            continue
        samples, _ = soundfile.read(piece, 30 * rate, (length - 30 * rate) // 2, dtype="float32", always_2d=True)
        clip = io.BytesIO()
        soundfile.write(clip, soxr.resample(samples.mean(axis=1), rate, 16000), 16000, format="OGG", subtype="OPUS")
        member = tarfile.TarInfo(str(piece.relative_to(parts)).replace("/", "_"))
        member.size = len(clip.getvalue())
        archive.addfile(member, io.BytesIO(clip.getvalue()))
        lines.append(json.dumps({"file": member.name, "dur": 30.0, "text": "", "lang": "zxx"}) + "\n")
(directory / "music.jsonl").write_text("".join(lines))
print(f"{directory / 'music'}: {len(lines)} clips, {len(lines) / 2:g} minutes")
PYTHON
