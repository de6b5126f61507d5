"""The MQTT publisher against a real mosquitto."""

import asyncio
import json
import re
import signal
import ssl
import subprocess
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import trustme

from rtstream.adapters.mqtt.config import MqttConfig, MqttTls
from rtstream.adapters.mqtt.publisher import FAULT, MqttPublisher
from rtstream.config import Config, Mqtt
from rtstream.daemon.settings import check_settings, mqtt_config
from rtstream.errors import ConfigError
from rtstream.events import AudioLost, DeviceState, Fault, Final, Partial, Speech, Translation
from rtstream.publish.broker import Broker
from tests.adapters.mosquitto import Mosquitto, Watcher, needs_mosquitto
from tests.audio.sound_server import until
from tests.daemon.served import Daemon
from tests.pages import ROOT, examples
from tests.recognizer.tiny_bundle import DATA
from tests.rpc.hubs import ScriptedHub

pytestmark = needs_mosquitto

BASE = "rtstream/desk"
FINAL = f"{BASE}/final"


def final(number):
    return Final(number, number * 16_000, number * 16_000 + 8_000, f"final {number}", confidence=0.5)


@pytest.fixture
def mosquitto(tmp_path):
    broker = Mosquitto(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
def watcher(mosquitto):
    made = Watcher(mosquitto)
    yield made
    made.close()


class Published:
    """A publisher on a scripted hub."""

    def __init__(self, port, **config):
        self.broker = Broker()
        self.hub = ScriptedHub(self.broker)
        self.faults = []
        settings = {"retry_seconds": (0.05, 0.1), "health_seconds": 0.1, "tls": None, **config}
        self.config = MqttConfig("127.0.0.1", port, "desk", "Desk", **settings)
        self.publisher = MqttPublisher(self.hub, self.config, self.faults.append)

    async def seen(self, condition, what):
        """Wait as the tests of threads do, on a thread of its own."""
        await asyncio.to_thread(until, condition, what)

    async def stop(self):
        self.broker.close()
        await self.publisher.stop(60)


@asynccontextmanager
async def publishing(port, **config):
    made = Published(port, **config)
    try:
        yield made
    finally:
        await made.stop()


async def test_home_assistant_is_told_of_one_device_with_all_its_entities(mosquitto, watcher):
    async with publishing(mosquitto.port) as published:
        topic = "homeassistant/device/desk/config"
        await published.seen(lambda: watcher.of(f"{BASE}/status"), "it is online")
        [told] = watcher.of(topic)
        message = json.loads(told)
        assert message["device"]["identifiers"] == ["rtstream_desk"]
        assert message["origin"]["name"] == "rtstream"
        assert message["availability_topic"] == f"{BASE}/status"
        platforms = {key: entry["platform"] for key, entry in message["components"].items()}
        assert platforms == {
            "transcript": "event",
            "hearing": "binary_sensor",
            "fault": "binary_sensor",
            "audio_age": "sensor",
            "backlog": "sensor",
            "mute": "switch",
        }
        unique = [entry["unique_id"] for entry in message["components"].values()]
        assert len(set(unique)) == len(unique)
        late = Watcher(mosquitto, topic)  # it is retained
        await published.seen(lambda: late.got, "told again")
        assert late.got[0][3]
        late.close()
        # Home Assistant starts again, and is told again.
        watcher.client.publish("homeassistant/status", "online")
        await published.seen(lambda: len(watcher.of(topic)) == 2, "told anew")


async def test_finals_come_once_in_order_with_their_numbers(mosquitto, watcher):
    async with publishing(mosquitto.port) as published:
        await published.seen(lambda: watcher.last(f"{BASE}/status") == "online", "online")
        for number in range(300):
            published.broker.publish(Partial(number, 0, 1, "partial"))
            published.broker.publish(final(number))
        await published.seen(lambda: len(watcher.of(FINAL)) == 300, "all finals")
        events = [json.loads(text) for text in watcher.of(FINAL)]
        assert [event["text"] for event in events] == [f"final {n}" for n in range(300)]
        assert [event["sequence"] for event in events] == list(range(1, 301))
        assert {event["epoch"] for event in events} == {published.broker.last.epoch}
        assert {event["event_type"] for event in events} == {"final"}
        assert {(qos, retained) for topic, _, qos, retained in watcher.got if topic == FINAL} == {(1, False)}
        assert watcher.of(f"{BASE}/partial") == []


async def test_nothing_is_missed_from_when_the_service_is_told_to_be_online(mosquitto, watcher, monkeypatch):
    introduce = MqttPublisher._introduce

    async def slow(publisher, client):
        await introduce(publisher, client)
        published.broker.publish(final(0))
        await published.seen(lambda: published.broker.last.sequence, "published")

    monkeypatch.setattr(MqttPublisher, "_introduce", slow)
    async with publishing(mosquitto.port) as published:
        await published.seen(lambda: watcher.of(FINAL), "the final")


async def test_what_is_said_while_the_broker_is_away_comes_when_it_is_back(mosquitto):
    async with publishing(mosquitto.port) as published:
        first = Watcher(mosquitto)
        await published.seen(lambda: first.last(f"{BASE}/status") == "online", "online")
        published.broker.publish(final(0))
        await published.seen(lambda: first.of(FINAL), "a final")
        first.close()
        mosquitto.stop()
        for number in range(1, 6):
            published.broker.publish(final(number))
        await published.seen(lambda: published.faults, "it is told")
        assert published.faults[-1].code == FAULT
        assert f"127.0.0.1:{mosquitto.port}" in published.faults[-1].message
        mosquitto.start()
        # Whoever subscribes first gets all of it: QoS 1 is for those who are there.
        second = Watcher(mosquitto)
        await published.seen(lambda: second.last(f"{BASE}/status") == "online", "online again")
        published.broker.publish(final(6))
        await published.seen(lambda: any("final 6" in text for text in second.of(FINAL)), "the last")
        assert published.faults[-1].recovered
        second.close()


async def test_a_device_that_was_switched_off_goes_on_after_what_the_broker_has(mosquitto, watcher, tmp_path):
    state = tmp_path / "mqtt.position"
    async with publishing(mosquitto.port, state=state) as published:
        await published.seen(lambda: watcher.last(f"{BASE}/status") == "online", "online")
        published.broker.publish(final(0))
        published.broker.publish(final(1))
        await published.seen(lambda: len(watcher.of(FINAL)) == 2, "two finals")
        last = published.broker.last
    assert state.read_text() == f"{last.epoch}:{last.sequence}\n"
    again = Published(mosquitto.port, state=state)
    assert again.publisher._taken == last
    await again.stop()


async def test_states_are_retained_and_follow_what_happens(mosquitto, watcher):
    async with publishing(mosquitto.port) as published:
        await published.seen(lambda: watcher.last(f"{BASE}/hearing") == "OFF", "nothing is heard")
        published.broker.publish(Speech(0, 0, "started"))
        await published.seen(lambda: watcher.last(f"{BASE}/hearing") == "ON", "somebody speaks")
        published.broker.publish(DeviceState("mic", "lost"))
        await published.seen(lambda: watcher.last(f"{BASE}/hearing") == "OFF", "the microphone is gone")
        assert json.loads(watcher.last(f"{BASE}/fault"))["state"] == "OFF"
        status = published.hub.status()
        broken = replace(status, faults=(Fault("DISK_FULL", "free some"),), audio_age_seconds=7.0, backlog_seconds=1.5)
        published.hub.status = lambda: broken
        published.broker.publish(Fault("DISK_FULL", "free some"))
        await published.seen(lambda: json.loads(watcher.last(f"{BASE}/fault"))["state"] == "ON", "it is broken")
        assert json.loads(watcher.last(f"{BASE}/fault"))["faults"] == [{"code": "DISK_FULL", "message": "free some"}]
        await published.seen(lambda: json.loads(watcher.last(f"{BASE}/health"))["audio_age"] == 7.0, "health")
        assert json.loads(watcher.last(f"{BASE}/health"))["backlog"] == 1.5
        late = Watcher(mosquitto, f"{BASE}/+")
        await published.seen(lambda: {"hearing", "fault", "mute"} <= {t[0].split("/")[-1] for t in late.got}, "all")
        late.close()


async def test_translations_and_partials_have_topics_of_their_own(mosquitto, watcher):
    async with publishing(mosquitto.port, partials=True) as published:
        await published.seen(lambda: watcher.last(f"{BASE}/status") == "online", "online")
        published.broker.publish(Partial(0, 0, 1, "Good"))
        published.broker.publish(final(0))
        published.broker.publish(Translation(0, 0, 1, "Buenos", "es", final=False))
        published.broker.publish(Translation(0, 0, 1, "Buenos días.", "es", final=True))
        published.broker.publish(AudioLost(0, 1, "behind"))
        await published.seen(lambda: watcher.of(f"{BASE}/translation/es"), "a translation")
        [told] = map(json.loads, watcher.of(f"{BASE}/translation/es"))
        assert (told["event_type"], told["text"], told["sequence"]) == ("translation", "Buenos días.", 1)
        assert json.loads(watcher.of(f"{BASE}/partial")[0])["text"] == "Good"


async def test_the_switch_mutes_and_unmutes(mosquitto, watcher):
    async with publishing(mosquitto.port) as published:
        await published.seen(lambda: watcher.last(f"{BASE}/mute") == "OFF", "not muted")
        watcher.client.publish(f"{BASE}/mute/set", "ON", qos=1)
        await published.seen(lambda: watcher.last(f"{BASE}/mute") == "ON", "muted")
        assert published.hub.muted
        watcher.client.publish(f"{BASE}/mute/set", "maybe", qos=1)
        watcher.client.publish(f"{BASE}/mute/set", "OFF", qos=1)
        await published.seen(lambda: watcher.last(f"{BASE}/mute") == "OFF", "not muted")
        assert not published.hub.muted


async def test_a_command_that_is_retained_is_passed_over(mosquitto, watcher):
    watcher.client.publish(f"{BASE}/mute/set", "ON", qos=1, retain=True).wait_for_publish(120)
    async with publishing(mosquitto.port) as published:
        await published.seen(lambda: watcher.last(f"{BASE}/health"), "it runs")
        watcher.client.publish(f"{BASE}/mute/set", "OFF", qos=1)
        published.broker.publish(final(0))
        await published.seen(lambda: watcher.of(FINAL), "a final")
        assert "ON" not in watcher.of(f"{BASE}/mute")
        assert not published.hub.muted


async def test_without_the_switch_nobody_can_mute_it(mosquitto, watcher):
    async with publishing(mosquitto.port, mute=False) as published:
        await published.seen(lambda: watcher.last(f"{BASE}/status") == "online", "online")
        assert "mute" not in json.loads(watcher.last("homeassistant/device/desk/config"))["components"]
        watcher.client.publish(f"{BASE}/mute/set", "ON", qos=1)
        published.broker.publish(final(0))
        await published.seen(lambda: watcher.of(FINAL), "a final")
        assert not published.hub.muted


async def test_who_leaves_says_so_after_its_last_final(mosquitto, watcher):
    async with publishing(mosquitto.port) as published:
        await published.seen(lambda: watcher.last(f"{BASE}/status") == "online", "online")
        published.broker.publish(final(0))
    await asyncio.to_thread(until, lambda: watcher.last(f"{BASE}/status") == "offline", "offline")
    assert len(watcher.of(FINAL)) == 1


def documented_broker(folder):
    """Settings and rights as docs/mqtt.md has them, with the files in ``folder``; each user's password is "secret"."""
    rights, settings = examples(ROOT / "docs/mqtt.md")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "broker.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "broker.pem")
    (folder / "passwords").write_text("desk:secret\nhall:secret\nhomeassistant:secret\ncollector:secret\n")
    subprocess.run(["mosquitto_passwd", "-U", folder / "passwords"], check=True)  # noqa: S607
    (folder / "acl").write_text(rights)
    listener, _, rest = settings.partition("\n")
    assert listener == "listener 8883"
    return Mosquitto(folder, re.sub(r"/etc/mosquitto(/certs)?/", f"{folder}/", rest))


async def test_tls_a_user_and_rights(tmp_path):
    broker = documented_broker(tmp_path)
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "wrong").write_text("guess\n")

    def watch(user):
        def prepare(client):
            client.tls_set_context(ssl.create_default_context(cafile=tmp_path / "ca.pem"))
            client.username_pw_set(user, "secret")

        return Watcher(broker, prepare=prepare)

    try:
        watcher, collector, other = map(watch, ("homeassistant", "collector", "hall"))
        tls = MqttTls(tmp_path / "ca.pem")
        async with publishing(broker.port, tls=tls, username="desk", password=tmp_path / "password") as published:
            await published.seen(lambda: watcher.last(f"{BASE}/status") == "online", "online")
            assert watcher.of("homeassistant/device/desk/config")
            other.client.publish(f"{BASE}/mute/set", "ON", qos=1).wait_for_publish(120)
            published.broker.publish(final(0))
            await published.seen(lambda: watcher.of(FINAL) and collector.of(FINAL), "a final")
            assert not published.hub.muted
            watcher.client.publish(f"{BASE}/mute/set", "ON", qos=1)
            await published.seen(lambda: published.hub.muted, "muted")
        assert {topic for topic, *_ in collector.got} == {FINAL}
        assert not other.got
        async with publishing(broker.port, tls=tls, username="desk", password=tmp_path / "wrong") as published:
            await published.seen(lambda: published.faults, "refused")
            assert "authori" in published.faults[0].message.lower()
        async with publishing(broker.port, tls=MqttTls(), username="desk", password=tmp_path / "password") as published:
            await published.seen(lambda: published.faults, "not trusted")
            assert "certificate" in published.faults[0].message
        for each in (watcher, collector, other):
            each.close()
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"broker": "pi"}, r"mqtt\.broker: 'pi' is not possible"),
        ({"broker": "mqtt://pi:99999"}, "is not possible"),
        ({"broker": "http://pi"}, "is not possible"),
        ({"broker": "mqtt://user:secret@pi"}, "is not possible"),
        ({"broker": "mqtt://pi"}, "unencrypted"),
        ({"broker": "mqtts://pi", "device": "a/b"}, r"mqtt\.device"),
        ({"broker": "mqtts://pi", "certificate": "/c"}, "belong together"),
        ({"broker": "mqtts://pi", "ca": "/nowhere"}, "/nowhere"),
        ({"broker": "mqtt://localhost", "ca": "/nowhere"}, "need TLS"),
        ({"broker": "mqtts://pi", "password_file": "/p"}, "username"),
    ],
)
def test_settings_that_cannot_be_are_told_in_one_line(settings, told):
    with pytest.raises(ConfigError, match=told):
        check_settings(Config(mqtt=Mqtt(**settings)))


