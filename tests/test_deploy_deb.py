"""The Debian package without its virtual environment; scripts/test-deb.sh installs a whole one in a bare Debian."""

import gzip
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

import rtstream

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb: a Debian")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The service's package of a checkout with two small models, unpacked, and its control files."""
    folder = tmp_path_factory.mktemp("deb")
    checkout = folder / "checkout"
    shutil.copytree(ROOT / "deploy", checkout / "deploy")
    (checkout / "rtstream").mkdir()
    shutil.copy(ROOT / "rtstream/__init__.py", checkout / "rtstream")
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "NOTICE", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout)
    shutil.copytree(ROOT / "docs", checkout / "docs")
    for model in ("base", "multi"):
        (checkout / "models" / model).mkdir(parents=True)
        (checkout / "models" / model / "bundle.json").write_text("{}")
    for output in ("first", "second"):
        subprocess.run(
            [checkout / "deploy/make-deb.sh", folder / output],
            env={**os.environ, "RTSTREAM_FILES_ONLY": "1", "SOURCE_DATE_EPOCH": "1764500000"},
            check=True,
            capture_output=True,
        )
    multi, file = sorted((folder / "first").iterdir())
    for built in (multi, file):
        assert built.read_bytes() == (folder / "second" / built.name).read_bytes()  # the same each time
    subprocess.run(["dpkg-deb", "--raw-extract", file, folder / "raw"], check=True)  # noqa: S607
    subprocess.run(["dpkg-deb", "--raw-extract", multi, folder / "multi"], check=True)  # noqa: S607
    listed = subprocess.run(["dpkg-deb", "--fsys-tarfile", file], check=True, capture_output=True)  # noqa: S607
    (folder / "files.tar").write_bytes(listed.stdout)
    return folder / "raw"


def control(package):
    return dict(re.findall(r"^([\w-]+): (.*)$", (package / "DEBIAN/control").read_text(), re.MULTILINE))


def test_it_has_the_version_and_depends_on_the_python_that_made_it(package):
    fields = control(package)
    assert fields["Version"] == rtstream.__version__
    assert re.search(r"python3 \(>= (3\.\d+)~\), python3 \(<< 3\.\d+\)", fields["Depends"])
    assert not re.search("@[A-Z]+@", (package / "DEBIAN/control").read_text())


def test_its_maintainer_is_the_one_that_pyproject_names(package):
    [who] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["maintainers"]
    assert control(package)["Maintainer"] == f"{who['name']} <{who['email']}>"
    with gzip.open(package / "usr/share/doc/rtstream/changelog.gz", "rt") as log:
        assert f" -- {who['name']} <{who['email']}>  " in log.read()


def test_the_model_of_ten_languages_is_a_package_of_its_own_for_this_version_alone(package):
    fields = control(package.parent / "multi")
    assert (fields["Package"], fields["Architecture"]) == ("rtstream-multi", "all")
    assert fields["Depends"] == f"rtstream (= {rtstream.__version__})"
    files = {str(path.relative_to(package.parent / "multi")) for path in (package.parent / "multi/usr").rglob("*.*")}
    assert files == {"usr/share/rtstream/models/multi/bundle.json", "usr/share/doc/rtstream-multi/changelog.gz"}
    assert not (package / "usr/share/rtstream/models/multi").exists()


def test_its_command_has_a_manual_page(package):
    with gzip.open(package / "usr/share/man/man1/rtstream.1.gz", "rt") as page:
        assert page.read().startswith(".TH RTSTREAM 1 ")


def test_settings_are_a_conffile_that_others_may_not_read(package):
    assert (package / "DEBIAN/conffiles").read_text() == "/etc/rtstream/rtstream.toml\n"
    with tarfile.open(package.parent / "files.tar") as files:
        assert files.getmember("./etc/rtstream/rtstream.toml").mode == 0o640
        assert {(member.uid, member.gid) for member in files} == {(0, 0)}


def test_nothing_lies_where_a_package_of_the_distribution_may_not_put_it(package):
    found = {str(path.relative_to(package)) for path in package.rglob("*") if not path.is_dir()}
    assert {"usr/lib/systemd/system/rtstream.service", "usr/lib/sysusers.d/rtstream.conf"} <= found
    assert {"usr/bin/rtstream", "usr/share/rtstream/models/base/bundle.json"} <= found
    assert not [name for name in found if name.startswith(("opt/", "usr/local/", "run/", "var/", "etc/systemd/"))]
    texts = [path for path in package.rglob("*") if path.is_file() and path.suffix in {"", ".service", ".conf", ".md"}]
    assert not [path for path in texts if b"/opt/rtstream" in path.read_bytes()]


def test_every_line_of_the_notice_is_in_copyright(package):
    text = (package / "usr/share/doc/rtstream/copyright").read_text()
    assert text.startswith("Format: ")
    assert not [line for line in (ROOT / "NOTICE").read_text().splitlines() if line.strip() and line not in text]


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_scripts_are_shell_that_stops_at_an_error(package, name):
    script = package / "DEBIAN" / name
    assert script.read_text().startswith("#!/bin/sh\nset -e\n")
    subprocess.run(["sh", "-n", script], check=True)  # noqa: S607


def test_installing_does_not_begin_to_listen(package):
    assert not re.search(r"enable|\bstart\b", re.sub(r"#.*", "", (package / "DEBIAN/postinst").read_text()))
