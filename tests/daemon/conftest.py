import pytest

from tests.audio.sound_server import SoundServer
from tests.daemon.served import Daemon
from tests.recognizer.tiny_bundle import save_tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return save_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def serve(bundle, tmp_path):
    daemons = []

    def start(*options, model=bundle, **more):
        daemons.append(Daemon(tmp_path, "--model", str(model), *options, **more))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.kill()


@pytest.fixture
def sound(tmp_path):
    server = SoundServer(tmp_path)
    yield server
    server.close()
