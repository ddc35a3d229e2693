"""The live page in Chromium, driven by playwright: it follows, records, recovers, and says what is wrong."""

import re
import shutil
import threading
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from aiohttp import web

from selfieavatar.live.server import Live, bind, make_app
from tests.live.makers import Brightness, NoMarks, Painted

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is found on this machine"),
]
COMMON = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FAKE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


class Server:
    """The server of an avatar in a thread, which can be ended and begun anew on its port."""

    def __init__(self, folder):
        self.folder, self.port, self.avatar = folder, 0, Painted()
        self.start()

    def start(self):
        import asyncio

        listening = bind("localhost", self.port)
        self.port = listening.getsockname()[1]
        self.live = Live(
            self.avatar, NoMarks(), self.folder, make_driver=lambda _: Brightness(), facts={"precision": "float32"}
        )
        self.loop, self.runner, ready = asyncio.new_event_loop(), web.AppRunner(make_app(self.live)), threading.Event()

        async def begin():
            await self.runner.setup()
            await web.SockSite(self.runner, listening).start()
            ready.set()

        def serve():
            self.loop.run_until_complete(begin())
            self.loop.run_forever()

        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()
        assert ready.wait(20)

    def stop(self):
        import asyncio

        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("recordings"))
    yield server
    server.stop()


@contextmanager
def opened(server, *more, permissions=("camera",), width=1280):
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*COMMON, *more])
        context = browser.new_context(viewport={"width": width, "height": 844}, permissions=list(permissions))
        page, problems = context.new_page(), []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if "localhost" not in request.url
                and not request.url.startswith(("blob:", "data:")) else None)  # fmt: skip
        page.goto(f"http://localhost:{server.port}/")
        playwright.expect(page.locator("#connection")).to_have_text("Connected", timeout=20000)
        yield page
        browser.close()
    assert problems == []


def grey(page):
    return page.evaluate("document.getElementById('avatar').getContext('2d').getImageData(8, 8, 1, 1).data[0] / 255")


def choose(page, name, value):
    page.locator(f"input[name={name}][value={value}] + span").click()


def test_a_webcam_drives_it_and_a_recording_plays(server, tmp_path):
    still = tmp_path / "webcam.mjpeg"
    still.write_bytes(cv2.imencode(".jpg", np.full((480, 640, 3), 180, np.uint8))[1].tobytes() * 3)
    with opened(server, *FAKE, f"--use-file-for-fake-video-capture={still}") as page:
        playwright.expect(page.locator("#who")).to_have_text("Avatar of anna, consent: self")
        page.locator("#start").click()
        playwright.expect(page.locator("#state")).to_have_text("Following", timeout=20000)
        assert grey(page) == pytest.approx(180 / 255, abs=0.07), "video range may be taken for full range"
        page.locator("#record").click()
        page.wait_for_timeout(700)
        page.locator("#record").click()
        link = page.locator("#notice a")
        playwright.expect(link).to_have_text(re.compile(r"anna-.*\.mp4"), timeout=20000)
        with page.expect_download() as download:
            link.click()
        video = cv2.VideoCapture(str(download.value.path()))
        assert video.get(cv2.CAP_PROP_FRAME_COUNT) >= 10 and video.read()[1].mean() == pytest.approx(180, abs=20)
        playwright.expect(page.locator("#rate")).to_have_text(re.compile(r"\d+ frames/s · \d+ ms"), timeout=20000)


def test_sliders_fit_a_phone_and_a_lost_connection_recovers(server):
    with opened(server, width=390) as page:
        choose(page, "driver", "sliders")
        playwright.expect(page.locator("#state")).to_have_text("Sliders", timeout=20000)
        assert page.locator("#state").text_content() == "Sliders", "the page goes on without a webcam"
        page.locator("input[name=turn]").fill("-0.5")
        page.wait_for_timeout(500)
        assert server.avatar.asked.rotation[0, 1] == pytest.approx(0.4, abs=0.01) and grey(page) > 0.8
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        server.stop()
        playwright.expect(page.locator("#connection")).to_have_text("Not connected", timeout=20000)
        server.avatar = Painted()
        server.start()
        playwright.expect(page.locator("#connection")).to_have_text("Connected", timeout=20000)
        page.wait_for_timeout(500)
        assert server.avatar.asked.rotation[0, 1] == pytest.approx(0.4, abs=0.01), "sliders keep their place"


@pytest.mark.parametrize(
    ("arguments", "permissions", "said"),
    [((), ("camera",), "No webcam was found"), (("--use-fake-device-for-media-stream",), (), "The webcam was refused")],
)
def test_no_webcam_and_a_refused_one(server, arguments, permissions, said):
    with opened(server, *arguments, permissions=permissions) as page:
        page.locator("#start").click()
        playwright.expect(page.locator("#notice")).to_contain_text(said, timeout=20000)
        choose(page, "driver", "sliders")
        playwright.expect(page.locator("#state")).to_have_text("Sliders", timeout=20000)
        assert page.locator("#state").text_content() == "Sliders", "the page goes on without a webcam"
