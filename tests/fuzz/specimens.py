"""Write small whole files of every kind that others bring, and damage their inside."""

import json
import random
import shutil
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.mutations import MARKUP, damage_tree, damage_zip


def _new(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    return folder / name


def _image(side: int = 48) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    return np.stack([rows * 5, columns * 5, rows + columns], -1).astype(np.uint8)


def make_videos(folder: Path) -> None:
    from tests.data.media import numbered, write_video

    kinds = {
        "h264.mp4": {"rotation": 90}, "h264.mov": {}, "h264.mkv": {}, "mpeg4.avi": {"codec": "mpeg4"},
        "vp9.webm": {"codec": "libvpx-vp9"}, "png.mov": {"codec": "png", "pix_fmt": "rgba"},
        "h265.mp4": {"codec": "libx265"}, "mjpeg.mp4": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    }  # fmt: skip
    for name, how in kinds.items():
        write_video(_new(folder, name.replace(".", "_")) / name, numbered(8), **how)
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/dev/zero\n#EXT-X-ENDLIST\n"
    (_new(folder, "refused_playlist") / "list.mp4").write_text(playlist)
    (_new(folder, "refused_concat") / "list.mp4").write_text("ffconcat version 1.0\nfile /dev/zero\n")


def make_folders(folder: Path) -> None:
    from PIL import Image

    for ending, form in (("png", "PNG"), ("jpg", "JPEG"), ("bmp", "BMP"), ("tiff", "TIFF"), ("webp", "WEBP")):
        place = _new(folder, ending)
        for number in range(3):
            Image.fromarray(_image()).save(place / f"{number}.{ending}", form)
    moving = [Image.fromarray(_image() // k) for k in (1, 2)]
    moving[0].save(_new(folder, "apng") / "0.png", save_all=True, append_images=moving[1:])
    Image.fromarray(_image()).convert("P").save(_new(folder, "palette") / "0.png")
    Image.fromarray(_image().astype(np.uint16)[..., 0] * 99).save(_new(folder, "deep") / "0.png")
    Image.fromarray(np.dstack([_image(), _image()[..., :1]])).save(_new(folder, "alpha") / "0.png")


def make_sheets(folder: Path) -> None:
    from selfieavatar.settings.clip_sheet import COLUMNS

    rows = [
        "anna\ttalk\ttrain\tanna.mp4\t0\t80\tselfie\tself\tsmoke",
        "anna\tread\ttest\tanna.mp4\t80\t100\tselfie\tself\tsmoke",
        'bert\ttalk\ttrain\t"a, b.mp4"\t\t\tmead\twritten\tcpu-128',
        "guest\ttalk\tdrive\tdemo:2\t\t\tdemo\tsynthetic\t",
    ]
    text = "\n".join(["\t".join(COLUMNS), *rows]) + "\n"
    (_new(folder, "plain") / "subjects.tsv").write_text(text)
    (_new(folder, "windows") / "subjects.tsv").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))


def make_configs(folder: Path) -> None:
    from tests.conftest import ROOT

    for file in (ROOT / "config/config.yaml", *sorted((ROOT / "config/presets").glob("*.yaml"))):
        (_new(folder, file.stem) / "overlay.yaml").write_bytes(file.read_bytes())


def damage_yaml(data: bytes, rng: random.Random) -> bytes:
    import yaml

    tree = damage_tree(yaml.safe_load(data) or {}, rng)
    return yaml.safe_dump(json.loads(json.dumps(tree)), allow_unicode=True).encode("utf-8", errors="surrogatepass")


def make_manifests(folder: Path) -> None:
    from tests.training.makers import write_manifests

    write_manifests(_new(folder, "clip"), 60)


def make_single_manifests(folder: Path) -> None:
    make_manifests(folder / ".all")
    for file in (folder / ".all/clip").iterdir():
        file.rename(_new(folder, file.stem) / file.name)
    shutil.rmtree(folder / ".all")


def damage_parquet(data: bytes, rng: random.Random) -> bytes:
    """Change a value, the facts or a column of a manifest, which stays Parquet; texts become markup."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(BytesIO(data))
    at, name = rng.randrange(table.num_columns), rng.choice(table.column_names)
    texts = [k for k, field in enumerate(table.schema) if pa.types.is_string(field.type)]
    kind = rng.random()
    if texts and kind > 0.8:
        at = rng.choice(texts)
    if kind < 0.3:
        facts = json.loads(table.schema.metadata[b"selfieavatar"])
        text = json.dumps(damage_tree(facts, rng)).encode("utf-8", errors="surrogatepass")
        table = table.replace_schema_metadata({**table.schema.metadata, b"selfieavatar": text})
    elif kind < 0.4:
        table = table.drop_columns([name])
    elif kind < 0.5:
        table = table.slice(0, rng.randrange(len(table)))
    elif kind < 0.6:
        table = pa.concat_tables([table, table])
    else:
        values, column = table.column(at).to_pylist(), table.schema.field(at)
        values = _odd_column(values, rng, text=at in texts)
        try:
            changed = pa.array(values, type=column.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            changed = pa.array([str(value)[:50].encode("ascii", "replace").decode() for value in values])
            column = pa.field(column.name, changed.type)
        table = table.set_column(at, column, changed)
    made = BytesIO()
    pq.write_table(table, made)
    return made.getvalue()


def _odd_column(values: list, rng: random.Random, text: bool) -> list:
    """Change a row of a column, or a number of its row, or all rows that say the same; mostly within the type."""
    row = rng.randrange(len(values))
    before = values[row]
    numbers = [float("nan"), float("inf"), -1.0, 0.0, 0.5, 1e-30, 1e4, 1e30, -1e30]
    if text and rng.random() < 0.7:
        after: Any = rng.choice(MARKUP)
    elif isinstance(before, list) and before and rng.random() < 0.8:
        at, number = rng.choice([slice(None), rng.randrange(len(before))]), rng.choice(numbers)
        after = list(before)
        after[at] = [number] * len(before) if isinstance(at, slice) else number
    elif isinstance(before, bool) and rng.random() < 0.8:
        after = not before
    elif isinstance(before, float) and rng.random() < 0.8:
        after = rng.choice(numbers)
    elif isinstance(before, int) and rng.random() < 0.8:
        after = rng.choice([0, before + 1, before - 1, -1, 2**31 - 1, -(2**31)])
    else:
        odd = [None, float("nan"), float("inf"), -1, 2**31 - 1, "", "x" * 1000, [], [0.0] * 5, True, 1e30]
        after = damage_tree(before, rng) if rng.random() < 0.3 else rng.choice(odd)
    alike, everywhere = rng.random() < 0.3, rng.random() < 0.2
    return [after if k == row or everywhere or (alike and v == before) else v for k, v in enumerate(values)]


def make_subject(folder: Path) -> None:
    from tests.stages.test_summary import SHEET, make_anna

    place = _new(folder, "batch")
    make_anna(place / "results")
    from selfieavatar.settings.clip_sheet import COLUMNS

    rows = [line.replace(" -", " ").split(" ") for line in SHEET.splitlines()]
    (place / "sheet.tsv").write_text("\n".join("\t".join(row) for row in [COLUMNS, *rows]) + "\n")


def make_identities(folder: Path) -> None:
    from tests.runtime.makers import identity

    identity().save(_new(folder, "whole") / "identity.npz")


def make_avatars(folder: Path) -> None:
    from tests.live.avatars import write_avatar

    write_avatar(_new(folder, "whole") / "avatar.pt")


def damage_avatar(data: bytes, rng: random.Random) -> bytes:
    """Change a value, a tensor or a key inside of avatar.pt; or a member of the archive."""
    import torch

    if rng.random() < 0.4:
        return damage_zip(data, rng)
    content = torch.load(BytesIO(data), weights_only=True)

    def changed(tree: Any) -> Any:
        if isinstance(tree, torch.Tensor) and rng.random() < 0.9:
            kind = rng.randrange(6)
            if kind == 0:
                return torch.full_like(tree, float("nan")) if tree.is_floating_point() else tree * 0 - 1
            if kind == 1:
                return tree.flatten()
            if kind == 2:
                return tree[..., :1] if tree.ndim else tree[None]
            if kind == 3:
                return tree.double()
            if kind == 4:
                return torch.zeros((1,)).expand(10**9)
            return tree.to_sparse() if tree.ndim else tree
        if isinstance(tree, dict) and tree and rng.random() < 0.9:
            key = rng.choice(list(tree))
            return {**tree, key: changed(tree[key])}
        return damage_tree(None, rng)

    made = BytesIO()
    torch.save(changed(content), made)
    return made.getvalue()


def make_exports(folder: Path) -> None:
    from tests.runtime.makers import write_export

    write_export(_new(folder, "whole"))


def make_flame_params(folder: Path) -> None:
    from tests.fitting.imported_makers import flame_content, write_flame

    write_flame(_new(folder, "whole") / "flame_params.json", flame_content(3))


def make_faceverse_rows(folder: Path) -> None:
    from tests.fitting.imported_makers import faceverse_rows

    np.save(_new(folder, "stacked") / "coefficients.npy", faceverse_rows(3))


def make_faceverse_folders(folder: Path) -> None:
    from tests.fitting.imported_makers import faceverse_rows

    place = _new(folder, "single") / "rows"
    place.mkdir()
    for number, row in enumerate(faceverse_rows(3)):
        np.save(place / f"{number}.npy", row)


def make_flame(folder: Path) -> None:
    from tests.morphable.published.makers import flame_folder

    flame_folder(folder / "plain")
    flame_folder(folder / "chumpy", chumpy=("v_template", "shapedirs"))


def make_faceverse(folder: Path) -> None:
    from tests.morphable.published.makers import faceverse, faceverse_file

    for version in (3, 4):
        faceverse_file(_new(folder, f"v{version}") / "faceverse.npy", faceverse(version))


def make_bfm(folder: Path) -> None:
    from tests.morphable.published.makers import bfm_folder

    bfm_folder(folder / "whole")


def make_ict(folder: Path) -> None:
    from tests.morphable.published.makers import ict_arrays, ict_folder

    ict_folder(folder / "objs", ict_arrays())
    np.savez(_new(folder, "packed") / "model.npz", **ict_arrays())


def make_dlib(folder: Path) -> None:
    from tests.io.test_dlib_file import SMALL

    (_new(folder, "small") / "network.dat").write_bytes(SMALL)


def make_tars(folder: Path) -> None:
    from tests.data.media import numbered, write_video

    place = _new(folder, "whole")
    video = write_video(folder / "x.mp4", numbered(2))
    with tarfile.open(place / "M003.tar", "w") as archive:
        for view, number in (("front", "001"), ("left_30", "002")):
            archive.add(video, f"M003/video/{view}/angry/level_1/{number}.mp4")
    video.unlink()


def make_imavatar(folder: Path) -> None:
    from tests.fitting.imported_makers import flame_content, write_flame
    from tests.interop.datasets.makers import write_video

    place = _new(folder, "whole") / "data" / "anna"
    for name in ("one", "two"):
        video = write_video(place / name, 3)
        write_flame(video / "flame_params.json", flame_content(3))


def make_marked(folder: Path) -> None:
    from selfieavatar.io.images import encode_png
    from selfieavatar.marking.marker import Marker
    from tests.marking.makers import ANNA, lively_image

    marker = Marker(ANNA)
    (_new(folder, "png") / "a.png").write_bytes(marker.sealed(encode_png(marker.paint(lively_image()))))
