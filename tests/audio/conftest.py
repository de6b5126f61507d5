import pytest

from tests.audio.sound_server import SoundServer


@pytest.fixture
def sound(tmp_path):
    server = SoundServer(tmp_path)
    yield server
    server.close()
