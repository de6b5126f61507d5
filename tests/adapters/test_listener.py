"""Where adapters listen: the rules are those of the gRPC server."""

import asyncio
import socket
import ssl
import stat

import pytest
import trustme

from rtstream.adapters.listener import Listener, client_name
from rtstream.errors import ConfigError
from rtstream.rpc.security import Address, ServerTls


class Greeter(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(client_name(transport).encode())
        transport.close()


async def heard(*where, **options):
    reader, writer = await (asyncio.open_unix_connection if len(where) == 1 else asyncio.open_connection)(
        *where, **options
    )
    data = await reader.read()
    writer.close()
    return data


async def test_all_of_this_machine_is_one_client_and_a_unix_socket_another(tmp_path):
    path = tmp_path / "s"
    addresses = [Address(host="127.0.0.1"), Address(path=str(path))]
    listener = await Listener.open("test", addresses, Greeter, unix_mode=0o600)
    assert await heard("127.0.0.1", listener.addresses[0].port) == b"loopback"
    assert await heard(str(path)) == b"unix"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await listener.close()
    assert not path.exists()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await heard("127.0.0.1", listener.addresses[0].port)


async def test_tls_is_the_server_s(tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    tls = ServerTls(tmp_path / "cert.pem", tmp_path / "key.pem")
    listener = await Listener.open("test", [Address(host="127.0.0.1")], Greeter, tls=tls)
    assert await heard("127.0.0.1", listener.addresses[0].port, ssl=context) == b"loopback"
    await listener.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "pi.local"])  # noqa: S104
async def test_public_address_without_tls_is_refused(host):
    with pytest.raises(ConfigError, match=r"test\.listen: .*other machines could listen in"):
        await Listener.open("test", [Address(host=host)], Greeter)


async def test_address_in_use_is_told_and_the_first_one_is_let_go(tmp_path):
    path = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = [Address(path=str(path)), Address(host="127.0.0.1", port=taken.getsockname()[1])]
        with pytest.raises(ConfigError, match=r"test\.listen = '127.0.0.1:\d+': cannot be listened on: .*in use"):
            await Listener.open("test", wanted, Greeter)
    assert not path.exists()


async def test_socket_of_a_service_that_lives_is_left_alone(tmp_path):
    address = Address(path=str(tmp_path / "s"))
    listener = await Listener.open("test", [address], Greeter)
    with pytest.raises(ConfigError, match="another service listens there"):
        await Listener.open("test", [address], Greeter)
    assert await heard(address.path) == b"unix"
    await listener.close()
