#!/usr/bin/env bash
# Remove what install.sh has installed; may be run any number of times.
#
#     sudo deploy/uninstall.sh [--purge]
#
# Settings and stored transcripts stay, unless --purge. DESTDIR as for install.sh.
set -euo pipefail

destination=${DESTDIR:-}

fail() {
    echo "uninstall: error: $*" >&2
    exit 1
}

[ "$#" -eq 0 ] || [ "$*" = --purge ] || fail "unknown option '$*'; usage: uninstall.sh [--purge]"
[ -n "$destination" ] || [ "$(id -u)" -eq 0 ] || fail "removing needs root: sudo $0 $*"

if [ -z "$destination" ] && [ -d /run/systemd/system ]; then
    systemctl disable --now rtstream 2>/dev/null || true
fi
rm -f "$destination/etc/systemd/system/rtstream.service" \
    "$destination/etc/sysusers.d/rtstream.conf" \
    "$destination/etc/tmpfiles.d/rtstream.conf"
rm -rf "$destination/opt/rtstream" "$destination/usr/share/rtstream"
[ -n "$destination" ] || rm -f /usr/local/bin/rtstream
if [ "${1:-}" = --purge ]; then
    rm -rf "$destination/etc/rtstream" "$destination/var/lib/rtstream"
    if [ -z "$destination" ] && getent passwd rtstream >/dev/null; then userdel rtstream; fi
fi
if [ -z "$destination" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
