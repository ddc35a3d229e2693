"""Serve the live page: its files, and one WebSocket for each page that is open.

Who may talk to it: pages that this server itself has served (the header Origin), under a name of this machine (the
header Host, against DNS rebinding), and with the token where the server can be reached from elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, web

from selfieavatar import __version__
from selfieavatar.errors import UserError
from selfieavatar.live.expressions import Sliders
from selfieavatar.live.live_driver import LiveDriver
from selfieavatar.live.newest import Outbox
from selfieavatar.live.recorder import Marks, Recorder
from selfieavatar.live.session import FRAME, Session, Sink

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar
    from selfieavatar.runtime.exported_avatar import ExportedAvatar

log = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
MOST_BYTES = 4 << 20  # of a message
MOST_PAGES = 4
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_COOKIE = "selfieavatar-token"
_SEND_S, _HEARTBEAT_S = 10.0, 20.0  # after which a client that takes nothing is gone
_SEND_BUFFER = 1 << 17  # bytes that the kernel keeps for a slow client: more would only be older frames
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "worker-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Live:
    """What all pages share.

    avatar: to drive. marks: of what leaves as synthetic. recordings: folder for them. video: a file that pages may
    play. token: that every request must bring; None where only this machine can reach the server. sink: a virtual
    camera. facts: shown on the page.
    """

    avatar: Avatar | ExportedAvatar
    marks: Marks
    recordings: Path
    video: Path | None = None
    token: str | None = None
    sink: Sink | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    make_driver: Callable[[Any], LiveDriver] = LiveDriver
    pages: int = 0
    files: dict[str, Path] = field(default_factory=dict)  # recordings of this run, by name
    spare: list[LiveDriver] = field(default_factory=list)
    sockets: set[web.WebSocketResponse] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.sliders = Sliders(self.avatar.identity)

    def take(self) -> LiveDriver:
        """Take a driver that a closed page has left, or make one: each new one of MediaPipe's costs memory for good."""
        try:
            return self.spare.pop()
        except IndexError:
            return self.make_driver(self.avatar)

    def keep(self, path: Path) -> None:
        """Offer a recording to the pages."""
        self.files[path.name] = path

    def hello(self) -> dict[str, Any]:
        """Tell a page what it needs to know of avatar and server."""
        sliders = [vars(slider) for slider in self.sliders.offered]
        return {
            "type": "hello", "subject": self.avatar.subject, "consent": self.avatar.consent,
            "size_px": self.avatar.size_px, "version": __version__, "sliders": sliders,
            "video": self.video.name if self.video else None, "virtual_camera": self.sink is not None,
            "recordings": str(self.recordings.absolute()), **self.facts,
        }  # fmt: skip


LIVE = web.AppKey("live", Live)


def make_app(live: Live) -> web.Application:
    """Build the application: `/`, `/page/*`, `/socket`, `/video`, `/recordings/*`."""
    app = web.Application(middlewares=[_guard])
    app[LIVE] = live
    app.router.add_get("/", _index)
    app.router.add_static("/page/", PAGE)
    app.router.add_get("/socket", _socket)
    app.router.add_get("/video", _video)
    app.router.add_get("/recordings/{name}", _recording)
    app.on_shutdown.append(_shut_down)
    return app


def bind(host: str, port: int) -> socket.socket:
    """Take the port.

    Raises:
        UserError: another program has it, it needs more rights, or the host is not of this machine.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or "ports are numbers from 0 to 65535"
        raise UserError(f"cannot listen on {host} port {port} ({why}); choose another --port") from error


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse who must not talk to the server; give every answer the headers of a closed page."""
    live = request.app[LIVE]
    problem = _refusal(request, live.token)
    if problem:
        return web.Response(status=403, text=problem + "\n", headers=_HEADERS)
    if live.token and "token" in request.query and request.path == "/":
        home = web.HTTPFound("/")
        home.set_cookie(_COOKIE, live.token, httponly=True, samesite="Strict")
        home.headers.update(_HEADERS)
        raise home
    try:
        answer = await handler(request)
    except web.HTTPException as error:
        error.headers.update(_HEADERS)
        raise
    if not answer.prepared:
        answer.headers.update(_HEADERS)
    return answer


