"""A real Chromium for tests of the captions page: the system's own, where there is one."""

import shutil
import time
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import async_playwright

from rtstream.events import Final, Partial, Translation

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")
PATIENCE_MS = 60_000
BEGIN = 1_764_500_000.0


@asynccontextmanager
async def chromium():
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=3 * PATIENCE_MS
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(browser, url, *, begun=True, **options):
    """A page in a context of its own; ``begun``: once it is connected."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 720}, "locale": "en-GB", **options})
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    await page.goto(url)
    if begun:
        await page.wait_for_selector("#status[data-state=live]", state="attached")
    try:
        yield page
    finally:
        await context.close()


class Speaker:
    """Says things to the subscribers of a broker."""

    def __init__(self, broker, begin=None):
        self._broker = broker
        self._segment = 0
        self._begin = time.time() if begin is None else begin

    def _place(self):
        start = self._segment * 80_000
        return self._segment, start, start + 64_000

    def partial(self, text):
        self._broker.publish(Partial(*self._place(), text, time=self._begin + 5 * self._segment))

    def final(self, text, **translations):
        place, at = self._place(), self._begin + 5 * self._segment
        self._broker.publish(Final(*place, text, time=at))
        for language, translated in translations.items():
            self._broker.publish(Translation(*place, translated, language, final=True, time=at))
        self._segment += 1

    def partial_translation(self, language, text):
        self._broker.publish(Translation(*self._place(), text, language, final=False))
