"""The life of the service, from the first look at the settings to the exit code."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import structlog

from rtstream import logging
from rtstream.daemon.adapters import start_adapters
from rtstream.daemon.exits import ExitCode, UnavailableError
from rtstream.daemon.leaving import Aside
from rtstream.daemon.notify import Notifier
from rtstream.daemon.scraping import MetricsServer
from rtstream.daemon.service import Service
from rtstream.daemon.settings import check_settings, metrics_address, server_config
from rtstream.errors import BundleError, ConfigError, RtstreamError
from rtstream.events import Fault
from rtstream.rpc.server import serve
from rtstream.vad.gate import GateMissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtstream.config import Config
    from rtstream.daemon.adapters import Adapter
    from rtstream.daemon.models import LoadedModel
    from rtstream.rpc.server import Server

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""Between looks at the progress, shorter where the watchdog asks for it."""
GRACE_SECONDS = 2.0
"""That subscribers have to take what was published last."""
CLEANUP_SECONDS = 5.0


class Runner:
    """Leads one service from its start to its end. ``read`` gives the settings, again at each SIGHUP."""

    def __init__(
        self,
        read: Callable[[], Config],
        notifier: Notifier | None = None,
    ) -> None:
        self._read = read
        self._notifier = notifier or Notifier()
        self._stop = asyncio.Event()
        self._stops = 0
        self._aside = Aside("stopping")

    async def run(self) -> ExitCode:
        """Serve until a signal says otherwise. Raises ConfigError, AudioError, GateMissingError, UnavailableError."""
        config = self._read()
        check_settings(config)
        logging.configure(config.log.level)
        service = Service(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, service)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload, service)
        scraped = MetricsServer(service.metrics.registry)
        if (address := metrics_address(config)) is not None:
            await scraped.start(address, server_config(config.server).tls)
        try:
            server = await serve(service, server_config(config.server, config.recognition.max_streams))
        except (RtstreamError, OSError, RuntimeError) as error:
            raise UnavailableError(f"the service cannot listen: {error}") from error
        adapters: list[Adapter] = []
        try:
            await self._serve(service, server, adapters)
        finally:
            await self._end(service, server, adapters)
            await scraped.stop()
            self._notifier.close()
        return ExitCode.STOPPED if service.complete else ExitCode.CUT_SHORT

    async def _serve(self, service: Service, server: Server, adapters: list[Adapter]) -> None:
        """From loading the model to the signal."""
        service.phase = "loading"
        model = await self._load(service, service.config)
        if model is None:
            return
        service.listen(model)
        await server.set_serving(True)
        try:
            adapters += await start_adapters(service)
        except RtstreamError as error:
            raise UnavailableError(str(error)) from error
        self._notifier.ready()
        log.info("ready", model=model.name, engine=model.engine, source=service.config.audio.source)
        watchdog = self._notifier.watchdog_seconds
        seconds = LOOK_SECONDS if watchdog is None else min(LOOK_SECONDS, watchdog / 4)
        while not await self._stopped_within(seconds):
            self._notifier.status(_line(service))
            if service.progress is not None and service.progress.made():
                self._notifier.watchdog()

    async def _load(self, service: Service, config: Config) -> LoadedModel | None:
        """The model, as soon as there is one that can be used; None if the service is stopped before."""
        settings = config.recognition
        while not self._stop.is_set():
            self._notifier.status(f"loading the model {settings.model or ''}")
            self._notifier.extend(settings.retry_seconds + 60.0)
            loading = asyncio.ensure_future(asyncio.to_thread(_load_model, config))
            stopped = asyncio.ensure_future(self._stop.wait())
            await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not loading.done():
                return None
            try:
                model = loading.result()
            except BundleError as error:
                service.publish(Fault("MODEL_UNUSABLE", f"{error}; trying again"))
                self._notifier.status(f"no model: {error}")
                await self._stopped_within(settings.retry_seconds)
            else:
                service.publish(Fault("MODEL_UNUSABLE", f"the model {model.name} is loaded", recovered=True))
                return model
        return None

    async def _end(self, service: Service, server: Server, adapters: Sequence[Adapter]) -> None:
        service.phase = "stopping"
        seconds = service.config.service.drain_seconds
        log.info("stopping", drain_seconds=seconds)
        self._notifier.stopping()
        self._notifier.status("stopping: publishing what was said last")
        self._notifier.extend(seconds + GRACE_SECONDS + CLEANUP_SECONDS)
        await self._aside.run(lambda: service.drain(seconds))
        self._notifier.extend(GRACE_SECONDS + 2 * CLEANUP_SECONDS)  # of the calls, and of the engine
        await asyncio.gather(
            server.stop(GRACE_SECONDS, CLEANUP_SECONDS), *(adapter.stop(GRACE_SECONDS) for adapter in adapters)
        )
        await self._aside.run(service.close)
        log.info("stopped", complete=service.complete)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _on_stop(self, service: Service) -> None:
        self._stop.set()
        self._stops += 1
        if self._stops > 1:
            log.warning("stopping at once")
            service.cut()

    def _on_reload(self, service: Service) -> None:
        self._notifier.reloading()
        try:
            config = self._read()
            check_settings(config)
            taken, kept = service.reload(config)
        except (ConfigError, GateMissingError) as error:
            service.publish(Fault("CONFIG_INVALID", f"{error}; the settings stay as they were"))
        else:
            logging.configure(service.config.log.level)
            service.publish(Fault("CONFIG_INVALID", "the settings are right again", recovered=True))
            log.warning("settings read again", changed=taken, need_restart=kept)
        if service.phase == "ready":
            self._notifier.ready()


def _load_model(config: Config) -> LoadedModel:
    from rtstream.daemon.models import LoadedModel  # noqa: PLC0415 - torch, whose import takes seconds

    return LoadedModel(config.recognition, config.text)


def _line(service: Service) -> str:
    """What ``systemctl status`` shows."""
    status = service.status()
    device = status.device
    heard = f"{device.device} is {device.state}" if device is not None else "no source yet"
    speed = "" if status.real_time_factor is None else f", {status.real_time_factor:.2f} of real time"
    plural = "" if status.subscribers == 1 else "s"
    return f"{status.phase}: {heard}, {status.subscribers} subscriber{plural}, {status.streams} streams{speed}"
