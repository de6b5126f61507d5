#!/usr/bin/env bash
# Install the packages that make-deb.sh has built in a bare Debian, use, remove and purge them there: what must hold, does.
#
#     sudo scripts/test-deb.sh RTSTREAM.deb [RTSTREAM-MULTI.deb]
#
# Needs debootstrap, lintian and the network. In the environment: MIRROR is Debian's (http://deb.debian.org/debian), and
# BASE a folder with such a Debian, which is copied instead of getting one.
set -euo pipefail

package=$(realpath "${1:?usage: test-deb.sh RTSTREAM.deb [RTSTREAM-MULTI.deb]}")
multi=${2:+$(realpath "$2")}
root=$(cd "$(dirname "$0")/.." && pwd)
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")

fail() {
    echo "test-deb: error: $*" >&2
    exit 1
}
say() { echo "test-deb: $*"; }

[ "$(id -u)" -eq 0 ] || fail "a Debian of its own needs root: sudo $0 $*"
for tool in debootstrap lintian; do
    command -v "$tool" >/dev/null || fail "there is no $tool: apt-get install debootstrap lintian"
done

lintian --allow-root --fail-on error "$package" ${multi:+"$multi"} || fail "lintian found errors"
say "lintian finds no error"

test_root=$(mktemp -d)
cleanup() {
    umount -R "$test_root/proc" "$test_root/dev" 2>/dev/null || true
    rm -rf --one-file-system "$test_root"
}
trap cleanup EXIT
if [ -n "${BASE:-}" ]; then
    cp -a "$BASE/." "$test_root"
else
    debootstrap --variant=minbase "$suite" "$test_root" "${MIRROR:-http://deb.debian.org/debian}" >"$test_root.log" ||
        fail "debootstrap: $(tail -n 1 "$test_root.log")"
    rm -f "$test_root.log"
fi
mount -t proc proc "$test_root/proc"
mount --bind /dev "$test_root/dev"
cp "$package" "$test_root/rtstream.deb"
cp "$root/tests/data/libri-669-gloves.flac" "$test_root/talk.flac"
cp "$root/tests/data/languages/cv-pt-vez.flac" "$test_root/pt.flac"
cp -L /etc/resolv.conf "$test_root/etc/resolv.conf"
inside() { chroot "$test_root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
as_user() { inside runuser -u nobody -- env HOME=/tmp "$@"; }
ours() { # what there is of the package besides what apt itself keeps
    (cd "$test_root" && find etc opt run srv usr var -name '*rtstream*' ! -path 'var/lib/dpkg/*' ! -path 'var/cache/apt/*' ! -path 'var/log/*')
}

inside apt-get update -qq
inside apt-get install -qq -y --no-install-recommends /rtstream.deb >/dev/null
inside dpkg --verify rtstream | grep . && fail "files differ from the package's"
[ "$(inside stat -c '%a %U %G' /etc/rtstream/rtstream.toml)" = "640 root rtstream" ] || fail "the settings are not its user's"
inside id -nG rtstream | grep -qw audio || fail "its user may not open the microphone"
[ -z "$(find "$test_root/etc/systemd/system" -name 'rtstream*')" ] || fail "it is enabled, and nobody asked for that"
say "installed: $(inside dpkg-query -W -f '${Version} ${Architecture}, ${Installed-Size} KiB' rtstream)"

as_user rtstream --version
inside runuser -u rtstream -- rtstream config check
for extra in aiohttp aiomqtt wyoming zeroconf onnxruntime; do
    inside /usr/lib/rtstream/bin/python -c "import $extra" || fail "$extra cannot be imported"
done
text=$(as_user rtstream replay /talk.flac)
[ -n "$text" ] || fail "nothing was recognised"
say "recognised: $text"
inside install -d -o rtstream -m 0750 /run/rtstream
inside runuser -u rtstream -- env HOME=/tmp rtstream serve --source 'wav:/talk.flac?loop=1' >/dev/null 2>"$test_root/tmp/log" &
for _ in $(seq 120); do
    inside rtstream status unix:/run/rtstream/rtstream.sock >"$test_root/tmp/status" 2>&1 && break
    sleep 1
done
inside rtstream status unix:/run/rtstream/rtstream.sock || fail "it does not serve: $(tail -n 1 "$test_root/tmp/log")"
pid=$(pgrep -f '^/usr/lib/rtstream/bin/python .*serve --source wav:/talk.flac' | head -n 1)
kill -TERM "$pid"
wait || true
rm -rf "$test_root/run/rtstream"
say "it serves"

if [ -n "$multi" ]; then
    said=$(as_user rtstream replay --model multi /pt.flac 2>&1) && fail "multi is there before its package"
    cp "$multi" "$test_root/multi.deb"
    inside apt-get install -qq -y --no-install-recommends /multi.deb >/dev/null
    text=$(as_user rtstream replay --model multi /pt.flac 2>/dev/null)
    grep -q vez <<<"$text" || fail "multi hears: $text"
    say "recognised by multi: $text"
    inside apt-get purge -qq -y rtstream-multi >/dev/null
    [ ! -e "$test_root/usr/share/rtstream/models/multi" ] || fail "multi is there after its package"
fi

before=$(ours | sort)
inside apt-get install -qq -y --reinstall /rtstream.deb >/dev/null
[ "$(ours | sort)" = "$before" ] || fail "installing it again has changed what there is"
echo "# mine" >>"$test_root/etc/rtstream/rtstream.toml"
inside sh -c 'mkdir -p /var/lib/rtstream /var/cache/rtstream && touch /var/lib/rtstream/finals.sqlite'
inside apt-get remove -qq -y rtstream >/dev/null
[ ! -e "$test_root/usr/lib/rtstream" ] || fail "left behind: $(find "$test_root/usr/lib/rtstream" | head -n 3)"
grep -q '^# mine$' "$test_root/etc/rtstream/rtstream.toml" || fail "the settings are gone"
[ -e "$test_root/var/lib/rtstream/finals.sqlite" ] || fail "what was said is gone"
say "removed: settings and what was said stay"
inside apt-get purge -qq -y rtstream >/dev/null
[ -z "$(ours)" ] || fail "left behind: $(ours | head -n 3)"
say "purged: nothing is left"
