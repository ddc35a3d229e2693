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
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from selfieavatar.errors import UserError
from selfieavatar.settings.cli import main, marking_arguments, marking_of, stage_parser

if TYPE_CHECKING:
    from selfieavatar.avatar import Avatar
    from selfieavatar.runtime.exported_avatar import ExportedAvatar

log = logging.getLogger(__name__)

ARITHMETIC = ("auto", "float32", "bfloat16", "int8")
ANYWHERE = ("0.0.0.0", "::")


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
        "--precision", choices=ARITHMETIC, default="auto", help="arithmetic; auto takes the fastest here"
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the network for this machine first: a minute more, then faster"
    )
    parser.add_argument("--virtual-camera", action="store_true", help="also show the avatar as a camera (pyvirtualcam)")
    parser.add_argument("--gpu", type=int, default=0, help="GPUs to use; 0 runs on the CPU")
    marking_arguments(parser)
    return parser


def load(args: argparse.Namespace, device: str, threads: int) -> tuple[Avatar | ExportedAvatar, str]:
    """Load the avatar on what paints it fastest here, or in the arithmetic that is asked for; also says which."""
    if device == "cpu" and not args.compile:
        from selfieavatar.runtime.choice import PRECISIONS, fastest_avatar

        wanted = PRECISIONS if args.precision == "auto" else (args.precision,)
        chosen = fastest_avatar(args.avatar, threads=threads, precisions=wanted)
        log.info("%s", chosen.reason)
        return chosen.avatar, chosen.name
    import torch

    from selfieavatar.avatar import Avatar
    from selfieavatar.training.precision import takes_bfloat16

    half = args.precision != "float32" and takes_bfloat16(torch.device(device), "bfloat16")
    precision = "bfloat16" if half else "float32"
    return Avatar.load(args.avatar, device, precision, compile=args.compile), f"torch {precision}"


def run(args: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    # Idle threads of torch that wait by spinning take the core that the tracking needs; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from aiohttp import web
    except ImportError as error:
        raise UserError("the page needs aiohttp: pip install 'selfieavatar[workflow]'") from error
    from threadpoolctl import threadpool_limits

    from selfieavatar.live.server import LOOPBACK, Live, bind, make_app
    from selfieavatar.marking.marker import Marker
    from selfieavatar.settings.device import lease_device
    from selfieavatar.video.reader import open_source

    if args.video is not None and (not args.video.is_file() or not open_source(args.video).count):
        raise UserError(f"--video {args.video} is no video file; give one that a browser plays, such as an MP4")
    threadpool_limits(1, user_api="blas")  # as LiveDriver does, before what paints is tried
    listening = bind(args.host, args.port)
    sys.setswitchinterval(5e-4)  # tracking and painting hand the interpreter to each other within a frame
    with lease_device(args.gpu) as device:
        import torch

        threads = max(args.threads - 1, 1)  # tracking has a core of its own
        torch.set_num_threads(threads)
        avatar, precision = load(args, device, threads)
        marker = Marker(avatar, marking_of(args))
        token = None if args.host in LOOPBACK else secrets.token_urlsafe(16)
        sink = None
        if args.virtual_camera:
            from selfieavatar.live.virtual_camera import VirtualCamera

            sink = VirtualCamera(avatar.size_px)
        live = Live(
            avatar, marker, args.recordings, args.video, token, sink, {"precision": precision, "device": device}
        )
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
