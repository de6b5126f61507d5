"""The captions page in a real Chromium."""

import asyncio
import re

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe

from rtstream.adapters.http.config import HttpConfig
from rtstream.adapters.http.server import HttpServer
from rtstream.events import DeviceState
from rtstream.rpc.security import Address
from tests.adapters.browser import Speaker, chromium, needs_chromium, opened
from tests.adapters.http_served import serving

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

FINALS = "#finals li .columns"
TOKEN = "correct-horse-battery"  # noqa: S105


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser():
    async with chromium() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def served():
    async with serving() as made:
        made.speaker = Speaker(made.broker)
        yield made


async def shown(page, selector, text):
    await page.wait_for_function(
        "([where, text]) => [...document.querySelectorAll(where)].some((found) => found.textContent.includes(text))",
        arg=[selector, text],
    )


async def colour(page, selector):
    """Red, green and blue, added."""
    found = await page.eval_on_selector(selector, "found => getComputedStyle(found).color")
    return sum(map(int, re.findall(r"\d+", found)[:3]))


async def test_words_appear_while_they_are_spoken_and_the_final_takes_their_place(browser, served):
    async with opened(browser, served.url) as page:
        served.speaker.partial("good mor")
        await shown(page, "#captions .partial", "good mor")
        served.speaker.final("Good morning.")
        await shown(page, FINALS, "Good morning.")
        assert await page.locator("#captions .partial").count() == 0
        served.speaker.partial("how are")
        await shown(page, "#captions .partial", "how are")
        assert await page.inner_text("#captions") == "Good morning. how are"
        assert await colour(page, "#captions .partial") < await colour(page, "#captions p")  # on black: fainter
        assert re.fullmatch(r"\d\d:\d\d:\d\d", await page.inner_text("#finals time"))
        assert page.errors == []


async def test_screen_reader_hears_each_final_once_and_no_partial(browser, served):
    served.speaker.final("Said before.")
    async with opened(browser, served.url) as page:
        await shown(page, FINALS, "Said before.")
        await page.evaluate("() => new Promise((done) => setTimeout(done, 2_100))")  # what is old is not read out
        served.speaker.partial("now")
        served.speaker.final("Now it is said.")
        await shown(page, "#spoken", "Now it is said.")
        assert await page.locator("#spoken p").all_inner_texts() == ["Now it is said."]
        assert await page.get_attribute("#spoken", "aria-live") == "polite"


async def test_it_reconnects_says_so_and_misses_nothing(browser, served):
    config = HttpConfig(listen=[Address(host="127.0.0.1", port=served.port)])
    async with opened(browser, served.url) as page:
        served.speaker.final("First.")
        await shown(page, FINALS, "First.")
        await served.server.stop(0.0)
        await shown(page, "#status", "Not connected: ")
        served.speaker.final("Second.")
        served.speaker.final("Third.")
        served.server = await HttpServer.start(served.hub, config)
        await page.wait_for_selector("#status[data-state=live]")
        await shown(page, FINALS, "Third.")
        assert await page.locator(FINALS).all_inner_texts() == ["First.", "Second.", "Third."]
        served.speaker.final("Fourth.")
        await shown(page, FINALS, "Fourth.")
        await served.server.stop(0.0)


async def test_state_of_the_microphone_is_told(browser, served):
    async with opened(browser, served.url) as page:
        served.broker.publish(DeviceState("USB mic", "lost", "unplugged"))
        await shown(page, "#status", "USB mic: lost, unplugged")
        served.broker.publish(DeviceState("USB mic", "capturing"))
        await shown(page, "#status", "Live")


async def test_whoever_sees_the_captions_can_mute_and_sees_when_others_do(browser, served):
    def muted_by_others(muted):
        served.hub.mute(muted)
        served.broker.publish(DeviceState("USB mic", "muted" if muted else "capturing"))

    async with opened(browser, served.url) as page:
        button = page.get_by_role("button", name="Mute")
        await button.click()
        await shown(page, "#status", "Muted: ")
        assert served.hub.muted
        assert await button.get_attribute("aria-pressed") == "true"
        assert violations(await Axe().run(page)) == []
        await page.reload()  # the service says it, whatever the device told
        await shown(page, "#status", "Muted: ")
        await page.keyboard.press("m")
        await page.wait_for_selector("#mute[aria-pressed=false]")
        assert not served.hub.muted
        muted_by_others(muted=True)
        await page.wait_for_selector("#mute[aria-pressed=true]")
        muted_by_others(muted=False)
        await shown(page, "#status", "Live")
        served.broker.publish(DeviceState("USB mic", "lost", "unplugged"))
        muted_by_others(muted=True)
        served.broker.publish(DeviceState("USB mic", "lost", "unplugged"))
        await shown(page, "#status", "USB mic: lost, unplugged")
        assert await button.get_attribute("aria-pressed") == "true"
        assert page.errors == []


