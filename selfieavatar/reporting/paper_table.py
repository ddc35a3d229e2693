"""Hold Table I of the paper. Its scores are of other people's footage: read them beside ours, never mixed."""

from __future__ import annotations

SOURCE = "SelfieAvatar: Real-time Head Avatar Reenactment from a Selfie Video, Table I"
METRICS = ("ssim", "psnr_db", "lpips", "fid")
OWN = "SelfieAvatar"  # the bold row
# With the digits of the paper.
TABLE_I: dict[str, tuple[str, str, str, str]] = {
    "IMAvatar": ("0.78", "19.0", "0.069", "59.7"),
    "StyleAvatar": ("0.82", "23.4", "0.055", "27.4"),
    "SelfieAvatar without L_cos": ("0.86", "26.4", "0.031", "16.6"),
    "SelfieAvatar without L_mrf": ("0.79", "21.0", "0.061", "26.7"),
    OWN: ("0.88", "28.5", "0.027", "13.7"),
}
CONDITIONS = (
    "The authors trained each method on a selfie video of about three minutes and tested it on another one of the same "
    "person. They do not say how many people and frames, which size, which form of SSIM, or whether their clips of "
    "MEAD and IMAvatar are among them."
)
