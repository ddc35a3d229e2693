"""Turn a video of driver and avatar into the moving image of README.md: results/demo/reenact/guest--talk.mp4."""

import argparse
from pathlib import Path

import av
from PIL import Image


def main() -> None:
    """Write an animated WebP of part of a video, at half its frame rate."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("video", type=Path, help="side-by-side video, of any size")
    parser.add_argument("out", type=Path, help="animated WebP")
    parser.add_argument("--start", type=float, default=0.0, help="first second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length (%(default)s)")
    parser.add_argument("--width", type=int, default=512, help="width in px (%(default)s)")
    parser.add_argument("--quality", type=int, default=70, help="WebP quality from 0 to 100 (%(default)s)")
    args = parser.parse_args()
    with av.open(str(args.video)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 25)
        height = round(stream.height * args.width / stream.width)
        wanted = range(round(args.start * rate), round((args.start + args.seconds) * rate), 2)
        images = [
            frame.to_image().resize((args.width, height), Image.Resampling.LANCZOS)
            for number, frame in enumerate(container.decode(stream))
            if number in wanted
        ]
    images[0].save(args.out, save_all=True, append_images=images[1:], duration=round(2000 / rate), loop=0, method=6,
                   quality=args.quality)  # fmt: skip


if __name__ == "__main__":
    main()
