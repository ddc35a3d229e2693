"""Frame rate and latency of the live page, end to end: Chromium with a fake webcam, the server, and back to the screen.

    python benchmarks/live.py --avatar avatar.pt --video clip.mp4 [--seconds 60] [--quality balanced]

Starts `stages.live` and the system's Chromium without a window (driven by playwright: pip install playwright), whose
webcam plays the clip at 640x480 and 30 frames/s. The page itself notes of each frame when its image was taken from the
webcam, when it was sent, and the first frame of the screen that shows the answer; the server notes its steps. "CPU" is
the time that all threads of a process were at work.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2
import psutil

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 640, 480
CHROMIUM = (
    "--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def fake_webcam(video: Path, out: Path) -> None:
    """Write the middle of a video as the MJPEG that Chromium takes for a webcam."""
    with av.open(str(video)) as source, out.open("wb") as file:
        for frame in source.decode(video=0):
            image = frame.to_ndarray(format="bgr24")
            height, width = image.shape[:2]
            scale = min(width / WIDTH, height / HEIGHT)
            wide, tall = int(WIDTH * scale), int(HEIGHT * scale)
            top, left = (height - tall) // 2, (width - wide) // 2
            image = cv2.resize(
                image[top : top + tall, left : left + wide], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA
            )
            file.write(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())


def processes(pid: int) -> list[psutil.Process]:
    """A process and all that it has started."""
    one = psutil.Process(pid)
    return [one, *one.children(recursive=True)]


def cpu_s(pids: list[psutil.Process]) -> float:
    """Seconds that these processes have worked."""
    return sum(sum(one.cpu_times()[:2]) for one in pids if one.is_running())


def share(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def measure(args: argparse.Namespace, address: str, server: int, webcam: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        before = {one.pid for one in psutil.process_iter()}
        browser = driver.chromium.launch(
            executable_path=args.chromium, args=[*CHROMIUM, f"--use-file-for-fake-video-capture={webcam}"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.goto(address)
        page.locator(f"input[name=quality][value={args.quality}] + span").click()
        if args.person:
            page.locator("#own-face").click()
        page.locator("#start").click()
        page.get_by_text("Following", exact=True).wait_for(timeout=60000)
        page.wait_for_timeout(5000)
        chromium = [
            one for one in psutil.process_iter(["name"]) if one.pid not in before and "chrom" in one.info["name"]
        ]
        page.evaluate("live.speed.frames.length = 0")
        began, work = time.monotonic(), [cpu_s(processes(server)), cpu_s(chromium)]
        memory, frames = [], []
        while time.monotonic() - began < args.seconds:
            page.wait_for_timeout(2000)
            frames += page.evaluate("live.speed.frames.splice(0)")
            memory.append(psutil.Process(server).memory_info().rss / 2**20)
        seconds = time.monotonic() - began
        work = [now - then for now, then in zip((cpu_s(processes(server)), cpu_s(chromium)), work, strict=True)]
        if args.screenshot:
            page.screenshot(path=args.screenshot)
        browser.close()
    report(frames, seconds, work, memory)


def report(frames: list[dict], seconds: float, work: list[float], memory: list[float]) -> None:
    """Print the tables."""
    known = [frame for frame in frames if frame["sent"] is not None and frame["latency"] is not None]
    print(f"{len(frames)} frames in {seconds:.0f} s: {len(frames) / seconds:.1f} frames/s, state {frames[-1]['state']}")
    print(f"load {psutil.getloadavg()[0]:.1f}; memory of the server {memory[0]:.0f} MB, at the end {memory[-1]:.0f} MB")
    each = [f"{name} {part / seconds:.2f} cores, {1e3 * part / len(frames):.1f} ms a shown frame" for name, part in
            zip(("server", "Chromium"), work, strict=True)]  # fmt: skip
    print(f"CPU: {'; '.join(each)}\n")
    print("| | median ms | 95th percentile ms |\n|---|---|---|")
    for name, key in (("sent to shown", "sent"), ("taken from the webcam to shown", "latency")):
        values = [frame[key] for frame in known]
        print(f"| {name} | {statistics.median(values):.1f} | {share(values, 0.95):.1f} |")
    for step in dict.fromkeys(step for frame in known for step in frame["steps"]):
        values = [frame["steps"].get(step, 0.0) for frame in known]
        print(f"| step {step} | {statistics.median(values):.1f} | {share(values, 0.95):.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatar", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True, help="clip for the fake webcam")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--quality", choices=("fast", "balanced", "fine"), default="balanced")
    parser.add_argument("--person", action="store_true", help="the driver is the avatar's own person")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--screenshot", help="PNG of the page at the end")
    parser.add_argument("--server", nargs="*", default=[], help="more options of stages.live, as threads=2")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        webcam = Path(folder) / "webcam.mjpeg"
        fake_webcam(args.video, webcam)
        more = [f"--{option}" for option in args.server]
        command = [sys.executable, "-m", "stages.live", "--avatar", args.avatar.absolute(), "--port", "0", *more]
        server = subprocess.Popen(
            [*command, "--recordings", folder], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        try:
            for line in iter(server.stderr.readline, ""):
                if "paints a frame in" in line:
                    print(line.partition("live: ")[2].strip())
                if found := re.search(r"open (http\S+)", line):
                    measure(args, found[1], server.pid, webcam)
                    break
        finally:
            server.terminate()
            server.wait(timeout=20)


if __name__ == "__main__":
    main()
