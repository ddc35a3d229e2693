"""Basel Face Model 2009 with the expressions of Guo et al., cropped as in Deep3DFaceReconstruction (Deng et al., 2019).

Paysan et al., "A 3D Face Model for Pose and Illumination Invariant Face Recognition", 2009; Guo et al., "CNN-based
Real-time Dense Face Reconstruction", 2018. A folder holds 01_MorphableModel.mat, Exp_Pca.bin, std_exp.txt,
BFM_front_idx.mat, BFM_exp_idx.mat and facemodel_info.mat, or BFM_model_front.mat, which Deep3DFaceRecon makes of them.
80 identity and 64 expression vectors are kept, scaled by their deviations, and the 68 landmarks of iBUG.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.morphable.landmark_sets import IBUG
from selfieavatar.morphable.published.published_model import (
    IRIS_CM,
    PublishedModel,
    between_eyes,
    cylinder_uv,
    eyes_behind_lids,
    first_copies,
    in_range,
    reading,
    split_seams,
    take,
    to_ours,
)

NAME = "bfm"
IDENTITIES, EXPRESSIONS = 80, 64
_PACKED = "BFM_model_front.mat"
_CM_OF_MICROMETRE, _CM_OF_DECIMETRE = 1e-4, 10.0
_LIMIT = 2.33  # 1st and 99th percentile of a coefficient of unit deviation
FIX = "see docs/models.md for the files of the Basel Face Model"


def load(path: Path, landmarks: str = IBUG) -> PublishedModel:
    """Load the model from the folder of its files.

    Raises:
        UserError: missing or damaged files, or landmarks other than iBUG's 68.
    """
    if landmarks != IBUG:
        raise UserError(f"the Basel Face Model has places for {IBUG} alone, not for {landmarks}; set "
                        "`landmarks.detector: face_alignment`")  # fmt: skip
    folder = path if path.is_dir() else path.parent
    if (folder / _PACKED).is_file():
        return _packed(folder / _PACKED)
    mean, identity, expression = _parts(folder)
    info = folder / "facemodel_info.mat"
    with reading(info, "the triangles and landmarks of Deep3DFaceReconstruction", FIX):
        return _build(mean, identity, expression, _mat(info))


def _packed(path: Path) -> PublishedModel:
    with reading(path, "a cropped Basel Face Model", FIX):
        data = _mat(path)
        mean = take({"meanshape": np.reshape(data.get("meanshape", ()), (-1, 3))}, "meanshape", (None, 3))
        size = 3 * len(mean)
        identity, expression = (
            take(data, key, (size, None)).T.reshape(-1, len(mean), 3) * _CM_OF_DECIMETRE for key in ("idBase", "exBase")
        )
        return _build(mean * _CM_OF_DECIMETRE, identity, expression, data)


def _parts(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut the mesh out: mean (V, 3), identity (80, V, 3) and expression (64, V, 3) basis, in cm."""
    model, front, trim = (folder / name for name in ("01_MorphableModel.mat", "BFM_front_idx.mat", "BFM_exp_idx.mat"))
    with reading(model, "the Basel Face Model 2009", FIX):
        data = _mat(model)
        mean = take({"shapeMU": np.ravel(data.get("shapeMU", ()))}, "shapeMU", (None,)).reshape(-1, 3)
        deviation = take({"shapeEV": np.ravel(data.get("shapeEV", ()))}, "shapeEV", (None,))[:IDENTITIES]
        identity = take(data, "shapePC", (mean.size, None))[:, :IDENTITIES]
        if identity.shape[1] != IDENTITIES or len(deviation) != IDENTITIES:
            raise ValueError(f"it has fewer than {IDENTITIES} shapes")
    expression = _expressions(folder / "Exp_Pca.bin", folder / "std_exp.txt")
    with reading(front, "the front crop of Deep3DFaceReconstruction", FIX):
        of_expression = _numbers(_mat(front), "idx", expression.shape[1])
    with reading(trim, "the crop that carries the expressions", FIX):
        of_model = _numbers(_mat(trim), "trimIndex", len(mean))
        if len(of_model) < expression.shape[1]:
            raise ValueError(f"'trimIndex' names {len(of_model)} vertices for {expression.shape[1]} of the expressions")
    chosen = of_model[of_expression]
    identity = (identity * deviation).T.reshape(IDENTITIES, -1, 3)[:, chosen]
    return (
        mean[chosen] * _CM_OF_MICROMETRE, identity * _CM_OF_MICROMETRE,
        expression[:, of_expression] * _CM_OF_MICROMETRE,
    )  # fmt: skip


