"""Drive an avatar live on a page of this machine, by a webcam, a video or sliders.

    python -m stages.live --avatar results/demo/avatar.pt

Open the address that is printed. Nothing of what the page takes leaves this machine, and nothing is fetched from a
network. Recordings go to --recordings.

The server answers under localhost alone. With another --host, others in the network can reach it: whoever has the
printed address with its token can look at the avatar, drive it and record it, and the address travels unencrypted.
Browsers give a page the webcam only under localhost or https, so to use it from another computer rather run
`ssh -L 8765:localhost:8765 THIS-MACHINE` there and open http://localhost:8765.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import socket
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from selfieavatar.errors import UserError
from selfieavatar.settings.cli import main, stage_parser

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar

log = logging.getLogger(__name__)

PRECISIONS = ("float32", "bfloat16")
ANYWHERE = ("0.0.0.0", "::")
TIMED = 20  # frames to choose a precision by


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "live")
    parser.add_argument("--avatar", required=True, type=Path, help="avatar.pt to drive")
    parser.add_argument("--port", type=int, default=8765, help="port of the page (default: %(default)s)")
    parser.add_argument(
        "--host",
        default="localhost",
        help="address to listen on; beyond localhost the page asks for a token, see above",
    )
    parser.add_argument("--video", type=Path, help="video that the page offers besides the webcam")
    parser.add_argument(
        "--recordings", type=Path, default=Path("recordings"), help="folder for recordings (default: %(default)s)"
    )
    parser.add_argument(
        "--precision", choices=("auto", *PRECISIONS), default="auto", help="arithmetic; auto takes the faster one here"
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the network for this machine first: a minute more, then faster"
    )
    parser.add_argument("--virtual-camera", action="store_true", help="also show the avatar as a camera (pyvirtualcam)")
    parser.add_argument("--gpu", type=int, default=0, help="GPUs to use; 0 runs on the CPU")
    return parser


def milliseconds(avatar: Avatar) -> float:
    """Time a frame of the avatar at rest."""
    from selfieavatar.live.expressions import Sliders
    from selfieavatar.live.live_driver import paint_motion

    motion, times = Sliders(avatar.identity).motion({}), []
    for _ in range(TIMED + 3):
        began = time.perf_counter()
        paint_motion(avatar, motion)
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times[3:])


def load(args: argparse.Namespace, device: str) -> tuple[Avatar, str]:
    """Load the avatar in the arithmetic that is asked for, or the faster one; also says which and why."""
    from selfieavatar.avatar import Avatar

    asked = PRECISIONS if args.precision == "auto" else (args.precision,)
    avatars = {name: Avatar.load(args.avatar, device, name) for name in asked}
    times = {name: milliseconds(avatar) for name, avatar in avatars.items()}
    best = min(times, key=lambda name: times[name])
    told = ", ".join(f"{name} {value:.1f} ms a frame" for name, value in times.items())
    log.info("the avatar is painted in %s (%s)", best, told)
    if args.compile:
        return Avatar.load(args.avatar, device, best, compile=True), f"{best}, compiled"
    return avatars[best], best


def run(args: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    # Idle threads of torch that wait by spinning take the core that the tracking needs; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from aiohttp import web
    except ImportError as error:
        raise UserError("the page needs aiohttp: pip install 'selfieavatar[workflow]'") from error
    from selfieavatar.live.server import LOOPBACK, Live, bind, make_app
    from selfieavatar.settings.device import lease_device
    from selfieavatar.video.reader import open_source

    if args.video is not None and (not args.video.is_file() or not open_source(args.video).count):
        raise UserError(f"--video {args.video} is no video file; give one that a browser plays, such as an MP4")
    listening = bind(args.host, args.port)
    sys.setswitchinterval(5e-4)  # tracking and painting hand the interpreter to each other within a frame
    with lease_device(args.gpu) as device:
        import torch

        torch.set_num_threads(max(args.threads - 1, 1))  # tracking has a core of its own
        avatar, precision = load(args, device)
        token = None if args.host in LOOPBACK else secrets.token_urlsafe(16)
        sink = None
        if args.virtual_camera:
            from selfieavatar.live.virtual_camera import VirtualCamera

            sink = VirtualCamera(avatar.size_px)
        live = Live(avatar, args.recordings, args.video, token, sink, {"precision": precision, "device": device})
        port = listening.getsockname()[1]
        host = socket.gethostname() if args.host in ANYWHERE else args.host
        if token is not None:
            log.warning(
                "others in the network can reach this server: whoever has the address below can drive the avatar"
            )
        query = f"/?token={token}" if token else ""
        log.info("open http://%s:%d%s (Ctrl-C ends)", f"[{host}]" if ":" in host else host, port, query)
        try:
            web.run_app(make_app(live), sock=listening, print=None, access_log=None, shutdown_timeout=2.0)
        finally:
            if sink is not None:
                sink.close()


if __name__ == "__main__":
    main(build_parser(), run)
