#!/usr/bin/env bash
# Remove what install.sh has installed; may be run any number of times.
#
#     sudo deploy/uninstall.sh [--purge]
#
#     --purge     also remove the settings and what the service has stored
#     --help      this text
#
# Without --purge what is the user's stays: settings that were changed, stored transcripts, and with them the service's
# user, whose they are. DESTDIR as for install.sh.
set -euo pipefail

destination=${DESTDIR:+$(realpath -m "$DESTDIR")}
destination=${destination%/}
settings=$destination/etc/rtstream
state=$destination/var/lib/rtstream
example=$destination/usr/share/rtstream/rtstream.toml
purge=no

fail() {
    echo "uninstall: error: $*" >&2
    exit 1
}

for option in "$@"; do
    case $option in
        --purge) purge=yes ;;
        -h | --help)
            sed -n '/^# Remove/,/^[^#]/s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *) fail "unknown option '$option'; usage: uninstall.sh [--purge] [--help]" ;;
    esac
done
[ -n "$destination" ] || [ "$(id -u)" -eq 0 ] || fail "removing needs root: sudo $0 $*"

if [ -z "$destination" ] && [ -d /run/systemd/system ]; then
    systemctl disable --now rtstream 2>/dev/null || true
fi
if [ "$purge" = yes ]; then
    rm -rf "$settings" "$state" "$destination/etc/systemd/system/rtstream.service.d"
elif cmp -s "$settings/rtstream.toml" "$example"; then
    rm -f "$settings/rtstream.toml"
fi
[ ! -d "$settings" ] || rmdir --ignore-fail-on-non-empty "$settings"
[ ! -d "$state" ] || rmdir --ignore-fail-on-non-empty "$state"
link=$destination/usr/local/bin/rtstream
[ "$(readlink "$link")" != /opt/rtstream/bin/rtstream ] || rm -f "$link"
rm -f "$destination/etc/systemd/system/rtstream.service" \
    "$destination/etc/sysusers.d/rtstream.conf" \
    "$destination/etc/tmpfiles.d/rtstream.conf"
rm -rf "$destination/opt/rtstream" "$destination/var/cache/rtstream" "$destination/usr/share/rtstream" "$destination/usr/share/doc/rtstream"
if [ -z "$destination" ]; then
    rm -rf /run/rtstream
    if [ ! -e "$state" ] && getent passwd rtstream >/dev/null; then userdel rtstream; fi
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
fi
for kept in "$settings" "$state"; do
    [ ! -e "$kept" ] || echo "uninstall: $kept stays; --purge removes it too"
done
