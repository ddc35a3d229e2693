"""Write small trees of data sets with synthetic images."""

import av
import numpy as np

from selfieavatar.io.images import write_image


def encode_clip(path, frames=3, fps=25, side=64):
    """Encode a video of grey images that grow brighter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            image = np.full((side, side, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_video(folder, count=3, masks=True, coefficients=True):
    """Write IMAvatar's folder of one video: images, masks (the left half is the person), coefficients."""
    for number in range(1, count + 1):
        write_image(folder / "image" / f"{number}.png", np.full((8, 8, 3), 40, np.uint8))
        if masks:
            mask = np.zeros((8, 8), np.uint8)
            mask[:, :4] = 255
            write_image(folder / "mask" / f"{number}.png", mask)
    if coefficients:
        (folder / "flame_params.json").write_text("{}")
    return folder
