"""``listen``, ``transcribe`` and ``status`` as processes, against a real server."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtstream.cli.listening import describe
from rtstream.cli.status import rows
from rtstream.client.unreachable import unreachable
from rtstream.daemon.metrics import COUNTERS
from rtstream.events import AudioLost, DeviceState, Fault, Final, Partial, Word
from rtstream.formats.lines import json_line
from rtstream.publish.items import Gap, Position, Published
from rtstream.publish.lines import item_line, read_position
from rtstream.rpc.security import Address
from rtstream.rpc.server import ServerConfig
from rtstream.wire.values import Status
from tests.publish.finals import final, partial
from tests.rpc.calls import until
from tests.rpc.conftest import running

ROOT = Path(__file__).parents[2]
NOW = 1_796_019_757.25  # 2026-11-30 06:22:37.25 UTC


async def start(*arguments, **environment):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys; from rtstream.cli.main import main; sys.exit(main())",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


async def ended(process):
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def run(*arguments, **environment):
    return await ended(await start(*arguments, **environment))


async def lines(process, count):
    async with asyncio.timeout(120):  # only so that a failing test ends
        return [(await process.stdout.readline()).decode() for _ in range(count)]


@pytest.fixture
async def served():
    async with running() as made:
        yield made


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "talk.flac"
    soundfile.write(path, np.full(5 * 22_050, 0.25), 22_050)
    return path


async def test_listen_writes_what_happens_as_lines_of_json(served):
    process = await start("listen", served.target, "--format", "jsonl", "--words")
    await until(lambda: served.broker.subscribers)
    events = [partial(1), final(1), Fault("DISK_FULL", "full"), final(2)]
    served.broker.publish(events[0])
    got = await lines(process, 1)  # or its final might take its place
    for event in events[1:]:
        served.broker.publish(event)
    got += await lines(process, 3)
    process.send_signal(signal.SIGINT)
    code, out, err = await ended(process)
    assert (code, out, err) == (130, "", "")
    epoch = served.broker.last.epoch
    assert json.loads(got[1]) == json.loads(json_line(events[1], words=True)) | {"epoch": epoch, "sequence": 1}
    assert [json.loads(line)["type"] for line in got] == ["partial", "final", "fault", "final"]
    assert got[0] == json_line(events[0], words=True) + "\n"


async def test_listen_from_start_as_captions_and_after_a_number(served):
    for number in range(3):
        served.broker.publish(final(number))
    process = await start("listen", "--from-start", "--format", "srt", RTSTREAM_SERVER=served.target)
    assert (await lines(process, 12))[0::4] == ["1\n", "2\n", "3\n"]
    process.terminate()
    await ended(process)
    process = await start("listen", served.target, "--resume-after", f"{served.broker.last.epoch}:2")
    assert (await lines(process, 1)) == ["[00:02.00 - 00:02.50] words that were said\n"]
    process.terminate()
    await ended(process)


@pytest.mark.parametrize("format_", ["srt", "vtt"])
async def test_captions_of_several_runs_count_from_the_first_final_and_are_in_order(served, format_):
    for number, at in ((7, NOW), (8, NOW + 1.5), (0, NOW + 5000), (1, NOW + 5002)):  # after the second: another run
        served.broker.publish(replace(final(number), time=at))
    process = await start("listen", served.target, "--from-start", "--format", format_)
    got = await lines(process, 16 if format_ == "srt" else 14)
    process.terminate()
    await ended(process)
    times = [line.strip().replace(",", ".").split(" --> ") for line in got if "-->" in line]
    assert times == [
        ["00:00:00.000", "00:00:01.000"],
        ["00:00:01.500", "00:00:02.500"],
        ["01:23:20.000", "01:23:21.000"],
        ["01:23:22.000", "01:23:23.000"],
    ]


@pytest.mark.parametrize(
    ("format_", "shown"), [("text", "[07:22:37.25 - 07:22:37.75]"), ("srt", "07:22:37,250 --> 07:22:38,250")]
)
async def test_times_of_day_instead_of_offsets(served, format_, shown):
    served.broker.publish(replace(final(7), time=NOW))
    process = await start("listen", served.target, "--from-start", "--clock", "--format", format_, TZ="XXX-1")
    assert shown in "".join(await lines(process, 1 if format_ == "text" else 2))
    process.terminate()
    await ended(process)


async def test_words_have_their_times_in_vtt(served):
    served.broker.publish(Final(0, 0, 32_000, "so far", (Word("so", 0, 8_000, 0.5), Word("far", 8_000, 9_000, 0.5))))
    process = await start("listen", served.target, "--from-start", "--words", "--format", "vtt")
    assert (await lines(process, 4))[3] == "so <00:00:00.500>far\n"
    process.terminate()
    await ended(process)


async def test_listen_since_begins_with_the_finals_of_that_time(served):
    for number in range(3):
        served.broker.publish(final(number))
    process = await start("listen", served.target, "--since", "1h30min")
    assert len(await lines(process, 3)) == 3
    process.terminate()
    await ended(process)
    process = await start("listen", served.target, "--since", "0s")
    await until(lambda: served.broker.subscribers)
    served.broker.publish(final(3))
    assert (await lines(process, 1)) == ["[00:03.00 - 00:03.50] words that were said\n"]
    process.terminate()
    await ended(process)


async def test_listen_tells_of_faults_beside_the_text(served):
    process = await start("listen", served.target)
    await until(lambda: served.broker.subscribers)
    served.broker.publish(Fault("DISK_FULL", "the disk is full"))
    served.broker.publish(final(1))
    assert len(await lines(process, 1)) == 1
    process.terminate()
    assert (await ended(process))[2] == "rtstream: fault DISK_FULL: the disk is full\n"


async def test_listen_tells_what_stands_once_also_over_a_lost_connection(tmp_path):
    config = ServerConfig(listen=[Address(path=str(tmp_path / "s.sock"))])
    told = [DeviceState("mic", "stalled", "no audio"), Fault("DISK_FULL", "full")]
    async with running(config) as served:
        for event in told:
            served.broker.publish(event)
        process = await start("listen", served.target)
        await until(lambda: served.broker.subscribers)
    async with running(config) as served:
        for event in [*told, Fault("DISK_FULL", "works again", recovered=True), final(1)]:
            served.broker.publish(event)
        await until(lambda: served.broker.subscribers)
        served.broker.publish(final(2))
        await lines(process, 1)
        process.terminate()
        err = (await ended(process))[2]
    assert err.count("mic: stalled, no audio\n") == 1
    assert err.count("fault DISK_FULL: full\n") == 1


async def test_listen_ends_quietly_when_its_reader_has_gone(served):
    process = await start("listen", served.target, "--from-start")
    process._transport.get_pipe_transport(1).close()
    served.broker.publish(final(1))
    assert await process.wait() == 141
    assert await process.stderr.read() == b""


@pytest.mark.parametrize("command", [["listen"], ["status"], ["transcribe", "--server"]])
async def test_service_that_is_not_there_is_one_line_that_says_how_to_start_it(tmp_path, recording, command):
    target = f"unix:{tmp_path}/nothing"
    files = [recording] if "transcribe" in command else []
    code, out, err = await run(*command, target, *files, RTSTREAM_DEBUG="")
    assert (code, out) == (1, "")
    advice = "start it with 'rtstream serve', or if it is installed with 'sudo systemctl start rtstream'"
    assert err == f"rtstream: error: {target}: no service listens there; {advice}\n"


async def test_address_that_is_none_is_one_line_that_says_where_it_stands():
    told = "address 'http://pi' is not possible: it is a URL; write pi:7660\n"
    assert await run("status", "http://pi") == (1, "", f"rtstream: error: {told}")
    assert await run("status", RTSTREAM_SERVER="http://pi") == (1, "", f"rtstream: error: $RTSTREAM_SERVER: {told}")


async def test_words_of_the_channel_are_for_who_looks_for_a_fault(tmp_path):
    _, _, err = await run("status", f"unix:{tmp_path}/nothing", RTSTREAM_DEBUG="1")
    assert "(failed to connect to all addresses" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("details", "told"),
    [
        (
            "last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused",
            "systemctl start",
        ),
        ("connect failed: addr: unix:/x error: Permission denied", "usermod -aG rtstream"),
        ("address lookup failed for nohost.invalid:7: Domain name not found", "no machine of that name"),
        (
            "Ssl handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: WRONG_VERSION_NUMBER",
            "check TLS and the certificates",
        ),
        ("Socket closed", "has closed the connection"),
        ("Failed to connect to remote host: Network is unreachable", "check the address and the network"),
        ("Deadline Exceeded", "nothing answers there in time"),
        ("what gRPC will say one day", "systemctl start"),
    ],
)
def test_why_the_service_cannot_be_reached_is_said_in_words_for_people(monkeypatch, details, told):
    monkeypatch.delenv("RTSTREAM_DEBUG", raising=False)
    said = unreachable("pi.local:7660", details)
    assert said.startswith("pi.local:7660: ")
    assert told in said
    assert details not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from-start", "--resume-after", "e:1"],
        ["--from-start", "--since", "1h"],
        ["--resume-after", "1"],
        ["--resume-after", "e:-1"],
        ["--since", "yesterday"],
        ["--since", "2999-01-01"],
    ],
)
async def test_listen_with_an_impossible_beginning_is_a_usage_error(arguments):
    assert (await run("listen", *arguments))[0] == 2


async def test_transcribe_writes_what_replay_would(served, recording):
    code, out, err = await run("transcribe", "--server", served.target, recording)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"[00:0{n}.00 - 00:0{n + 1}.00] 0.250" for n in range(5)]
    code, out, _ = await run("transcribe", "--server", served.target, "--format", "jsonl", recording)
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["partial", "final"] * 5
    assert not served.hub.open_streams


async def test_transcribe_writes_translations_below_the_finals(served, recording):
    code, out, err = await run("transcribe", "--server", served.target, "--translate", "en", recording)
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == ["[00:00.00 - 00:01.00] [es] 0.250", "[00:00.00 - 00:01.00] en: 0.250 in English"]
    command = ("transcribe", "--server", served.target, "--translate", "en", "--format", "srt", recording)
    assert (await run(*command))[1].startswith("1\n00:00:00,000 --> 00:00:01,000\n0.250\n0.250 in English\n")


async def test_transcribe_into_another_language_than_english_is_one_line(served, recording):
    code, out, err = await run("transcribe", "--server", served.target, "--translate", "en,de", recording)
    assert (code, out) == (2, "")
    assert "into en alone; 'rtstream replay' does into de" in err


async def test_transcribe_writes_numbers_in_the_form_that_is_asked_for(served, recording):
    code, out, err = await run("transcribe", "--server", served.target, "--numbers", "words", recording)
    assert (code, err) == (0, "")
    assert [line.partition("] ")[2] for line in out.splitlines()] == ["Zero point two five zero"] * 5


async def test_transcribe_sends_what_may_be_spoken(served, recording):
    for given, wanted in (((), None), (("--language", "en,es"), ("en", "es")), (("--language", "auto"), ())):
        assert (await run("transcribe", "--server", served.target, *given, recording))[0] == 0
        assert served.hub.settings[-1].languages == wanted


async def test_transcribe_sends_phrases_and_checks_them_first(served, recording):
    phrases = ("--phrase", "Grafana=2", "--phrase", "New Relic")
    assert (await run("transcribe", "--server", served.target, *phrases, recording))[0] == 0
    assert served.hub.settings[-1].phrases == ("Grafana=2", "New Relic")
    code, out, err = await run("transcribe", "--server", served.target, "--phrase", "x=abc", recording)
    assert (code, out) == (2, "")
    assert "phrase 'x=abc': the weight 'abc' is not a number" in err


async def test_transcribe_of_a_bad_file_goes_on_with_the_others(served, recording, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    code, out, err = await run("transcribe", "--server", served.target, bad, recording)
    assert code == 1
    assert err.startswith(f"rtstream: error: {bad}: ")
    assert err.count("\n") == 1
    assert f"{recording}:" in out


@pytest.mark.parametrize("format_", ["text", "srt", "jsonl"])
async def test_transcribe_of_a_truncated_file_writes_all_of_its_finals_and_then_the_error(served, tmp_path, format_):
    path = tmp_path / "cut.wav"
    soundfile.write(path, np.full(4 * 16_000, 0.25), 16_000)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 40_000])
    code, out, err = await run("transcribe", "--server", served.target, "--format", format_, "--no-partials", path)
    assert code == 1
    assert out.count("0.250") == 3
    assert err.startswith(f"rtstream: error: {path}: it is truncated")
    assert err.count("\n") == 1


async def test_status_for_people_and_for_programs(served):
    code, out, err = await run("status", served.target)
    assert (code, err) == (0, "")
    assert out.startswith("phase        ready\nversion      1.2.3, up for 12 s\n")
    assert len(out.splitlines()) <= 10
    code, out, _ = await run("status", served.target, "--json")
    assert json.loads(out)["counters"] == {"finals": 3}


def test_status_is_ten_lines_and_the_faults_whatever_is_counted():
    faults = (Fault("DISK_FULL", "the disk is full"), Fault("SOURCE", "unplugged"))
    counters = dict.fromkeys(COUNTERS, 7) | {"overflow_samples": 16_000, "behind_samples": 8_000, "device_samples": 0}
    device = DeviceState("mic", "lost", "unplugged")
    status = Status("1", "degraded", "tiny", "x86", device, 1.0, 2.0, 0.1, 1, 1, 1, counters, faults, ("es",))
    shown = dict(rows(status))
    assert len(rows(status)) == 12
    assert shown["so far"] == "7 finals; 1 s of audio lost"
    assert shown["fault"] == "SOURCE: unplugged"


async def test_token_comes_from_a_file_or_the_environment(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("0123456789abcdef\n")
    async with running(ServerConfig(tokens=tokens)) as served:
        assert (await run("status", served.target, "--token-file", tokens))[0] == 0
        assert (await run("status", served.target, RTSTREAM_TOKEN="0123456789abcdef"))[0] == 0  # noqa: S106
        code, _, err = await run("status", served.target, RTSTREAM_TOKEN="0123456789abcdeX")  # noqa: S106
        assert code == 1
        assert "the token is not one" in err
        assert err.count("\n") == 1
        empty = tmp_path / "empty"
        empty.write_text("# none\n")
        assert "holds no token" in (await run("status", served.target, "--token-file", empty))[2]


@pytest.mark.parametrize(
    ("item", "fields"),
    [
        (
            Gap(Position("e", 3), "expired", 7),
            {"type": "gap", "after": {"epoch": "e", "sequence": 3}, "reason": "expired", "missed": 7},
        ),
        (
            Published(AudioLost(16_000, 8_000, "behind"), "e"),
            {"type": "audio_lost", "start": 1.0, "end": 1.5, "reason": "behind"},
        ),
        (
            Published(DeviceState("mic", "lost", "unplugged"), "e"),
            {"type": "device_state", "device": "mic", "state": "lost", "detail": "unplugged"},
        ),
        (
            Published(Fault("X", "y", recovered=True), "e"),
            {"type": "fault", "code": "X", "message": "y", "recovered": True},
        ),
    ],
)
def test_lines_of_what_is_no_transcript(item, fields):
    assert json.loads(item_line(item)) == fields
    assert "\n" not in describe(item)


def test_lines_of_transcripts_are_those_of_replay_and_a_number():
    word = Word("a", 0, 16_000, 0.5)
    given = Final(0, 0, 16_000, "a", (word,))
    assert item_line(Published(Partial(0, 0, 16_000, "a"), "e")) == json_line(Partial(0, 0, 16_000, "a"))
    numbered = json.loads(item_line(Published(given, "e", 4), words=True))
    assert numbered == json.loads(json_line(given, words=True)) | {"epoch": "e", "sequence": 4}


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("e:1", Position("e", 1)),
        ("a:b:7", Position("a:b", 7)),
        (f"e:{2**63 - 1}", Position("e", 2**63 - 1)),
        (f"e:{2**63}", None),
        ("e:" + "9" * 5000, None),
        ("e", None),
        (":1", None),
        ("e:", None),
        ("e:x", None),
    ],
)
def test_positions(text, position):
    assert read_position(text) == position
