import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_KIND_UNSPECIFIED: _ClassVar[EventKind]
    EVENT_KIND_PARTIAL: _ClassVar[EventKind]
    EVENT_KIND_FINAL: _ClassVar[EventKind]
    EVENT_KIND_TRANSLATION: _ClassVar[EventKind]
    EVENT_KIND_AUDIO_LOST: _ClassVar[EventKind]
    EVENT_KIND_DEVICE_STATE: _ClassVar[EventKind]
    EVENT_KIND_FAULT: _ClassVar[EventKind]
    EVENT_KIND_SPEECH: _ClassVar[EventKind]

class SpeechState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPEECH_STATE_UNSPECIFIED: _ClassVar[SpeechState]
    SPEECH_STATE_STARTED: _ClassVar[SpeechState]
    SPEECH_STATE_ENDED: _ClassVar[SpeechState]

class FinalSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINAL_SOURCE_UNSPECIFIED: _ClassVar[FinalSource]
    FINAL_SOURCE_DECODER: _ClassVar[FinalSource]
    FINAL_SOURCE_CTC: _ClassVar[FinalSource]

class AudioLossReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIO_LOSS_REASON_UNSPECIFIED: _ClassVar[AudioLossReason]
    AUDIO_LOSS_REASON_OVERFLOW: _ClassVar[AudioLossReason]
    AUDIO_LOSS_REASON_BEHIND: _ClassVar[AudioLossReason]
    AUDIO_LOSS_REASON_DEVICE: _ClassVar[AudioLossReason]

class CaptureState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPTURE_STATE_UNSPECIFIED: _ClassVar[CaptureState]
    CAPTURE_STATE_STARTING: _ClassVar[CaptureState]
    CAPTURE_STATE_CAPTURING: _ClassVar[CaptureState]
    CAPTURE_STATE_STALLED: _ClassVar[CaptureState]
    CAPTURE_STATE_LOST: _ClassVar[CaptureState]
    CAPTURE_STATE_ENDED: _ClassVar[CaptureState]
    CAPTURE_STATE_PAUSED: _ClassVar[CaptureState]
    CAPTURE_STATE_MUTED: _ClassVar[CaptureState]

class GapReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GAP_REASON_UNSPECIFIED: _ClassVar[GapReason]
    GAP_REASON_EXPIRED: _ClassVar[GapReason]
    GAP_REASON_UNKNOWN_EPOCH: _ClassVar[GapReason]

class AudioEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIO_ENCODING_UNSPECIFIED: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_S16LE: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_F32LE: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_WAV: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_OGG: _ClassVar[AudioEncoding]
    AUDIO_ENCODING_FLAC: _ClassVar[AudioEncoding]

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    PHASE_STARTING: _ClassVar[Phase]
    PHASE_LOADING: _ClassVar[Phase]
    PHASE_READY: _ClassVar[Phase]
    PHASE_DEGRADED: _ClassVar[Phase]
    PHASE_STOPPING: _ClassVar[Phase]
EVENT_KIND_UNSPECIFIED: EventKind
EVENT_KIND_PARTIAL: EventKind
EVENT_KIND_FINAL: EventKind
EVENT_KIND_TRANSLATION: EventKind
EVENT_KIND_AUDIO_LOST: EventKind
EVENT_KIND_DEVICE_STATE: EventKind
EVENT_KIND_FAULT: EventKind
EVENT_KIND_SPEECH: EventKind
SPEECH_STATE_UNSPECIFIED: SpeechState
SPEECH_STATE_STARTED: SpeechState
SPEECH_STATE_ENDED: SpeechState
FINAL_SOURCE_UNSPECIFIED: FinalSource
FINAL_SOURCE_DECODER: FinalSource
FINAL_SOURCE_CTC: FinalSource
AUDIO_LOSS_REASON_UNSPECIFIED: AudioLossReason
AUDIO_LOSS_REASON_OVERFLOW: AudioLossReason
AUDIO_LOSS_REASON_BEHIND: AudioLossReason
AUDIO_LOSS_REASON_DEVICE: AudioLossReason
CAPTURE_STATE_UNSPECIFIED: CaptureState
CAPTURE_STATE_STARTING: CaptureState
CAPTURE_STATE_CAPTURING: CaptureState
CAPTURE_STATE_STALLED: CaptureState
CAPTURE_STATE_LOST: CaptureState
CAPTURE_STATE_ENDED: CaptureState
CAPTURE_STATE_PAUSED: CaptureState
CAPTURE_STATE_MUTED: CaptureState
GAP_REASON_UNSPECIFIED: GapReason
GAP_REASON_EXPIRED: GapReason
GAP_REASON_UNKNOWN_EPOCH: GapReason
AUDIO_ENCODING_UNSPECIFIED: AudioEncoding
AUDIO_ENCODING_S16LE: AudioEncoding
AUDIO_ENCODING_F32LE: AudioEncoding
AUDIO_ENCODING_WAV: AudioEncoding
AUDIO_ENCODING_OGG: AudioEncoding
AUDIO_ENCODING_FLAC: AudioEncoding
PHASE_UNSPECIFIED: Phase
PHASE_STARTING: Phase
PHASE_LOADING: Phase
PHASE_READY: Phase
PHASE_DEGRADED: Phase
PHASE_STOPPING: Phase

