"""What is installed: the units, the scripts, the example of the settings."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rtstream.bundle import default
from rtstream.config import Config, load, to_toml
from rtstream.daemon.exits import ExitCode
from rtstream.daemon.metrics import COUNTERS
from rtstream.daemon.settings import check_settings
from rtstream.export.bundles import save_text_bundle
from rtstream.model.config import DecoderConfig, StackConfig, TextModelConfig
from rtstream.nn.text_model import TextModel
from rtstream.training.text.train_pieces import train_pieces
from rtstream.translation import models as translation_models
from tests.recognizer.tiny_bundle import save_tiny_bundle

DEPLOY = Path(__file__).parent.parent / "deploy"
IMAGES = (DEPLOY, DEPLOY / "home-assistant/rtstream")
UNITS = ("rtstream.service", "rtstream-user.service")

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd: apt-get install systemd")


def script(name, *arguments, destination):
    return subprocess.run(
        [DEPLOY / name, *arguments],
        env={**os.environ, "DESTDIR": str(destination), "RTSTREAM_FILES_ONLY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def files(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_example_of_the_settings_is_right_and_changes_only_what_it_says():
    config = load(DEPLOY / "rtstream.toml")
    check_settings(config)
    assert config.metrics.listen
    changed = [name for name in Config.model_fields if getattr(config, name) != getattr(Config(), name)]
    assert changed == ["server", "metrics"]


def test_defaults_of_the_documentation_are_those_of_the_program():
    check_settings(load(None, {}))
    assert "aggressiveness = 1" in to_toml(Config())


def test_installing_twice_is_the_same_as_once_and_keeps_the_settings(tmp_path):
    assert script("install.sh", destination=tmp_path).returncode == 0
    first = files(tmp_path)
    assert first["etc/rtstream/rtstream.toml"][0] == 0o640
    assert "etc/systemd/system/rtstream.service" in first
    (tmp_path / "etc/rtstream/rtstream.toml").write_text("[log]\nlevel = 'debug'\n")
    done = script("install.sh", destination=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    second = files(tmp_path)
    assert second.pop("etc/rtstream/rtstream.toml")[1] == b"[log]\nlevel = 'debug'\n"
    first.pop("etc/rtstream/rtstream.toml")
    assert second == first


@pytest.fixture
def checkout(tmp_path):
    """What is installed from, with a bundle for speech and one for translation."""
    shutil.copytree(DEPLOY, tmp_path / "checkout" / "deploy")
    models = tmp_path / "checkout" / "models"
    sizes = {"d_model": 16, "heads": 2, "ffn": 24, "layers": 1}
    pieces = train_pieces(["cat", "gato", "the cat", "el gato"] * 9, ("es",), 16)
    model = TextModel(TextModelConfig(StackConfig(**sizes), DecoderConfig(len(pieces), **sizes, max_tokens=20)))
    save_text_bundle(models / "en-x-tiny", "en-x-tiny", model, pieces, "card")
    save_tiny_bundle(models / "base")
    save_tiny_bundle(models / "multi")
    (models / "NOTES.md").write_text("no bundle")
    return tmp_path / "checkout"


def test_every_bundle_is_installed_where_it_is_found_without_being_named(checkout, tmp_path, monkeypatch):
    for _ in range(2):
        done = script(checkout / "deploy" / "install.sh", destination=tmp_path / "root")
        assert (done.returncode, done.stderr) == (0, "")
    installed = Path(f"{tmp_path}/root{translation_models.INSTALLED}")
    assert sorted(path.name for path in installed.iterdir()) == ["base", "en-x-tiny"]
    for name in ("base", "en-x-tiny"):
        assert files(installed / name) == files(checkout / "models" / name)
    monkeypatch.delenv(translation_models.VARIABLE, raising=False)
    monkeypatch.setattr(translation_models, "CHECKOUT", tmp_path / "none")
    monkeypatch.setattr(translation_models, "INSTALLED", installed)
    (translator,) = translation_models.open_translators(translation_models.model_paths(["es"])).values()
    assert translator.languages == ("es",)


def test_the_model_of_ten_languages_is_installed_where_it_is_asked_for_and_brought_up_to_date(checkout, tmp_path):
    installed = Path(f"{tmp_path}/root{default.INSTALLED}") / "multi"
    for options in (["--with-multi"], []):
        assert script(checkout / "deploy" / "install.sh", *options, destination=tmp_path / "root").returncode == 0
        assert files(installed) == files(checkout / "models/multi")
        (installed / "old").touch()
    shutil.rmtree(checkout / "models/multi")
    done = script(checkout / "deploy" / "install.sh", "--with-multi", destination=tmp_path / "root")
    assert done.returncode == 1
    assert done.stderr.startswith("install: error: models/multi is not in this checkout")


def test_images_bring_the_models_of_the_packages_that_they_install():
    """Which pip puts where they are found: those of rtstream itself, and multi where it is asked for."""
    installs = {
        folder: re.findall("pip install (.*?) *\\\\?\n", (folder / "Dockerfile").read_text()) for folder in IMAGES
    }
    assert installs == {
        DEPLOY: ["--no-cache-dir '.[http,mqtt,wyoming]' ${MULTI:+./packages/rtstream-multi}"],
        DEPLOY / "home-assistant/rtstream": ["--no-cache-dir '.[wyoming]' ./packages/rtstream-multi"],
    }
    # In both before that: the models themselves, at which rtstream/models and the package's own folder point.
    for folder in IMAGES:
        before = (folder / "Dockerfile").read_text().split("pip install")[0]
        assert re.search(r"^COPY (models models|source \.)$", before, re.MULTILINE)
    assert default.INSTALLED == translation_models.INSTALLED


def test_image_gets_all_that_it_copies_and_nothing_else():
    given = {
        line.removeprefix("!")
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for names in copied for name in names.split()} == given
    assert all((DEPLOY.parent / name).exists() for name in given)


def test_image_is_for_any_architecture():
    text = re.sub(r"^#.*$", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert not re.search(r"amd64|arm64|x86|aarch64|gcc|build-essential", text)


def everything(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def test_uninstalling_keeps_what_is_the_users_and_purge_leaves_nothing(tmp_path):
    script("install.sh", destination=tmp_path)
    (tmp_path / "etc/rtstream/rtstream.toml").write_text("[log]\nlevel = 'debug'\n")
    (tmp_path / "var/lib/rtstream").mkdir(parents=True)
    (tmp_path / "var/lib/rtstream/finals.sqlite").touch()
    for _ in range(2):
        done = script("uninstall.sh", destination=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert everything(tmp_path) == {"etc/rtstream/rtstream.toml", "var/lib/rtstream/finals.sqlite"}
        assert done.stdout.count("--purge removes it too") == 2
    assert script("uninstall.sh", "--purge", destination=tmp_path).returncode == 0
    assert not everything(tmp_path)


def test_uninstalling_leaves_nothing_where_nothing_is_the_users(tmp_path):
    script("install.sh", destination=tmp_path)
    (tmp_path / "var/lib/rtstream").mkdir(parents=True)
    (tmp_path / "var/cache/rtstream").mkdir(parents=True)
    (tmp_path / "var/cache/rtstream/packed").touch()
    done = script("uninstall.sh", destination=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not everything(tmp_path)
    assert not (tmp_path / "var/lib/rtstream").exists()
    assert not (tmp_path / "etc/rtstream").exists()


def test_program_of_somebody_else_is_not_removed(tmp_path):
    link = tmp_path / "usr/local/bin/rtstream"
    link.parent.mkdir(parents=True)
    link.symlink_to("/opt/another/rtstream")
    assert script("uninstall.sh", destination=tmp_path).returncode == 0
    assert link.is_symlink()


# As pip makes them: scripts that begin with their interpreter, or where its path is too long for that, hand over to it.
PYTHON = """#!/bin/sh
bin=$(cd "$(dirname "$0")" && pwd)
case "$*" in
    -\\ *) exec REAL "$@" ;;
    *install*)
        printf '#!%s/python\\nprint("here")\\n' "$bin" >"$bin/rtstream"
        printf "#!/bin/sh\\n'''exec' %s/python \\"\\$0\\"\\n' '''\\n" "$bin" >"$bin/long"
        printf 'home = /usr/bin\\ncommand = python3 -m venv %s\\n' "${bin%/bin}" >"$bin/../pyvenv.cfg" ;;
