#!/usr/bin/env bash
# The wheel on 64-bit ARM, emulated: Debian's arm64 Python, the wheel and its aarch64 wheels in a folder of their own,
# and there "rtstream doctor" and two recordings under the processors of a Raspberry Pi 4 and 5. The texts stand beside
# those of this machine; a crash, or a recording without a text, is an error, another text is not. Needs no root.
#
#     scripts/test-aarch64.sh PYTHON WHEEL [FOLDER]        PYTHON with rtstream, for example .venv/bin/python
#
# FOLDER (build/aarch64) keeps what was downloaded. On Debian: apt-get install qemu-user-static
set -euo pipefail

usage="usage: test-aarch64.sh PYTHON WHEEL [FOLDER]"
root=$(cd "$(dirname "$0")/.." && pwd)
python=$(realpath -s "$(command -v "${1:?$usage}")")
wheel=$(realpath "${2:?$usage}")
folder=${3:-$root/build/aarch64}
suite=${SUITE:-bookworm} # what Raspberry Pi OS was made of that has Python 3.11
clips=(cv-laundry.wav cv-telephone.wav)
models=(tiny base)

fail() {
    echo "aarch64: error: $*" >&2
    exit 1
}
for each in qemu-aarch64-static apt-get dpkg-deb unshare; do
    command -v $each >/dev/null || fail "there is no $each: apt-get install qemu-user-static, on Debian or Ubuntu"
done
mkdir -p "$folder"
folder=$(realpath "$folder")
system=$folder/root

# 1. Debian's Python and PortAudio for arm64, by an apt that knows nothing of this machine.
if [ ! -e "$folder/system" ]; then
    echo "aarch64: getting Debian's packages ($suite, arm64)"
    mkdir -p "$folder"/apt/{state/lists/partial,cache/archives/partial,etc}
    : >"$folder/apt/status"
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -e $keys ] || fail "$keys is missing: apt-get install debian-archive-keyring"
    echo "deb [signed-by=$keys] ${MIRROR:-http://deb.debian.org/debian} $suite main" >"$folder/apt/etc/sources.list"
    apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$folder/apt/state"
        -o Dir::State::status="$folder/apt/status" -o Dir::Cache="$folder/apt/cache"
        -o Dir::Etc::sourcelist="$folder/apt/etc/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Debug::NoLocking=1 -o APT::Install-Recommends=0 -o Acquire::Languages=none)
    [ "$(id -u)" -ne 0 ] || apt+=(-o APT::Sandbox::User=root)
    "${apt[@]}" update
    "${apt[@]}" -y --download-only install python3 libportaudio2 >/dev/null
    rm -rf "$system"
    # Everything of Debian lies below /usr; packages that say otherwise follow these links.
    mkdir -p "$system"/{proc,sys,dev,tmp,wheels,usr/bin,usr/sbin,usr/lib}
    for each in bin sbin lib; do ln -s "usr/$each" "$system/$each"; done
    for package in "$folder"/apt/cache/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink --no-same-owner -C "$system"
    done
    touch "$folder/system"
fi

# 2. The wheel, and the wheels that pip there would choose. This machine's pip puts them in place, which would take
# QEMU minutes; docopt, which is source and Python alone, is built here.
echo "aarch64: getting and installing wheels"
wheels=$folder/wheels site=$system/opt/rtstream
mkdir -p "$wheels"
version=$(cd "$system/usr/bin" && echo python3.*[0-9])
version=${version#python}
pip=("$python" -m pip --disable-pip-version-check -qq)
[ -n "$(find "$wheels" -name 'docopt-*.whl')" ] || "${pip[@]}" wheel --no-deps --wheel-dir "$wheels" docopt
target=(--only-binary :all: --python-version "$version" --implementation cp --abi "cp${version/./}" --abi abi3 --abi none
    --platform manylinux2014_aarch64)
for glibc in 17 24 26 27 28 31 34; do target+=(--platform "manylinux_2_${glibc}_aarch64"); done
"${pip[@]}" download --dest "$wheels" --find-links "$wheels" "${target[@]}" "$wheel"
rm -rf "$site" "$system/tmp/.cache"
"${pip[@]}" install --no-compile --no-index --find-links "$wheels" "${target[@]}" --target "$site" "$wheel"
cp "${clips[@]/#/$root/tests/data/}" "$system/tmp"

# 3. What runs there is run by QEMU: by a registration of this machine's, or one within a namespace of our own (Linux
# 6.7). /proc/cpuinfo is the board's, as libraries look into it for what the processor can do.
mkdir -p "$folder/boards"
board() { # NAME FEATURES VARIANT PART REVISION
    for core in 0 1 2 3; do
        printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\n' $core "$2"
        printf 'CPU variant\t: %s\nCPU part\t: %s\nCPU revision\t: %s\n\n' "$3" "$4" "$5"
    done >"$folder/boards/$1"
}
board cortex-a72 "fp asimd evtstrm crc32 cpuid" 0x0 0xd08 3
board cortex-a76 "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp" \
    0x4 0xd0b 1
cat >"$folder/inside.sh" <<'INSIDE'
set -eu
system=$1 board=$2
shift 2
if [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":qemu-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):F" >/proc/sys/fs/binfmt_misc/register
fi
mount -t proc proc "$system/proc"
mount --bind "$board" "$system/proc/cpuinfo"
mount --rbind /dev "$system/dev"
mount --rbind /sys "$system/sys"
exec env -i HOME=/tmp PATH=/usr/bin:/usr/sbin PYTHONPATH=/opt/rtstream LANG=C.UTF-8 OMP_NUM_THREADS=1 \
    QEMU_CPU="$(basename "$board")" \
    chroot "$system" /usr/bin/python3 -c 'from rtstream.cli.main import main; main()' "$@"
INSIDE
there() { # CPU ARGUMENTS... of rtstream
    unshare --user --map-root-user --mount --pid --fork \
        bash "$folder/inside.sh" "$system" "$folder/boards/$1" "${@:2}"
}
here() {
    PYTHONPATH=$root XDG_CACHE_HOME=$folder/cache "$python" -c 'from rtstream.cli.main import main; main()' "$@"
}

# 4. What it says of the machine, and what it hears.
mkdir -p "$folder/texts"
for model in "${models[@]}"; do
    (cd "$root/tests/data" && here replay --engine onnx --model "$model" "${clips[@]}" >"$folder/texts/$model")
done
failed=0
for cpu in cortex-a72 cortex-a76; do
    echo
    echo "== $cpu: rtstream doctor =="
    there "$cpu" doctor --source "wav:/tmp/${clips[0]}" || echo "(exit code $?)"
    for model in "${models[@]}"; do
        started=$SECONDS
        texts=$folder/texts/$model.$cpu
        there "$cpu" replay --engine onnx --model "$model" "${clips[@]/#//tmp/}" >"$texts" || failed=1
        sed -i 's|^/tmp/||' "$texts"
        [ "$(grep -c '^\[' "$texts")" -ge "${#clips[@]}" ] || failed=1
        echo
        echo "== $cpu, $model: $((SECONDS - started)) s =="
        if cmp -s "$folder/texts/$model" "$texts"; then
            echo "the same as on $(uname -m):"
            cat "$texts"
        else
            echo "otherwise than on $(uname -m) (-):"
            diff -U 9 "$folder/texts/$model" "$texts" | tail -n +4
        fi
    done
done
exit $failed
