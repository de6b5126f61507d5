"""What a user may write for the service's address, and what gRPC gets of it."""

import pytest

from rtstream.client.samples import SampleClient
from rtstream.client.target import parse_target
from rtstream.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("", "127.0.0.1:7660"),
        ("localhost", "localhost:7660"),
        ("127.0.0.1", "127.0.0.1:7660"),
        ("pi.local", "pi.local:7660"),
        ("pi.local:443", "pi.local:443"),
        (":7661", "127.0.0.1:7661"),
        ("7661", "127.0.0.1:7661"),
        ("::1", "[::1]:7660"),
        ("[::1]", "[::1]:7660"),
        ("[::1]:07661", "[::1]:7661"),
        ("unix:/run/s", "unix:/run/s"),
        ("unix:///run/s", "unix:/run/s"),
        ("unix:s", "unix:s"),
        ("/run/s", "unix:/run/s"),
    ],
)
def test_what_is_missing_is_added(text, target):
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://localhost", "it is a URL; write localhost:7660"),
        ("https://pi.local:99/x", "it is a URL; write pi.local:99, with --tls"),
        ("http://[::1]", r"write \[::1\]:7660"),
        ("dns:///pi.local", "it is a URL"),
        ("dns:pi.local", "give unix:PATH, or HOST:PORT"),
        ("unix:", "it names no socket"),
        ("unix://", "it names no socket"),
        ("pi.local:", "give unix:PATH, or HOST:PORT"),
        ("pi.local:http", "give unix:PATH, or HOST:PORT"),
        ("pi local", "give unix:PATH, or HOST:PORT"),
        ("me@pi.local", "give unix:PATH, or HOST:PORT"),
        ("[pi.local]:1", "give unix:PATH, or HOST:PORT"),
        ("1:2:3", "give unix:PATH, or HOST:PORT"),
        ("pi.local:0", "a port is 1 to 65535"),
        ("pi.local:65536", "a port is 1 to 65535"),
    ],
)
def test_what_is_no_address_is_one_line_that_says_what_to_write(text, told):
    with pytest.raises(ConfigError, match=told) as caught:
        SampleClient(text)
    assert repr(text) in str(caught.value)
