"""Figures in words, and a warning where a plain copy of a training frame would be better."""

from selfieavatar.evaluation.summary_text import comparison, worse_than


def metrics(own, mean, nearest):
    def region(value):
        return {"face": {"psnr_db": value, "ssim": 0.8}}

    return region(own) | {"baselines": {"mean_frame": region(mean), "nearest_frame": region(nearest)}}


def test_comparison_names_all_three():
    said = comparison(metrics(25.04, 18.5, 20.6), "face")
    assert said == (
        "face: avatar 25.0 dB / 0.80 (the mean frame 18.5 dB / 0.80, the nearest training frame 20.6 dB / 0.80)"
    )
    assert comparison({"face": {"psnr_db": None, "ssim": None}, "baselines": {}}, "face") == "face: avatar no pixel"


def test_only_a_worse_avatar_is_warned_of():
    assert worse_than(metrics(25.0, 18.5, 20.6)) is None
    assert worse_than(metrics(20.2, 22.7, 24.4)) == "20.2 dB, the nearest training frame 24.4 dB"
    assert worse_than(metrics(20.2, 22.7, None)) == "20.2 dB, the mean frame 22.7 dB"
    assert worse_than(metrics(None, 22.7, 24.0)) is None


def test_a_face_too_small_for_the_windows_of_ssim():
    assert comparison({"face": {"psnr_db": 25.0, "ssim": None}, "baselines": {}}, "face") == (
        "face: avatar 25.0 dB / null"
    )
