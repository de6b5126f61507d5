"""What people read first: its links lead somewhere, its commands exist, its examples run."""

import re
import shlex
from functools import cache

import click
import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from rtstream.cli.main import COMMANDS, LazyGroup
from rtstream.config import load
from rtstream.wire.v1 import rtstream_pb2
from tests.pages import README, ROOT, examples
from tests.recognizer.tiny_bundle import DATA, save_tiny_bundle

PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *(
            page
            for folder in ("deploy", "docs", "examples", "models", "protos")
            for page in (ROOT / folder).rglob("*.md")
        ),
    }
)


def named(page):
    return str(page.relative_to(ROOT))


def prose(page):
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(page):
    """Where a link into a page may lead, as GitHub names it."""
    headings = re.findall(r"^#+ +(.*)", prose(page), re.MULTILINE)
    words = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings)
    slugs = {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in words}
    return slugs | set(re.findall(r'<a id="([^"]+)"', page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    wrong = []
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]*)\)", prose(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150


def typed_lines(page):
    """What a reader is told to type."""
    for block in (*examples(page, "sh"), *examples(page, "console")):
        yield from block.replace("\\\n", " ").splitlines()


def command_lines(page):
    """Of what is typed that from ``rtstream`` on, without what a shell makes of it."""
    for line in typed_lines(page):
        told = line.partition(" #")[0].partition(" > ")[0]
        for part in told.split("|"):
            words = shlex.split(part)
            called = (words[place + 1 :] for place, word in enumerate(words) if word == "rtstream")
            if arguments := next((rest for rest in called if rest and re.match(r"[a-z]|--", rest[0])), None):
                yield arguments[1:] if arguments[0] == "rtstream" else arguments


PARSED = [(named(page), words) for page in PAGES if page.name != "CHANGELOG.md" for words in command_lines(page)]


@pytest.mark.parametrize(("page", "words"), PARSED, ids=[f"{page}: {' '.join(words)}" for page, words in PARSED])
def test_commands_that_a_reader_types_are_possible(page, words, monkeypatch):  # noqa: ARG001 - names the test
    monkeypatch.chdir(ROOT)
    command, words = LazyGroup(COMMANDS, name="rtstream"), list(words)
    context = click.Context(command)
    if words == ["--help"]:
        return
    while isinstance(command, click.Group):
        name = words.pop(0)
        assert name in command.list_commands(context)
        command = command.get_command(context, name)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known | {"--help"}


SETTINGS = [(named(page), block) for page in PAGES for block in examples(page, "toml")]


@pytest.mark.parametrize(("page", "block"), SETTINGS, ids=[page for page, _ in SETTINGS])
def test_settings_that_a_reader_copies_are_known(page, block, tmp_path):  # noqa: ARG001 - names the test
    (tmp_path / "rtstream.toml").write_text(block)
    load(tmp_path / "rtstream.toml")


CALLS = [
    shlex.split(line)
    for page in PAGES
    for line in typed_lines(page)
    if line.startswith("grpcurl ") and "/" in line.split()[-1]
]


@pytest.mark.parametrize("words", CALLS, ids=[words[-1] for words in CALLS])
def test_calls_that_a_reader_types_are_of_the_interface(words):
    service, _, method = words[-1].partition("/")
    if service == "grpc.health.v1.Health":
        return
    (known,) = rtstream_pb2.DESCRIPTOR.services_by_name.values()
    request = GetMessageClass(known.methods_by_name[method].input_type)()
    assert service == known.full_name
    if "-d" in words:
        json_format.Parse(re.sub(r"\$\(.*?\)", "", words[words.index("-d") + 1]), request)


def test_example_of_three_words_runs(tmp_path, monkeypatch):
    (example,) = [block for block in examples(README, "python") if block.startswith("import rtstream\n")]
    save_tiny_bundle(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.flac").write_bytes((DATA / "cv-utica.flac").read_bytes())
    written = []
    exec(example, {"print": written.append})  # noqa: S102
    assert len(written) == 1
    assert written[0].strip()
