#!/usr/bin/env bash
# Install rtstream as a system service, or bring an installation up to date; may be run any number of times.
#
#     sudo deploy/install.sh [--enable] [--with-multi]
#
#     --enable        also start the service, now and at boot
#     --with-multi    also install multi, the model of ten languages (43 MB); where it is, it is brought up to date
#     --help          this text
#
# In the environment: PYTHON is the interpreter for its virtual environment (python3). DESTDIR=FOLDER puts all files below
# FOLDER, from where they can be copied to /, and changes nothing of the running system, as packagers want it.
# RTSTREAM_FILES_ONLY=1 leaves the virtual environment out. uninstall.sh removes all of it.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
destination=${DESTDIR:+$(realpath -m "$DESTDIR")}
destination=${destination%/}
home=/opt/rtstream
venv=$destination$home
models=$destination/usr/share/rtstream/models
enable=no
with_multi=no
[ ! -e "$models/multi" ] || with_multi=yes

fail() {
    echo "install: error: $*" >&2
    exit 1
}

for option in "$@"; do
    case $option in
        --enable) enable=yes ;;
        --with-multi)
            [ -f "$root/models/multi/bundle.json" ] || fail "models/multi is not in this checkout: get it whole, then install again"
            with_multi=yes
            ;;
        -h | --help)
            sed -n '/^# Install/,/^[^#]/s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *) fail "unknown option '$option'; usage: install.sh [--enable] [--with-multi] [--help]" ;;
    esac
done
[ -n "$destination" ] || [ "$(id -u)" -eq 0 ] || fail "installing needs root: sudo $0 $*"

if [ "${RTSTREAM_FILES_ONLY:-}" != 1 ]; then
    [ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv" ||
        fail "no virtual environment could be made in $venv: install Python 3.11 or later and python3-venv"
    # Not "editable": the service cannot see a checkout in somebody's home. Built elsewhere: in the checkout setuptools
    # finds, and installs, what an older one had and this one has no longer.
    work=$(mktemp -d)
    printf '[build]\nbuild_base = %s\n[egg_info]\negg_base = %s\n' "$work" "$work" >"$work/extra.cfg"
    DIST_EXTRA_CONFIG=$work/extra.cfg "$venv/bin/python" -m pip install -qq --disable-pip-version-check "$root[http,mqtt,wyoming]"
    rm -rf "$work"
    if [ -n "$destination" ]; then
        # Scripts begin with the path of their interpreter, and venv's own files name their folder.
        "$venv/bin/python" - "$venv" "$home" <<'PYTHON'
import pathlib, sys
venv, home = pathlib.Path(sys.argv[1]), sys.argv[2].encode()
for path in [*venv.glob("bin/*"), venv / "pyvenv.cfg"]:
    if path.is_file() and not path.is_symlink():
        data = path.read_bytes()
        if bytes(venv) in data and b"\0" not in data:
            path.write_bytes(data.replace(bytes(venv), home))
PYTHON
    fi
fi

put() { # MODE SOURCE TARGET
    install -D -m "$1" "$root/$2" "$destination$3"
}
for path in "$root"/{README.md,CHANGELOG.md,LICENSE,NOTICE,deploy/README.md} "$root"/docs/*.md; do
    file=${path#"$root/"}
    [ ! -f "$path" ] || put 0644 "$file" "/usr/share/doc/rtstream/$file"
done
put 0644 deploy/systemd/rtstream.service /etc/systemd/system/rtstream.service
put 0644 deploy/systemd/rtstream-user.service /usr/share/rtstream/rtstream-user.service
put 0644 deploy/systemd/sysusers.conf /etc/sysusers.d/rtstream.conf
put 0644 deploy/systemd/tmpfiles.conf /etc/tmpfiles.d/rtstream.conf
put 0644 deploy/prometheus/alerts.yml /usr/share/rtstream/prometheus/alerts.yml
put 0644 deploy/prometheus/scrape.yml /usr/share/rtstream/prometheus/scrape.yml
put 0640 deploy/rtstream.toml /usr/share/rtstream/rtstream.toml
chmod 0644 "$destination/usr/share/rtstream/rtstream.toml"
[ -e "$destination/etc/rtstream/rtstream.toml" ] || put 0640 deploy/rtstream.toml /etc/rtstream/rtstream.toml
for manifest in "$root"/models/*/bundle.json; do
    [ -f "$manifest" ] || continue # there is none
    bundle=$(dirname "$manifest") name=$(basename "$(dirname "$manifest")")
    [ "$name" != multi ] || [ "$with_multi" = yes ] || continue
    mkdir -p "$models"
    # A whole new folder, then the exchange: the service never sees half a model.
    rm -rf "$models/.$name.new"
    cp -r "$bundle" "$models/.$name.new"
    rm -rf "${models:?}/$name"
    mv "$models/.$name.new" "$models/$name"
done
mkdir -p "$destination/usr/local/bin"
ln -sf "$home/bin/rtstream" "$destination/usr/local/bin/rtstream"

[ -z "$destination" ] || exit 0
if ! ldconfig -p | grep -q libportaudio.so.2; then
    echo "install: the microphone needs PortAudio: apt-get install libportaudio2" >&2
fi
systemd-sysusers
systemd-tmpfiles --create rtstream.conf
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