async def test_page_that_may_not_mute_offers_it_not(browser):
    async with serving(mute=False) as served, opened(browser, served.url) as page:
        served.hub.muted = True
        served.broker.publish(DeviceState("USB mic", "muted"))
        await shown(page, "#status", "Muted: ")
        await page.keyboard.press("m")
        assert not await page.is_visible("#mute")
        async with served.session.put("/mute") as answer:
            assert answer.status == 403
        assert served.hub.muted


async def test_translations_stand_side_by_side_and_can_be_chosen(browser, served):
    async with opened(browser, served.url) as page:
        served.speaker.final("Good morning.", **{"es": "Buenos días.", "pt-BR": "Bom dia."})
        await shown(page, FINALS, "Bom dia.")
        boxes = [await page.locator(f"{FINALS} p").nth(n).bounding_box() for n in range(3)]
        assert boxes[0]["y"] == boxes[1]["y"] == boxes[2]["y"]
        assert boxes[0]["x"] < boxes[1]["x"] < boxes[2]["x"]
        assert await page.get_attribute(f"{FINALS} p:nth-child(2)", "lang") == "es"
        served.speaker.partial("how")
        served.speaker.partial_translation("es", "cómo")
        await shown(page, "#captions .column:nth-child(2) .partial", "cómo")
        await page.click("#open-settings")
        await page.uncheck("input[name=language][value=es]")
        assert await page.locator(f"{FINALS} p").all_inner_texts() == ["Good morning.", "Bom dia."]


