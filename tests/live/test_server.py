"""The server of the live page: frames in, images out, the newest wins, and whoever misbehaves harms nobody else."""

import asyncio
import contextlib
import json
import struct
import threading
import time

import aiohttp
import cv2
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from selfieavatar.errors import UserError
from selfieavatar.live import server as module
from selfieavatar.live.server import Live, bind, make_app
from tests.live.makers import SIZE, Brightness, NoMarks, Painted, frame_message, grey_jpeg

PATIENCE_S = 20.0


def until(done):
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


class Page:
    """One page that is open: `hello`, and what else it was told."""

    def __init__(self, client, socket):
        self.client, self.socket = client, socket

    async def told(self, kind):
        """The next message of a kind, or the head of a frame with its grey image."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = await self.socket.receive()
                assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
                if message.type is aiohttp.WSMsgType.BINARY:
                    length = struct.unpack_from("<I", message.data)[0]
                    head = json.loads(message.data[4 : 4 + length])
                    image = cv2.imdecode(np.frombuffer(message.data[4 + length :], np.uint8), cv2.IMREAD_COLOR)
                    if kind == "frame":
                        return head | {"image": image, "grey": image.mean() / 255}
                elif (content := json.loads(message.data))["type"] == kind:
                    return content

    async def frame(self, grey, number=1):
        await self.socket.send_bytes(frame_message(grey, number))
        return await self.told("frame")

    async def say(self, kind, **content):
        await self.socket.send_str(json.dumps({"type": kind} | content))


def serve(tmp_path, talk, drivers=None, avatar=None, **options):
    """Run `talk(open_page, client, live)` against a server."""
    drivers = [] if drivers is None else drivers

    def make_driver(_avatar):
        drivers.append(Brightness(options.get("pause_s", 0.0)))
        return drivers[-1]

    async def session():
        settings = {name: value for name, value in options.items() if name != "pause_s"}
        live = Live(avatar or Painted(), NoMarks(), tmp_path / "recordings", make_driver=make_driver, **settings)
        async with TestClient(TestServer(make_app(live), host="localhost")) as client:

            async def open_page(**headers):
                origin = {"Origin": f"http://localhost:{client.port}"}
                return Page(client, await client.ws_connect("/socket", headers=origin | headers, max_msg_size=0))

            await talk(open_page, client, live)

    asyncio.run(session())
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("live-")])


def test_frames_go_in_and_images_come_out(tmp_path):
    async def talk(open_page, client, live):
        page = await open_page()
        hello = await page.told("hello")
        assert hello["subject"] == "anna" and hello["size_px"] == SIZE and hello["video"] is None
        assert [slider["key"] for slider in hello["sliders"]][:2] == ["mouth_open", "smile"]
        for number, grey in ((1, 0.3), (2, 0.7)):
            frame = await page.frame(grey, number)
            assert frame["number"] == number and frame["state"] == "following" and not frame["recording"]
            assert frame["grey"] == pytest.approx(grey, abs=0.02) and frame["image"].shape == (SIZE, SIZE, 3)
            assert {"wait", "decode", "render", "paint", "dress", "encode", "server"} <= set(frame["timings"])

    serve(tmp_path, talk)


def test_the_newest_frame_wins(tmp_path):
    """Of fifty frames sent at once to a slow driver few are followed, the last among them."""
    drivers = []

    async def talk(open_page, client, live):
        page = await open_page()
        for number in range(1, 51):
            await page.socket.send_bytes(frame_message(number / 100, number))
        while (frame := await page.told("frame"))["number"] < 50:
            pass
        assert frame["dropped"] >= 40 and frame["grey"] == pytest.approx(0.5, abs=0.02)
        assert len(drivers[0].seen) < 10
        times = [at for _, at in drivers[0].seen]
        assert times == sorted(times)

    serve(tmp_path, talk, drivers, pause_s=0.05)


def test_sliders_and_looks(tmp_path):
    avatar = Painted(alpha=0.0)  # nothing but background

    async def talk(open_page, client, live):
        page = await open_page()
        await page.say("pose", number=7, values={"turn": 1, "mouth_open": 1})
        frame = await page.told("frame")
        assert frame["state"] == "sliders" and frame["number"] == 7
        assert avatar.asked.rotation[0, 1] == pytest.approx(-0.8) and avatar.asked.expression[0, 1] > 0.5
        await page.say("settings", background="colour", colour="#ff0000", quality="fine", mirror=True)
        await page.say("pose", number=8, values={})
        assert (await page.told("frame"))["image"].mean((0, 1)) == pytest.approx([0, 0, 255], abs=9)
        await page.socket.send_bytes(bytes([1]) + bytes(15) + grey_jpeg(0.8))
        await page.say("settings", background="image")
        await page.say("pose", number=9, values={})
        assert (await page.told("frame"))["grey"] == pytest.approx(0.8, abs=0.02)

    serve(tmp_path, talk, avatar=avatar)


def test_calibrating_anew_and_who_drives(tmp_path):
    drivers = []

    async def talk(open_page, client, live):
        page = await open_page()
        await page.frame(0.5)
        await page.say("recalibrate")
        await page.say("settings", is_person=True)
        await page.say("pose", number=1, values={})  # answered after both
        await page.told("frame")
        await page.frame(0.5, 2)
        assert drivers[0].is_person and drivers[0].calibrations == 2, "one at its beginning"

    serve(tmp_path, talk, drivers)


def test_pages_one_after_the_other_share_a_driver(tmp_path):
    """Of MediaPipe each new one would take memory that never comes back."""
    drivers = []

    async def talk(open_page, client, live):
        for number in range(1, 4):
            page = await open_page()
            await page.say("settings", is_person=number == 1)
            await page.frame(0.5)
            assert drivers[0].is_person == (number == 1) and drivers[0].calibrations == number
            await page.socket.close()
            async with asyncio.timeout(PATIENCE_S):
                while not live.spare:
                    await asyncio.sleep(0.02)

    serve(tmp_path, talk, drivers)
    assert len(drivers) == 1


NONSENSE = [
    "", "[]", "{}", "null", '{"type": 1}', '{"type": "fly"}', '{"type": "pose"}', "[" * 5000,
    '{"type": "pose", "number": 1, "values": {"turn": "x"}}', '{"type": "pose", "number": 1, "values": {"fly": 1}}',
    '{"type": "pose", "number": 1e999, "values": {}}', '{"type": "settings", "colour": 7}',
    '{"type": "settings", "colour": "#12"}', '{"type": "settings", "background": "../../x"}',
    '{"type": "settings", "quality": []}', '{"type": "record"}',
    b"", b"\x00", b"\x07" + bytes(40), bytes(16) + b"no image", bytes(16) + grey_jpeg(0.5)[:60], b"\x01" + bytes(80),
]  # fmt: skip


@pytest.mark.parametrize("nonsense", NONSENSE, ids=lambda one: repr(one[:40]))
def test_nonsense_is_answered_by_a_sentence_and_the_page_lives(tmp_path, nonsense):
    async def talk(open_page, client, live):
        page = await open_page()
        await (page.socket.send_bytes if isinstance(nonsense, bytes) else page.socket.send_str)(nonsense)
        text = (await page.told("problem"))["text"]
        assert "\n" not in text and 20 < len(text) < 250
        assert (await page.frame(0.4))["grey"] == pytest.approx(0.4, abs=0.02)

    serve(tmp_path, talk)


def test_a_giant_message_closes_its_page_alone(tmp_path):
    async def talk(open_page, client, live):
        giant, other = await open_page(), await open_page()
        with contextlib.suppress(ConnectionError):  # the server need not read it to its end
            await giant.socket.send_bytes(bytes(module.MOST_BYTES + 1))
        async with asyncio.timeout(PATIENCE_S):
            while live.pages > 1:
                await asyncio.sleep(0.02)
        assert (await other.frame(0.6))["grey"] == pytest.approx(0.6, abs=0.02)

    serve(tmp_path, talk)


def test_a_page_that_fails_a_frame_lives_on(tmp_path):
    class Failing(Painted):
        def paint(self, render, uv):
            if float(render.mean()) > 0.9:
                raise RuntimeError("boom")
            return super().paint(render, uv)

    async def talk(open_page, client, live):
        page = await open_page()
        await page.socket.send_bytes(frame_message(1.0))
        assert "log of the server" in (await page.told("problem"))["text"]
        assert (await page.frame(0.5, 2))["number"] == 2

    serve(tmp_path, talk, avatar=Failing())


def test_a_slow_page_stops_nobody_and_a_closed_one_is_gone(tmp_path):
    """A page that never reads its answers: another one goes on, and what waits for it stays little."""

    async def talk(open_page, client, live):
        slow, other = await open_page(), await open_page()
        slow.socket._response.connection.transport.pause_reading()
        for number in range(1, 400):
            await slow.socket.send_bytes(frame_message(0.5, number))
            if number % 100 == 0:
                began = time.monotonic()
                assert (await other.frame(0.3, number))["number"] == number
                assert time.monotonic() - began < 2
        slow.socket._response.connection.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            while live.pages > 1:
                await asyncio.sleep(0.02)
        assert (await other.frame(0.3, 500))["number"] == 500
        for _ in range(module.MOST_PAGES):
            await open_page()
            if live.pages == module.MOST_PAGES:
                break
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await open_page()
        assert refused.value.status == 503

    serve(tmp_path, talk)


def test_other_sites_and_other_names_are_refused(tmp_path):
    async def talk(open_page, client, live):
        for origin in ("http://evil.example", "null", "http://localhost:1", ""):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await open_page(Origin=origin)
            assert refused.value.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.ws_connect("/socket")
        answer = await client.get("/", headers={"Host": "evil.example"})
        assert answer.status == 403 and "localhost alone" in await answer.text()
        for headers in ({"Host": "["}, {"Origin": "http://["}):
            answer = await client.get("/", headers=headers)
            assert answer.status == 403 and "no address" in await answer.text()
        assert (await client.get("/video")).status == 404
        assert (await client.get("/recordings/../server.py")).status == 404
        assert (await client.get("/page/%2e%2e/server.py")).status in (403, 404)

    serve(tmp_path, talk)


def test_the_page_needs_no_network(tmp_path):
    async def talk(open_page, client, live):
        answer = await client.get("/")
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        for path in module.PAGE.iterdir():
            text = path.read_text()
            answer = await client.get(f"/page/{path.name}")
            assert answer.status == 200 and await answer.text() == text
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            links = text.replace("http://www.w3.org/2000/svg", "").replace("://${location.host}", "")
            assert "http://" not in links and "https://" not in links and "//cdn" not in links, path

    serve(tmp_path, talk)


def test_beyond_this_machine_only_with_the_token(tmp_path):
    async def talk(open_page, client, live):
        for query in ("", "?token=wrong", "?token=%C3%A4"):
            answer = await client.get(f"/{query}")
            assert answer.status == 403 and "token" in await answer.text()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await open_page()
        answer = await client.get("/?token=secret", allow_redirects=False)
        assert answer.status == 302 and "HttpOnly" in answer.headers["Set-Cookie"]
        assert "SameSite=Strict" in answer.headers["Set-Cookie"]
        assert (await client.get("/")).status == 200, "the cookie does from here on"
        page = await open_page()
        assert (await page.frame(0.4))["number"] == 1
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await open_page(Origin="http://evil.example")

    serve(tmp_path, talk, token="secret")


def test_recordings_and_the_video_are_served(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"0123456789")

    async def talk(open_page, client, live):
        page = await open_page()
        assert (await page.told("hello"))["video"] == "clip.mp4"
        answer = await client.get("/video", headers={"Range": "bytes=2-4"})
        assert answer.status == 206 and await answer.read() == b"234"
        await page.say("record", on=True)
        await page.told("recording")
        assert (await page.frame(0.5))["recording"]
        await page.say("record", on=False)
        recorded = await page.told("recorded")
        answer = await client.get(f"/recordings/{recorded['file']}")
        assert answer.status == 200 and (await answer.read())[4:8] == b"ftyp"
        assert recorded["seconds"] > 0 and "attachment" in answer.headers["Content-Disposition"]
        await page.say("record", on=False)
        assert (await page.told("recorded"))["file"] is None
        await page.say("record", on=True)
        await page.frame(0.5, 2)
        await page.socket.close()
        async with asyncio.timeout(PATIENCE_S):
            while len(live.files) < 2:
                await asyncio.sleep(0.02)

    serve(tmp_path, talk, video=tmp_path / "clip.mp4")
    assert len(list((tmp_path / "recordings").glob("*.mp4"))) == 2, "what ran when the page was closed is kept"


def test_a_port_in_use_is_said():
    taken = bind("localhost", 0)
    with taken, pytest.raises(UserError, match="cannot listen on localhost port .*choose another --port"):
        bind("localhost", taken.getsockname()[1])
    for port in (70000, -1):
        with pytest.raises(UserError, match="numbers from 0 to 65535"):
            bind("localhost", port)
    with pytest.raises(UserError, match="cannot listen"):
        bind("203.0.113.1", 0)