def _expressions(path: Path, deviations: Path) -> np.ndarray:
    """Read (64, W, 3) scaled expression vectors, in micrometres: int32 count, then float32 mean and vectors."""
    with reading(path, "the expressions of Guo et al.", FIX):
        raw = path.read_bytes()
        count = int(np.frombuffer(raw[:4], "<i4")[0])
        values = np.frombuffer(raw[4:], "<f4")
        size = values.size // (count + 1) if count > 0 else 0
        if count < EXPRESSIONS or not size or size % 3 or size * (count + 1) != values.size:
            raise ValueError(f"it announces {count} expressions, which its {len(raw)} bytes do not hold")
        vectors = take({"vectors": values[size:].reshape(count, -1, 3)}, "vectors", (count, None, 3))[:EXPRESSIONS]
    with reading(deviations, "the deviations of the expressions", FIX):
        text = deviations.read_text()
        scale = take({"std_exp": np.array(text.split(), float)}, "std_exp", (count,))[:EXPRESSIONS]
    return vectors * scale[:, None, None]


def _build(mean: np.ndarray, identity: np.ndarray, expression: np.ndarray, info: dict[str, Any]) -> PublishedModel:
    tri = _numbers(info, "tri", len(mean)).reshape(-1, 3)
    keypoints = _numbers(info, "keypoints", len(mean))
    if len(keypoints) != 68:
        raise ValueError(f"'keypoints' has {len(keypoints)} points where 68 are expected")
    template = to_ours(mean)
    uv, tri_uv = cylinder_uv(template, tri)
    source, split, uv = split_seams(tri, tri_uv, uv)
    vertices = first_copies(source, len(mean))[keypoints]
    if (vertices < 0).any():
        raise ValueError("a landmark lies on a vertex without a triangle")
    template = template[source] - between_eyes(template, keypoints, IBUG)
    centre, radius = eyes_behind_lids(template, vertices, IBUG)
    limit = np.full(len(expression), _LIMIT, np.float32)
    return PublishedModel(
        name=NAME, template=template, expression_basis=to_ours(expression)[:, source],
        expression_scale=np.ones(len(expression), np.float32), expression_low=-limit, expression_high=limit,
        tri=split, tri_part=np.zeros(len(split), np.int8), uv=uv, landmark_vertices=vertices, eye_center=centre,
        eye_radius=radius, iris_radius=IRIS_CM, identity_basis=to_ours(identity)[:, source],
        identity_scale=np.ones(len(identity), np.float32), landmark_set=IBUG,
        expression_names=tuple(f"expression_{number:02d}" for number in range(len(expression))),
        source_vertices=source.astype(np.int32),
    )  # fmt: skip


# SciPy's reader ends the process on some damaged files: it reads in a process of its own, which sends plain arrays.
_READ_MAT = """
import sys, numpy, scipy.io
data = scipy.io.loadmat(sys.argv[1])
plain = {name: a for name, a in data.items() if isinstance(a, numpy.ndarray) and not a.dtype.hasobject}
numpy.savez(sys.stdout.buffer, **plain)
"""


def _mat(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of numbers of a MATLAB file."""
    if not path.is_file():
        raise UserError(f"{path} is missing; {FIX}")
    done = subprocess.run([sys.executable, "-I", "-c", _READ_MAT, str(path)], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [
            f"it ends SciPy's reader ({done.returncode})"
        ]
        raise ValueError(said[-1])
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as arrays:
        return dict(arrays)


def _numbers(data: dict[str, Any], key: str, count: int) -> np.ndarray:
    """Read data[key], counted from 1, as flat vertex numbers from 0."""
    if key not in data:
        raise ValueError(f"'{key}' is missing")
    return in_range(key, take({key: np.ravel(data[key])}, key, (None,), "i") - 1, count)