async def test_search_copy_and_download(browser, served):
    async with opened(browser, served.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        served.speaker.final("The well-known <b>quick</b> fox.", es="El zorro.", **{"pt-BR": "A raposa."})
        served.speaker.final("Another sentence.")
        await shown(page, FINALS, "Another sentence.")
        await page.fill("#search", "FOX")
        await shown(page, "#found", "1 found")
        assert await page.locator("#finals li:not([hidden])").count() == 1
        assert await page.locator("mark").all_inner_texts() == ["fox"]
        await page.press("#search", "Escape")
        assert await page.locator("#finals li:not([hidden])").count() == 2
        await page.click("#copy")
        await shown(page, "#found", "Copied")
        copied = await page.evaluate("() => navigator.clipboard.readText()")
        assert re.fullmatch(r"\[[\d:]+\] The well-known <b>.*\n +El zorro\.\n +A raposa\.\n\[.*\n", copied)
        files = {form: await downloaded(page, form) for form in ("txt", "srt", "md")}
        assert files["txt"] == copied
        assert files["srt"].startswith("1\n00:00:00,000 --> 00:00:04,000\nThe well-known <\u2060b>")
        assert "\n2\n00:00:05,000 --> 00:00:09,000\nAnother sentence." in files["srt"]
        assert re.match(r"## \d{4}-\d\d-\d\d\n\n\*\*[\d:]+\*\* The well-known \\<b\\>quick", files["md"])
        assert "> El zorro.\n" in files["md"]
        assert page.errors == []


async def downloaded(page, form):
    await page.select_option("#format", form)
    async with page.expect_download() as found:
        await page.click("#download")
    download = await found.value
    assert download.suggested_filename.endswith(f".{form}")
    return (await asyncio.to_thread((await download.path()).read_bytes)).decode()


async def test_looks_are_kept_and_the_address_overrules_them(browser, served):
    async with opened(browser, served.url) as page:
        for number in range(30):
            served.speaker.final(f"Sentence number {number} of some that are said.")
        await shown(page, FINALS, "Sentence number 29 ")
        await page.click("#open-settings")
        await page.select_option("[name=lines]", "5")
        await page.fill("[name=size]", "40")
        await page.select_option("[name=font]", "serif")
        await page.select_option("[name=colours]", "yellow")
        await page.uncheck("[name=times]")
        assert "Contrast 19.6 : 1" in await page.inner_text("#contrast")
        await page.select_option("[name=colours]", "own")
        await page.fill("[name=text]", "#777777")
        await page.fill("[name=background]", "#808080")
        await shown(page, "#contrast", "too little to read well")
        await page.select_option("[name=colours]", "yellow")
        await page.reload()
        await shown(page, FINALS, "Sentence number 29 ")
        box = await page.locator("#captions .column").first.bounding_box()
        assert box["height"] == pytest.approx(5 * 40 * 1.35, abs=1)
        looks = await page.eval_on_selector(
            "#captions", "e => [getComputedStyle(e).fontSize, getComputedStyle(e).color]"
        )
        assert looks == ["40px", "rgb(255, 255, 0)"]
        assert not await page.is_visible("#finals time")
        await page.goto(f"{served.url}/?lines=2&size=24&colours=light")
        await shown(page, FINALS, "Sentence number 29 ")
        box = await page.locator("#captions .column").first.bounding_box()
        assert box["height"] == pytest.approx(2 * 24 * 1.35, abs=1)


async def test_reader_who_scrolls_back_is_left_there(browser, served):
    for number in range(60):
        served.speaker.final(f"Sentence {number}.")
    async with opened(browser, served.url) as page:
        await shown(page, FINALS, "Sentence 59.")
        await page.evaluate("() => { document.getElementById('history').scrollTop = 0; }")
        await page.wait_for_selector("#newest:visible")
        served.speaker.final("Sentence 60.")
        await shown(page, FINALS, "Sentence 60.")
        assert await page.evaluate("() => document.getElementById('history').scrollTop") < 100
        await page.keyboard.press("End")
        await page.wait_for_selector("#newest", state="hidden")


async def test_source_for_obs_is_captions_on_nothing(browser, served):
    async with opened(browser, f"{served.url}/?obs=1&lines=2") as page:
        served.speaker.final("On air.")
        await shown(page, "#captions", "On air.")
        assert not await page.is_visible("#bar")
        assert not await page.is_visible("#history")
        for element in ("html", "body", "#captions"):
            found = await page.eval_on_selector(element, "e => getComputedStyle(e).backgroundColor")
            assert found == "rgba(0, 0, 0, 0)"


async def test_keyboard_reaches_everything(browser, served):
    async with opened(browser, served.url) as page:
        reached = set()
        for _ in range(9):
            await page.keyboard.press("Tab")
            reached.add(await page.evaluate("() => document.activeElement.id"))
        assert {"mute", "search", "copy", "format", "download", "open-settings", "history"} <= reached
        await page.evaluate("() => document.activeElement.blur()")
        await page.keyboard.press("/")
        assert await page.evaluate("() => document.activeElement.id") == "search"
        await page.keyboard.type("s/c")  # no keys of the page's while one types
        assert await page.input_value("#search") == "s/c"
        await page.keyboard.press("Escape")
        await page.keyboard.press("s")
        await page.wait_for_selector("#settings[open]")
        await page.keyboard.press("Escape")
        await page.wait_for_selector("#settings", state="hidden")
        before = await page.eval_on_selector("#captions", "e => parseInt(getComputedStyle(e).fontSize)")
        await page.keyboard.press("+")
        assert await page.eval_on_selector("#captions", "e => parseInt(getComputedStyle(e).fontSize)") == before + 4


@pytest.mark.parametrize("size", [(360, 640), (768, 1024), (1280, 720)])
async def test_accessible_and_without_sideways_scrolling(browser, served, size):
    width, height = size
    viewport = {"width": width, "height": height}
    for looks in ("dark", "sepia"):
        async with opened(browser, f"{served.url}/?colours={looks}", viewport=viewport) as page:
            served.speaker.final("Good morning.", **{"es": "Buenos días.", "pt-BR": "Bom dia."})
            served.speaker.partial("how are you")
            await shown(page, "#captions .partial", "how are you")
            assert await page.evaluate("() => document.documentElement.scrollWidth") <= width
            assert violations(await Axe().run(page)) == []
            await page.click("#open-settings")
            assert violations(await Axe().run(page)) == []


def violations(results):
    return [(found["id"], [node["html"] for node in found["nodes"]]) for found in results.response["violations"]]


async def test_without_javascript_it_says_so(browser, served):
    async with opened(browser, served.url, begun=False, java_script_enabled=False) as page:
        assert "needs JavaScript" in await page.inner_text("noscript, body")
        assert await page.is_visible(".notice")
        assert not await page.is_visible("#bar")


async def test_token_is_asked_for_and_may_stand_in_the_address(browser, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    async with serving(tokens=tokens) as served:
        async with opened(browser, served.url, begun=False) as page:
            await page.fill("#token", "wrong-horse-battery")
            await page.keyboard.press("Enter")
            await shown(page, "#token-why", "not one that this service knows")
            assert violations(await Axe().run(page)) == []
            await page.fill("#token", TOKEN)
            await page.keyboard.press("Enter")
            await page.wait_for_selector("#status[data-state=live]")
            await page.reload()
            await page.wait_for_selector("#status[data-state=live]")
        async with opened(browser, f"{served.url}/?obs=1#token={TOKEN}") as page:
            Speaker(served.broker).final("On air.")
            await shown(page, "#captions", "On air.")