class Position(_message.Message):
    __slots__ = ("epoch", "sequence")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    epoch: str
    sequence: int
    def __init__(self, epoch: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("resume_after", "from_start", "kinds", "words", "heartbeat_interval", "languages", "no_partial_translations", "max_age")
    RESUME_AFTER_FIELD_NUMBER: _ClassVar[int]
    FROM_START_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    NO_PARTIAL_TRANSLATIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    resume_after: Position
    from_start: bool
    kinds: _containers.RepeatedScalarFieldContainer[EventKind]
    words: bool
    heartbeat_interval: _duration_pb2.Duration
    languages: _containers.RepeatedScalarFieldContainer[str]
    no_partial_translations: bool
    max_age: _duration_pb2.Duration
    def __init__(self, resume_after: _Optional[_Union[Position, _Mapping]] = ..., from_start: _Optional[bool] = ..., kinds: _Optional[_Iterable[_Union[EventKind, str]]] = ..., words: _Optional[bool] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., languages: _Optional[_Iterable[str]] = ..., no_partial_translations: _Optional[bool] = ..., max_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("partial", "final", "translation", "audio_lost", "device_state", "fault", "heartbeat", "gap", "speech")
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    TRANSLATION_FIELD_NUMBER: _ClassVar[int]
    AUDIO_LOST_FIELD_NUMBER: _ClassVar[int]
    DEVICE_STATE_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    SPEECH_FIELD_NUMBER: _ClassVar[int]
    partial: Partial
    final: Final
    translation: Translation
    audio_lost: AudioLost
    device_state: DeviceState
    fault: Fault
    heartbeat: Heartbeat
    gap: Gap
    speech: Speech
    def __init__(self, partial: _Optional[_Union[Partial, _Mapping]] = ..., final: _Optional[_Union[Final, _Mapping]] = ..., translation: _Optional[_Union[Translation, _Mapping]] = ..., audio_lost: _Optional[_Union[AudioLost, _Mapping]] = ..., device_state: _Optional[_Union[DeviceState, _Mapping]] = ..., fault: _Optional[_Union[Fault, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., gap: _Optional[_Union[Gap, _Mapping]] = ..., speech: _Optional[_Union[Speech, _Mapping]] = ...) -> None: ...

class Speech(_message.Message):
    __slots__ = ("segment", "state", "offset", "time")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    segment: int
    state: SpeechState
    offset: _duration_pb2.Duration
    time: _timestamp_pb2.Timestamp
    def __init__(self, segment: _Optional[int] = ..., state: _Optional[_Union[SpeechState, str]] = ..., offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Partial(_message.Message):
    __slots__ = ("segment", "start", "end", "text", "words", "time", "language")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    segment: int
    start: _duration_pb2.Duration
    end: _duration_pb2.Duration
    text: str
    words: _containers.RepeatedCompositeFieldContainer[Word]
    time: _timestamp_pb2.Timestamp
    language: str
    def __init__(self, segment: _Optional[int] = ..., start: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text: _Optional[str] = ..., words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., language: _Optional[str] = ...) -> None: ...

class Final(_message.Message):
    __slots__ = ("segment", "start", "end", "text", "words", "source", "position", "time", "confidence", "language")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    segment: int
    start: _duration_pb2.Duration
    end: _duration_pb2.Duration
    text: str
    words: _containers.RepeatedCompositeFieldContainer[Word]
    source: FinalSource
    position: Position
    time: _timestamp_pb2.Timestamp
    confidence: float
    language: str
    def __init__(self, segment: _Optional[int] = ..., start: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text: _Optional[str] = ..., words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., source: _Optional[_Union[FinalSource, str]] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., confidence: _Optional[float] = ..., language: _Optional[str] = ...) -> None: ...

class Word(_message.Message):
    __slots__ = ("text", "start", "end", "confidence")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    text: str
    start: _duration_pb2.Duration
    end: _duration_pb2.Duration
    confidence: float
    def __init__(self, text: _Optional[str] = ..., start: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., confidence: _Optional[float] = ...) -> None: ...

class Translation(_message.Message):
    __slots__ = ("segment", "start", "end", "text", "language", "final", "position", "time")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    segment: int
    start: _duration_pb2.Duration
    end: _duration_pb2.Duration
    text: str
    language: str
    final: bool
    position: Position
    time: _timestamp_pb2.Timestamp
    def __init__(self, segment: _Optional[int] = ..., start: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., text: _Optional[str] = ..., language: _Optional[str] = ..., final: _Optional[bool] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AudioLost(_message.Message):
    __slots__ = ("start", "duration", "reason", "time")
    START_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    start: _duration_pb2.Duration
    duration: _duration_pb2.Duration
    reason: AudioLossReason
    time: _timestamp_pb2.Timestamp
    def __init__(self, start: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[_Union[AudioLossReason, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DeviceState(_message.Message):
    __slots__ = ("device", "state", "detail", "time")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    device: str
    state: CaptureState
    detail: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, device: _Optional[str] = ..., state: _Optional[_Union[CaptureState, str]] = ..., detail: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("code", "message", "recovered", "time")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    recovered: bool
    time: _timestamp_pb2.Timestamp
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., recovered: _Optional[bool] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("position",)
    POSITION_FIELD_NUMBER: _ClassVar[int]
    position: Position
    def __init__(self, position: _Optional[_Union[Position, _Mapping]] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("requested", "reason", "missed")
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    requested: Position
    reason: GapReason
    missed: int
    def __init__(self, requested: _Optional[_Union[Position, _Mapping]] = ..., reason: _Optional[_Union[GapReason, str]] = ..., missed: _Optional[int] = ...) -> None: ...

class RecognizeRequest(_message.Message):
    __slots__ = ("config", "audio", "flush")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    config: RecognitionConfig
    audio: bytes
    flush: Flush
    def __init__(self, config: _Optional[_Union[RecognitionConfig, _Mapping]] = ..., audio: _Optional[bytes] = ..., flush: _Optional[_Union[Flush, _Mapping]] = ...) -> None: ...

class Flush(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Flushed(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RecognitionConfig(_message.Message):
    __slots__ = ("encoding", "sample_rate", "channels", "no_partials", "words", "chunk", "phrases", "silence_ms", "speech_events", "languages", "translate")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    NO_PARTIALS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    PHRASES_FIELD_NUMBER: _ClassVar[int]
    SILENCE_MS_FIELD_NUMBER: _ClassVar[int]
    SPEECH_EVENTS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    encoding: AudioEncoding
    sample_rate: int
    channels: int
    no_partials: bool
    words: bool
    chunk: _duration_pb2.Duration
    phrases: _containers.RepeatedScalarFieldContainer[str]
    silence_ms: int
    speech_events: bool
    languages: _containers.RepeatedScalarFieldContainer[str]
    translate: bool
    def __init__(self, encoding: _Optional[_Union[AudioEncoding, str]] = ..., sample_rate: _Optional[int] = ..., channels: _Optional[int] = ..., no_partials: _Optional[bool] = ..., words: _Optional[bool] = ..., chunk: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., phrases: _Optional[_Iterable[str]] = ..., silence_ms: _Optional[int] = ..., speech_events: _Optional[bool] = ..., languages: _Optional[_Iterable[str]] = ..., translate: _Optional[bool] = ...) -> None: ...

class RecognizeResponse(_message.Message):
    __slots__ = ("partial", "final", "audio_lost", "fault", "speech", "flushed", "translation")
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    AUDIO_LOST_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    SPEECH_FIELD_NUMBER: _ClassVar[int]
    FLUSHED_FIELD_NUMBER: _ClassVar[int]
    TRANSLATION_FIELD_NUMBER: _ClassVar[int]
    partial: Partial
    final: Final
    audio_lost: AudioLost
    fault: Fault
    speech: Speech
    flushed: Flushed
    translation: Translation
    def __init__(self, partial: _Optional[_Union[Partial, _Mapping]] = ..., final: _Optional[_Union[Final, _Mapping]] = ..., audio_lost: _Optional[_Union[AudioLost, _Mapping]] = ..., fault: _Optional[_Union[Fault, _Mapping]] = ..., speech: _Optional[_Union[Speech, _Mapping]] = ..., flushed: _Optional[_Union[Flushed, _Mapping]] = ..., translation: _Optional[_Union[Translation, _Mapping]] = ...) -> None: ...

class TranscribeRequest(_message.Message):
    __slots__ = ("config", "audio")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    config: RecognitionConfig
    audio: bytes
    def __init__(self, config: _Optional[_Union[RecognitionConfig, _Mapping]] = ..., audio: _Optional[bytes] = ...) -> None: ...

class TranscribeResponse(_message.Message):
    __slots__ = ("finals", "duration", "fault", "translations")
    FINALS_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    TRANSLATIONS_FIELD_NUMBER: _ClassVar[int]
    finals: _containers.RepeatedCompositeFieldContainer[Final]
    duration: _duration_pb2.Duration
    fault: Fault
    translations: _containers.RepeatedCompositeFieldContainer[Translation]
    def __init__(self, finals: _Optional[_Iterable[_Union[Final, _Mapping]]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., fault: _Optional[_Union[Fault, _Mapping]] = ..., translations: _Optional[_Iterable[_Union[Translation, _Mapping]]] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("version", "phase", "model", "engine", "device", "uptime", "audio_age", "real_time_factor", "rss_bytes", "subscribers", "streams", "counters", "faults", "position", "languages", "recognized_languages", "sample_rate", "backlog")
    class CountersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    AUDIO_AGE_FIELD_NUMBER: _ClassVar[int]
    REAL_TIME_FACTOR_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    RECOGNIZED_LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_FIELD_NUMBER: _ClassVar[int]
    version: str
    phase: Phase
    model: str
    engine: str
    device: DeviceState
    uptime: _duration_pb2.Duration
    audio_age: _duration_pb2.Duration
    real_time_factor: float
    rss_bytes: int
    subscribers: int
    streams: int
    counters: _containers.ScalarMap[str, int]
    faults: _containers.RepeatedCompositeFieldContainer[Fault]
    position: Position
    languages: _containers.RepeatedScalarFieldContainer[str]
    recognized_languages: _containers.RepeatedScalarFieldContainer[str]
    sample_rate: int
    backlog: _duration_pb2.Duration
    def __init__(self, version: _Optional[str] = ..., phase: _Optional[_Union[Phase, str]] = ..., model: _Optional[str] = ..., engine: _Optional[str] = ..., device: _Optional[_Union[DeviceState, _Mapping]] = ..., uptime: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., audio_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., real_time_factor: _Optional[float] = ..., rss_bytes: _Optional[int] = ..., subscribers: _Optional[int] = ..., streams: _Optional[int] = ..., counters: _Optional[_Mapping[str, int]] = ..., faults: _Optional[_Iterable[_Union[Fault, _Mapping]]] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., languages: _Optional[_Iterable[str]] = ..., recognized_languages: _Optional[_Iterable[str]] = ..., sample_rate: _Optional[int] = ..., backlog: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class MuteRequest(_message.Message):
    __slots__ = ("muted",)
    MUTED_FIELD_NUMBER: _ClassVar[int]
    muted: bool
    def __init__(self, muted: _Optional[bool] = ...) -> None: ...

class MuteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListDevicesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListDevicesResponse(_message.Message):
    __slots__ = ("devices",)
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    def __init__(self, devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("name", "index", "channels", "sample_rate", "is_default", "in_use")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    IN_USE_FIELD_NUMBER: _ClassVar[int]
    name: str
    index: int
    channels: int
    sample_rate: int
    is_default: bool
    in_use: bool
    def __init__(self, name: _Optional[str] = ..., index: _Optional[int] = ..., channels: _Optional[int] = ..., sample_rate: _Optional[int] = ..., is_default: _Optional[bool] = ..., in_use: _Optional[bool] = ...) -> None: ...
