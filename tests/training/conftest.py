import pytest

from tests.training.tiny_training import write_data


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A directory of shards."""
    directory = tmp_path_factory.mktemp("shards")
    write_data(directory)
    return directory