esac
"""


@pytest.mark.parametrize("absolute", [True, False])
def test_what_is_installed_below_a_folder_runs_from_the_root(tmp_path, absolute):
    root = tmp_path / "root"
    programs = root / "opt/rtstream/bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(PYTHON.replace("REAL", sys.executable))
    (programs / "python").chmod(0o755)
    shutil.copytree(DEPLOY, tmp_path / "checkout/deploy")
    (tmp_path / "checkout/deploy/install-torch.sh").write_text("#!/bin/sh\n")
    done = subprocess.run(
        [tmp_path / "checkout/deploy/install.sh"],
        env={**os.environ, "DESTDIR": str(root) if absolute else "root/"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (programs / "rtstream").read_text().startswith("#!/opt/rtstream/bin/python\n")
    assert "'''exec' /opt/rtstream/bin/python " in (programs / "long").read_text()
    assert (root / "opt/rtstream/pyvenv.cfg").read_text().endswith("-m venv /opt/rtstream\n")
    assert str((root / "usr/local/bin/rtstream").readlink()) == "/opt/rtstream/bin/rtstream"
    texts = [path for path in root.rglob("*") if path.is_file() and path != programs / "python"]
    assert not [path for path in texts if bytes(tmp_path) in path.read_bytes()]


@pytest.mark.parametrize("name", ["install.sh", "uninstall.sh"])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_says_what_there_is_and_changes_nothing(tmp_path, name, option):
    done = script(name, option, destination=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"sudo deploy/{name} [--" in done.stdout
    assert "DESTDIR" in done.stdout
    assert not everything(tmp_path)


@pytest.mark.parametrize("unit", UNITS)
def test_files_that_a_unit_names_are_installed(tmp_path, unit):
    script("install.sh", destination=tmp_path)
    named = set(re.findall(r"/usr/share/[\w./-]*\w", (DEPLOY / "systemd" / unit).read_text()))
    assert named
    assert [path for path in named if not Path(f"{tmp_path}{path}").is_file()] == []


@pytest.mark.parametrize("name", ["install.sh", "uninstall.sh"])
def test_unknown_option_is_an_error_and_changes_nothing(tmp_path, name):
    done = script(name, "--all", destination=tmp_path)
    assert done.returncode == 1
    assert "--all" in done.stderr
    assert not files(tmp_path)


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_the_unit(tmp_path, unit):
    text = (DEPLOY / "systemd" / unit).read_text()
    (tmp_path / unit).write_text(text.replace("/opt/rtstream/bin/rtstream", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(["--user"] if "user" in unit else []), tmp_path / unit],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    assert unit not in done.stderr, done.stderr


@needs_systemd
def test_unit_is_as_closed_as_was_promised():
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", DEPLOY / "systemd/rtstream.service"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-500:]
    score = re.search(r"exposure level for rtstream.service: ([0-9.]+)", done.stdout)
    assert float(score[1]) <= 2.0


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("MemoryDenyWriteExecute=no", "PortAudio's callbacks go through libffi"),
        ("DevicePolicy=closed", "PrivateDevices would take /dev/snd away"),
        ("DeviceAllow=char-alsa rw", "as above"),
        ("SupplementaryGroups=audio", "as above"),
        ("Type=notify", "ready when the model is loaded, not before"),
        ("KillMode=mixed", "the capturing process ends after the last words"),
    ],
)
def test_unit_avoids_what_breaks_sound(setting, why):
    lines = (DEPLOY / "systemd/rtstream.service").read_text().splitlines()
    assert setting in lines, why
    assert not [line for line in lines if line.startswith("PrivateDevices")]


@pytest.mark.parametrize("unit", UNITS)
def test_units_know_the_exit_codes(unit):
    text = (DEPLOY / "systemd" / unit).read_text()
    assert f"RestartPreventExitStatus={ExitCode.CONFIG} 2" in text
    assert f"SuccessExitStatus={ExitCode.CUT_SHORT}" in text


def test_alerts_name_metrics_that_there_are():
    from prometheus_client import generate_latest

    from rtstream.daemon.metrics import Metrics
    from rtstream.events import DeviceState
    from rtstream.wire.values import Status

    status = Status("1", "ready", device=DeviceState("m", "lost"), audio_age_seconds=1.0, real_time_factor=0.1)
    text = generate_latest(Metrics(lambda: status).registry).decode()
    samples = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    assert {f"rtstream_{name}_total" for name in COUNTERS} <= samples
    used = set(re.findall(r"\brtstream_\w+", (DEPLOY / "prometheus/alerts.yml").read_text()))
    assert used
    assert used <= samples