def test_ports_and_names_have_their_defaults():
    config = mqtt_config(Config(mqtt=Mqtt(broker="mqtts://pi", device="hall")))
    assert (config.host, config.port, config.base, config.name) == ("pi", 8883, "rtstream/hall", "rtstream hall")
    assert mqtt_config(Config(mqtt=Mqtt(broker="mqtt://pi", insecure=True))).port == 1883
    assert mqtt_config(Config()) is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_service_publishes_and_its_end_is_seen_also_when_it_is_killed(number, mosquitto, watcher, tmp_path):
    samples, rate = soundfile.read(DATA / "cv-laundry.wav", dtype="int16")
    spoken = tmp_path / "spoken.wav"
    soundfile.write(spoken, np.concatenate([samples, np.zeros(2 * rate, np.int16)]), rate)
    settings = f'[mqtt]\nbroker = "mqtt://127.0.0.1:{mosquitto.port}"\ndevice = "desk"\n'
    daemon = Daemon(tmp_path, "--model", "tiny", "--source", f"wav:{spoken}?loop=1", settings=settings)
    try:
        daemon.ready()
        until(lambda: watcher.last(f"{BASE}/status") == "online", "online")
        assert json.loads(watcher.last("homeassistant/device/desk/config"))["device"]["model"] == "tiny"
        if number == signal.SIGTERM:
            until(lambda: watcher.of(FINAL), "what was said")
        daemon.send(number)
        until(lambda: watcher.last(f"{BASE}/status") == "offline", "offline")
        assert daemon.process.wait(180) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    finally:
        daemon.kill()
