"""Made-up metrics.json contents, small but whole."""

from selfieavatar.evaluation.regions import REGIONS

SHEET_HEAD = "subject\tclip\trole\tsource\tstart_frame\tend_frame\tdataset\tconsent\tpreset\n"


def regions(psnr_db, frames=30):
    """Figures of every region, all of them told by the PSNR."""
    figures = {
        "frames": frames, "ssim": psnr_db / 40, "ssim_uniform7": psnr_db / 50, "psnr_db": psnr_db, "lpips": None,
        "sharpness": psnr_db / 30,
    }  # fmt: skip
    return {region: dict(figures) | ({"fid": None} if region in REGIONS[:3] else {}) for region in REGIONS}


def intervals(psnr_db):
    """An interval of one dB to both sides."""
    return {region: {"psnr_db": [psnr_db - 1, psnr_db + 1], "ssim": None} for region in REGIONS}


def metrics(subject, psnr_db, variant="default", copies=(20.0, 24.0), notes=(), **changes):
    """The content of metrics.json."""
    content = {"subject": subject, "variant": variant, "split": "self", "frames": 30, "size_px": 64}
    baselines = {
        name: regions(value) | {"intervals": intervals(value)}
        for name, value in zip(("mean_frame", "nearest_frame"), copies, strict=False)
    }
    rest = {
        "temporal": {}, "tracked": None, "mask": None, "intervals": intervals(psnr_db), "baselines": baselines,
        "definitions": {},
        "speed": {"fps": 12.5, "device": "cpu (x86_64, 2 threads)"}, "training": {"images": 4000, "minutes": 24.2},
        "weights": {}, "versions": {}, "notes": ["lpips: no weights here", "fid: no weights here", *notes],
    }  # fmt: skip
    return content | regions(psnr_db) | rest | changes
