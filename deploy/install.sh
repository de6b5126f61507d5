#!/usr/bin/env bash
# Install rtstream as a system service, or bring an installation up to date; may be run any number of times.
#
#     sudo deploy/install.sh [--enable]
#
# --enable also starts the service, now and at boot. PYTHON names the interpreter for its virtual environment.
# DESTDIR=FOLDER puts all files below FOLDER and changes nothing of the running system, as packagers want it;
# RTSTREAM_FILES_ONLY=1 leaves the virtual environment out.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
destination=${DESTDIR:-}
venv=$destination/opt/rtstream
enable=no
[ "${1:-}" != --enable ] || enable=yes

fail() {
    echo "install: error: $*" >&2
    exit 1
}

[ "$#" -eq 0 ] || [ "$*" = --enable ] || fail "unknown option '$*'; usage: install.sh [--enable]"
[ -n "$destination" ] || [ "$(id -u)" -eq 0 ] || fail "installing needs root: sudo $0 $*"

if [ "${RTSTREAM_FILES_ONLY:-}" != 1 ]; then
    [ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv" ||
        fail "no virtual environment could be made in $venv: install Python 3.11 or later and python3-venv"
    "$root/deploy/install-torch.sh" "$venv/bin/python"
    # Not "editable": the service cannot see a checkout in somebody's home.
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check "$root"
fi

put() { # MODE SOURCE TARGET
    install -D -m "$1" "$root/deploy/$2" "$destination$3"
}
put 0644 systemd/rtstream.service /etc/systemd/system/rtstream.service
put 0644 systemd/rtstream-user.service /usr/share/rtstream/rtstream-user.service
put 0644 systemd/sysusers.conf /etc/sysusers.d/rtstream.conf
put 0644 systemd/tmpfiles.conf /etc/tmpfiles.d/rtstream.conf
put 0644 prometheus/alerts.yml /usr/share/rtstream/prometheus/alerts.yml
put 0644 prometheus/scrape.yml /usr/share/rtstream/prometheus/scrape.yml
put 0640 rtstream.toml /usr/share/rtstream/rtstream.toml
chmod 0644 "$destination/usr/share/rtstream/rtstream.toml"
[ -e "$destination/etc/rtstream/rtstream.toml" ] || put 0640 rtstream.toml /etc/rtstream/rtstream.toml
models=$destination/usr/share/rtstream/models
for manifest in "$root"/models/*/bundle.json; do
    [ -f "$manifest" ] || continue # there is none
    bundle=$(dirname "$manifest") name=$(basename "$(dirname "$manifest")")
    mkdir -p "$models"
    # A whole new folder, then the exchange: the service never sees half a model.
    rm -rf "$models/.$name.new"
    cp -r "$bundle" "$models/.$name.new"
    rm -rf "${models:?}/$name"
    mv "$models/.$name.new" "$models/$name"
done

[ -z "$destination" ] || exit 0
if ! ldconfig -p | grep -q libportaudio.so.2; then
    echo "install: the microphone needs PortAudio: apt-get install libportaudio2" >&2
fi
systemd-sysusers
systemd-tmpfiles --create rtstream.conf
ln -sf /opt/rtstream/bin/rtstream /usr/local/bin/rtstream
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if [ "$enable" = yes ]; then
        systemctl enable rtstream
        systemctl restart rtstream
    else
        systemctl try-restart rtstream
    fi
fi
rtstream config check
