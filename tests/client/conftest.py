import pytest

from tests.rpc.conftest import running


@pytest.fixture
async def served():
    async with running() as made:
        yield made
