"""What goes over the wire comes back as it was."""

from hypothesis import given
from hypothesis import strategies as st

from rtstream.events import AudioLost, DeviceState, Fault, Final, Flushed, Partial, Speech, Translation, Word
from rtstream.publish.items import Gap, Position, Published
from rtstream.wire.convert import duration, read_event, read_item, recognize_response, samples, subscribe_response
from rtstream.wire.v1 import rtstream_pb2 as pb

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
offset = st.integers(0, 2**45)  # seventy years of audio
confidence = st.floats(0, 1, width=32)
words = st.lists(st.builds(Word, text, offset, offset, confidence), max_size=3).map(tuple)
times = st.none() | st.integers(-(10**11), 10**13).map(lambda milliseconds: milliseconds / 1000)
partials = st.builds(Partial, st.integers(0, 2**40), offset, offset, text, words, times, text)
finals = st.builds(
    Final,
    *(st.integers(0, 2**40), offset, offset, text, words, st.sampled_from(["decoder", "ctc"])),
    *(st.none() | confidence, times, text),
)
losses = st.builds(AudioLost, offset, offset, st.sampled_from(["overflow", "behind", "device"]), times)
states = st.sampled_from(["starting", "capturing", "stalled", "lost", "ended"])
devices = st.builds(DeviceState, text, states, text, times)
speech = st.builds(Speech, st.integers(0, 2**40), offset, st.sampled_from(["started", "ended"]), times)
faults = st.builds(Fault, text, text, st.booleans(), times)
positions = st.builds(Position, text, st.integers(0, 2**63 - 1))
translations = st.builds(Translation, st.integers(0, 2**40), offset, offset, text, text, st.booleans(), times)
gaps = st.builds(Gap, positions, st.sampled_from(["expired", "unknown_epoch"]), st.none() | st.integers(1, 2**40))


def carried(message):
    return type(message).FromString(message.SerializeToString())


@given(offset)
def test_offsets_are_exact(count):
    assert samples(carried(duration(count))) == count


@given(st.one_of(partials, translations, losses, devices, faults, speech), text)
def test_events_without_number(event, epoch):
    item = Published(event, epoch)
    read = read_item(carried(subscribe_response(item, words=True)), epoch)
    assert read == item
    assert read.event.time == event.time


@given(finals, text, st.integers(0, 2**63 - 1))
def test_finals_with_their_number(event, epoch, sequence):
    item = Published(event, epoch, sequence)
    read = read_item(carried(subscribe_response(item, words=True)), "another")
    assert read == item
    assert read.event.time == event.time


@given(translations, text, positions)
def test_translations_with_the_number_of_their_final(event, epoch, position):
    item = Published(event, epoch, translates=position)
    assert read_item(carried(subscribe_response(item)), epoch) == item


@given(gaps)
def test_gaps(gap):
    assert read_item(carried(subscribe_response(gap)), "any") == gap


@given(st.one_of(partials, finals, losses, faults, speech))
def test_events_of_a_clients_own_stream(event):
    read = read_event(carried(recognize_response(event, words=True)))
    assert (read, read.time) == (event, event.time)


def test_words_are_left_out_unless_asked_for():
    event = Final(0, 0, 1, "a", (Word("a", 0, 1, 1.0),))
    assert not subscribe_response(Published(event, "e", 1)).final.words


def test_kinds_of_a_newer_daemon_are_passed_over():
    assert read_item(pb.SubscribeResponse(), "e") is None
    assert read_item(pb.SubscribeResponse(device_state=pb.DeviceState(state=99)), "e").event.state == "starting"


def test_flushed_is_of_a_clients_own_stream_alone():
    assert read_event(carried(recognize_response(Flushed()))) == Flushed()


def test_state_of_speech_of_a_newer_daemon_is_passed_over():
    assert read_item(pb.SubscribeResponse(speech=pb.Speech(state=9)), "e") is None