def _refusal(request: web.Request, token: str | None) -> str:
    """Say why a request is refused, or nothing."""
    host = request.headers.get("Host", "")
    try:
        name, _ = urlsplit(f"//{host}").hostname, urlsplit(request.headers.get("Origin", ""))
    except ValueError:
        return "this is no address; open the one that the server printed"
    if token is None and name not in LOOPBACK:
        return "this server answers under localhost alone; open http://localhost with the port that it printed"
    given = request.query.get("token") or request.cookies.get(_COOKIE, "")
    if token is not None and not hmac.compare_digest(given.encode(), token.encode()):
        return "the token is missing or wrong; open the whole address that the server printed, with ?token="
    origin = request.headers.get("Origin")
    if (origin is not None or request.path == "/socket") and urlsplit(origin or "").netloc != host:
        return "another site may not use this server; open its own page"
    return ""


async def _index(_request: web.Request) -> web.StreamResponse:
    return web.FileResponse(PAGE / "index.html")


async def _video(request: web.Request) -> web.StreamResponse:
    live = request.app[LIVE]
    if live.video is None:
        raise web.HTTPNotFound(text="the server was started without --video\n")
    return web.FileResponse(live.video)


async def _recording(request: web.Request) -> web.StreamResponse:
    path = request.app[LIVE].files.get(request.match_info["name"])
    if path is None or not path.is_file():
        raise web.HTTPNotFound(text="there is no such recording of this run\n")
    return web.FileResponse(path, headers={"Content-Disposition": f'attachment; filename="{path.name}"'})


async def _socket(request: web.Request) -> web.StreamResponse:
    """Serve one page until it leaves."""
    live = request.app[LIVE]
    if live.pages >= MOST_PAGES:
        return web.Response(status=503, text=f"{MOST_PAGES} pages are open already; close one\n")
    socket_ = web.WebSocketResponse(max_msg_size=MOST_BYTES, heartbeat=_HEARTBEAT_S, compress=False)
    live.pages += 1
    try:
        await socket_.prepare(request)
        raw = request.transport.get_extra_info("socket") if request.transport else None
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        live.sockets.add(socket_)
        await _serve(live, socket_, request)
    finally:
        live.pages -= 1
        live.sockets.discard(socket_)
    return socket_


async def _serve(live: Live, page: web.WebSocketResponse, request: web.Request) -> None:
    loop, filled = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the server has ended, the page's threads have not
            loop.call_soon_threadsafe(filled.set)

    outbox = Outbox(wake)
    recorder = Recorder(live.recordings, live.avatar.subject, live.avatar.size_px, live.marks)
    outbox.put("hello", json.dumps(live.hello()))
    session = Session(live.avatar, live.sliders, recorder, outbox, live.keep, (live.take, live.spare.append), live.sink)
    sender = asyncio.create_task(_send(page, outbox, filled, request))
    try:
        async for message in page:
            try:
                if message.type is WSMsgType.BINARY and message.data[:1] == bytes([FRAME]):
                    session.put_binary(message.data)  # which never waits; the others may
                elif message.type is WSMsgType.BINARY:
                    await asyncio.to_thread(session.put_binary, message.data)
                elif message.type is WSMsgType.TEXT:
                    await asyncio.to_thread(session.put_text, message.data)
            except UserError as error:
                outbox.put("problem", json.dumps({"type": "problem", "text": str(error)}))
        if page.close_code == WSCloseCode.MESSAGE_TOO_BIG:
            log.warning("a page has sent more than %d bytes at once, and was closed", MOST_BYTES)
    finally:
        sender.cancel()
        # Not awaited, since this task may be cancelled; the process ends only after it, with the recording whole.
        threading.Thread(target=session.close, name="live-close").start()


async def _send(page: web.WebSocketResponse, outbox: Outbox, filled: asyncio.Event, request: web.Request) -> None:
    """Send what waits, as fast as the page takes it; a page that takes nothing for long is cut off."""
    try:
        while True:
            await filled.wait()
            filled.clear()
            for message in outbox.take():
                async with asyncio.timeout(_SEND_S):
                    await (page.send_bytes(message) if isinstance(message, bytes) else page.send_str(message))
    except (TimeoutError, ConnectionError):
        log.warning("a page takes nothing any more, and was cut off")
        if request.transport is not None:
            request.transport.abort()


async def _shut_down(app: web.Application) -> None:
    """Close the pages when the server ends."""
    for page in list(app[LIVE].sockets):
        await page.close(code=WSCloseCode.GOING_AWAY, message=b"the server has ended")
