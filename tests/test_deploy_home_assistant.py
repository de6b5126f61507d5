"""The add-on for Home Assistant: what its Supervisor reads, builds and starts."""

import http.server
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

import rtstream
from rtstream.config import load
from rtstream.daemon.settings import check_settings

FOLDER = Path(__file__).parent.parent / "deploy" / "home-assistant"
ADDON = FOLDER / "rtstream"
CONFIG = yaml.safe_load((ADDON / "config.yaml").read_text())


@pytest.fixture
def start():
    return runpy.run_path(str(ADDON / "run.py"))


def test_it_has_the_version_of_what_it_brings():
    assert CONFIG["version"] == rtstream.__version__  # by which the Supervisor offers an update


def test_each_option_has_its_schema_and_its_words():
    words = yaml.safe_load((ADDON / "translations" / "en.yaml").read_text())
    assert set(CONFIG["options"]) == set(CONFIG["schema"]) == set(words["configuration"])
    assert set(words["network"]) == set(CONFIG["ports"])
    assert CONFIG["discovery"] == ["wyoming"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ("wyoming", "listen", "tcp://0.0.0.0:10300")),
        ({}, ("wyoming", "external_vad", True)),
        ({"end_of_speech": "rtstream"}, ("wyoming", "external_vad", False)),
        ({"model": "tiny"}, ("recognition", "model", Path("tiny"))),
        ({"model": "multi"}, ("recognition", "model", Path("multi"))),
        ({"microphone": True}, ("audio", "source", "mic")),
        ({"phrases": ["Wren Hollow", "Grafana"]}, ("recognition", "phrases", ("Wren Hollow", "Grafana"))),
    ],
)
def test_options_become_settings_that_the_service_takes(start, monkeypatch, changed, expected):
    for name, setting in start["environment"]({**CONFIG["options"], **changed}).items():
        monkeypatch.setenv(name, setting)
    config = load()
    check_settings(config)
    section, key, value = expected
    assert getattr(getattr(config, section), key) == value


def test_the_folder_that_is_built_holds_all_that_its_dockerfile_copies(tmp_path):
    subprocess.run([FOLDER / "make-addon.sh", tmp_path / "addon"], check=True, capture_output=True)
    folder = tmp_path / "addon"
    copied = [line.split()[1] for line in (folder / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")]
    assert [name for name in copied if not name.startswith("--from") and not (folder / name).exists()] == []
    for name in ("pyproject.toml", "rtstream/cli/main.py", "models/base"):
        assert (folder / "source" / name).exists()
    assert not list(folder.rglob("__pycache__"))
    # Whatever is called so anywhere below is taken for an add-on by the Supervisor.
    configs = [path for path in folder.rglob("config.*") if path.suffix in {".yaml", ".yml", ".json"}]
    assert configs == [folder / "config.yaml"]


def test_the_supervisor_is_told_where_the_service_listens(start, monkeypatch):
    told = []

    class Supervisor(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with socket.create_server(("127.0.0.1", 0)) as service, http.server.HTTPServer(("127.0.0.1", 0), Supervisor) as api:
        monkeypatch.setitem(start["announce"].__globals__, "PORT", service.getsockname()[1])
        threading.Thread(target=api.handle_request, daemon=True).start()
        start["announce"](f"http://127.0.0.1:{api.server_port}", "secret")
        uri = f"tcp://{socket.gethostname()}:{service.getsockname()[1]}"
    assert told == [("/discovery", "Bearer secret", {"service": "wyoming", "config": {"uri": uri}})]


def test_the_service_is_started_with_the_options(tmp_path):
    (tmp_path / "rtstream").write_text('#!/bin/sh\necho "$@" "$RTSTREAM_RECOGNITION__MODEL"\n')
    (tmp_path / "rtstream").chmod(0o755)
    (tmp_path / "options.json").write_text(json.dumps({**CONFIG["options"], "model": "tiny"}))
    script = (ADDON / "run.py").read_text().replace("/data/options.json", str(tmp_path / "options.json"))
    (tmp_path / "run.py").write_text(script)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment.pop("SUPERVISOR_TOKEN", None)
    done = subprocess.run([sys.executable, tmp_path / "run.py"], env=environment, capture_output=True, check=True)
    assert done.stdout == b"serve tiny\n"


def test_compose_opens_no_port_of_rtstream():
    services = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())["services"]
    assert "ports" not in services["rtstream"]
    assert services["rtstream"]["environment"]["RTSTREAM_WYOMING__LISTEN"] == "tcp://0.0.0.0:10300"
