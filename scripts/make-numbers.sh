#!/bin/sh
# make-numbers.sh PYTHON DIRECTORY DATA: two shards into DIRECTORY, always the same. train-numbers: telephone numbers,
# amounts, dates, times, names spelt out, single digits, said by flite and espeak-ng (Debian's packages, which must be
# installed). dev-joined-digits: 200 strings of digits to test with, of the shard dev-digits in DATA, of voices that do not
# train, and of David C. Dawson's recordings (GPL) in Debian's package saytime. Nothing of the latter is installed, trained
# on or shipped.
set -eu
python=$1 directory=$2 data=$3
if [ -s "$directory/train-numbers.jsonl" ] && [ -s "$directory/dev-joined-digits.jsonl" ]; then
	echo "$directory: the numbers are there"
	exit 0
fi
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
chmod 755 "$parts" # apt downloads as a user of its own
(cd "$parts" && apt-get download -qq saytime)
dpkg -x "$parts"/saytime_*.deb "$parts/saytime"
"$python" -m rtstream.training.corpus.spoken_numbers --data "$data" --saytime "$parts/saytime/usr/share/saytime" --out "$directory"
