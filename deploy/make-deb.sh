#!/usr/bin/env bash
# Build Debian packages from this checkout: the service, rtstream_VERSION_ARCHITECTURE.deb, and the model of ten languages,
# rtstream-multi_VERSION_all.deb. Prints their paths, one a line, the service's first.
#
#     deploy/make-deb.sh FOLDER        for example: deploy/make-deb.sh dist
#
# The service's carries a virtual environment under /usr/lib/rtstream with all Python packages that it needs: of most of
# them (onnxruntime, soxr, grpcio and protobuf as new as they must be) Debian has no package, or an older one. It is made
# for this machine's Debian release and processor, by the system's Python, on which it depends. Needs python3-venv.
# In the environment: PYTHON is that interpreter (/usr/bin/python3). RTSTREAM_FILES_ONLY=1 leaves the environment out.
# Compressing takes most of the time: DPKG_DEB_COMPRESSOR_TYPE=gzip is quicker.
set -euo pipefail
umask 022

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-/usr/bin/python3}

fail() {
    echo "deb: error: $*" >&2
    exit 1
}

for tool in dpkg-deb dpkg; do
    command -v "$tool" >/dev/null || fail "there is no $tool: packages are built on Debian, Ubuntu or Raspberry Pi OS"
done
folder=${1:?usage: make-deb.sh FOLDER}
mkdir -p "$folder"
output=$(cd "$folder" && pwd)
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$root/rtstream/__init__.py")
maintainer=$("$python" - "$root/pyproject.toml" <<'PYTHON'
import pathlib, sys, tomllib
who = tomllib.loads(pathlib.Path(sys.argv[1]).read_text())["project"]["maintainers"][0]
print(f"{who['name']} <{who['email']}>")
PYTHON
) || fail "pyproject.toml names no maintainer with an address, or '$python' is older than 3.11"
minor=$("$python" -c 'import sys; print(sys.version_info.minor)') || fail "there is no $python"
architecture=$(dpkg --print-architecture)
# The same commit gives the same dates, and with the same Python packages the same file, to the byte.
date=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stage=$work/rtstream
multi=$work/rtstream-multi
DESTDIR=$stage PYTHON=$python "$root/deploy/install.sh" --with-multi
mkdir -p "$multi"/{DEBIAN,usr/share/rtstream/models,usr/share/doc/rtstream-multi}
mv "$stage/usr/share/rtstream/models/multi" "$multi/usr/share/rtstream/models/"

# Where a package of the distribution has what install.sh puts beside it.
cd "$stage"
mkdir -p usr/lib/systemd/system usr/lib/sysusers.d usr/lib/tmpfiles.d usr/bin DEBIAN
mv etc/systemd/system/rtstream.service usr/lib/systemd/system/
mv etc/sysusers.d/rtstream.conf usr/lib/sysusers.d/
mv etc/tmpfiles.d/rtstream.conf usr/lib/tmpfiles.d/
rm -r etc/systemd etc/sysusers.d etc/tmpfiles.d usr/local
ln -s ../lib/rtstream/bin/rtstream usr/bin/rtstream
if [ -d opt/rtstream ]; then
    mv opt/rtstream usr/lib/rtstream
    site=usr/lib/rtstream/lib/python3.$minor/site-packages
    # apt brings it up to date: it needs nothing that installs, activates or is started by somebody else.
    rm -rf "$site"/pip "$site"/pip-* "$site"/setuptools "$site"/setuptools-* "$site"/pkg_resources "$site"/_distutils_hack \
        "$site"/distutils-precedence.pth usr/lib/rtstream/{include,share}
    find usr/lib/rtstream/bin -mindepth 1 ! -name rtstream ! -name 'python*' -delete
    # Tests and their data, a tenth of it; numpy.testing is no test.
    find "$site" -type d -name tests -prune -exec rm -rf {} +
    find usr/lib/rtstream -name __pycache__ -prune -exec rm -rf {} +
    # Where pip had it from, and sums of scripts that have had another first line since: of this machine, and for pip alone.
    rm -f "$site"/*.dist-info/{RECORD,REQUESTED,direct_url.json}
    # One copy of the models, where those are that every machine can read.
    rm -rf "$site/rtstream/models"
    ln -s ../../../../../../share/rtstream/models "$site/rtstream/models"
fi
rm -rf opt
grep -rlI /opt/rtstream usr etc | while read -r file; do
    [ -L "$file" ] || sed -i 's#/opt/rtstream#/usr/lib/rtstream#g' "$file"
done

# What dpkg and lintian want.
doc=usr/share/doc/rtstream
rm -f $doc/LICENSE # copyright names where Debian has it
{
    cat "$root/deploy/debian/copyright"
    sed 's/^[[:space:]]*$/./; s/^/ /' "$root/NOTICE"
} >$doc/copyright
rm -f $doc/NOTICE
printf 'rtstream (%s) stable; urgency=medium\n\n  * What has changed stands in CHANGELOG.md.\n\n -- %s  %s\n' "$version" \
    "$maintainer" "$(date -uRd "@$date")" | gzip -9n >$doc/changelog.gz
install -D -m 0644 "$root/deploy/debian/lintian-overrides" usr/share/lintian/overrides/rtstream
mkdir -p usr/share/man/man1
gzip -9nc "$root/deploy/debian/rtstream.1" >usr/share/man/man1/rtstream.1.gz
cp $doc/copyright "$multi/usr/share/doc/rtstream-multi/copyright"
gzip -dc $doc/changelog.gz | sed '1s/^rtstream /rtstream-multi /' | gzip -9n >"$multi/usr/share/doc/rtstream-multi/changelog.gz"
echo /etc/rtstream/rtstream.toml >DEBIAN/conffiles
for name in postinst prerm postrm; do
    install -m 0755 "$root/deploy/debian/$name" DEBIAN/$name
done

pack() { # FOLDER CONTROL ARCHITECTURE NAME, with the files in FOLDER
    cd "$1"
    find . -type d -exec chmod 0755 {} +
    find usr -type f ! -path '*/bin/*' -exec chmod 0644 {} +
    # As dpkg-gencontrol counts it, on whatever file system: KiB begun by each file, and one for each folder and link.
    size=$(find . -path ./DEBIAN -prune -o -printf '%y %s\n' | awk '{s += $1 == "f" ? int(($2 + 1023) / 1024) : 1} END {print s}')
    sed "s/@VERSION@/$version/g; s/@ARCHITECTURE@/$3/; s/@SIZE@/$size/; s/@MAINTAINER@/$(sed 's#[/&]#\\&#g' <<<"$maintainer")/
s/@PYTHON@/3.$minor/; s/@NEXT@/3.$((minor + 1))/" "$root/deploy/debian/$2" >DEBIAN/control
    find usr -type f -printf '%P\n' | LC_ALL=C sort | sed 's#^#usr/#' | tr '\n' '\0' | xargs -0 md5sum >DEBIAN/md5sums
    find . -exec touch -h -d "@$date" {} +
    SOURCE_DATE_EPOCH=$date dpkg-deb -Z"${DPKG_DEB_COMPRESSOR_TYPE:-xz}" --root-owner-group --build . "$output/$4" >/dev/null
    echo "$output/$4"
}
pack "$stage" control "$architecture" "rtstream_${version}_$architecture.deb"
pack "$multi" multi.control all "rtstream-multi_${version}_all.deb"
