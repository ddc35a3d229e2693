"""Small files with the keys and the layout of the published models, for their loaders."""

import pickle
import sys
import types

import numpy as np
import trimesh
from scipy import io, sparse

from selfieavatar.morphable.landmark_sets import CHIN, FOREHEAD, NOSE_TIP
from selfieavatar.morphable.published import ict
from selfieavatar.morphable.published.ict_data import IBUG_VERTICES

MATERIALS = ["M_BackHead", "M_EyeLashes", "M_Face", "M_GumsTongue", "M_IrisLeft", "M_ScleraLeft", "M_ScleraRight",
             "M_Teeth"]  # fmt: skip
# Vertices of ICT's meshes: face, head with sockets, gums, teeth, sclera and iris of each eye, shells, lashes.
_RANGES = [(0, 9409, 2), (9409, 14062, 0), (14062, 17039, 3), (17039, 21451, 7), (21451, 22221, 5), (22221, 23021, 4),
           (23021, 23791, 6), (25351, 26719, 1)]  # fmt: skip
EYES = np.array([[3.1, 3.6, 8.0], [-3.1, 3.6, 8.0]])


def ball(points: int, centre, radius: float) -> np.ndarray:
    """(points, 3) places on a sphere, spread evenly (a spiral)."""
    share = (np.arange(points) + 0.5) / points
    z, turn = 1 - 2 * share, np.pi * (1 + 5**0.5) * np.arange(points)
    flat = np.sqrt(1 - z**2)
    return np.asarray(centre) + radius * np.stack([flat * np.cos(turn), flat * np.sin(turn), z], 1)


def ict_arrays(identities: int = 3) -> dict[str, np.ndarray]:
    """The packed ICT-FaceKit with made-up shapes: strips of triangles on spheres instead of a head."""
    rng = np.random.default_rng(0)
    neutral = ball(ict.VERTICES, (0, 0, 0), 9.0)
    neutral[list(IBUG_VERTICES)] = ball(68, (0, 3, 9), 3.0)
    neutral[[IBUG_VERTICES[36], IBUG_VERTICES[45]]] = [[-4.5, 3.4, 8.6], [4.5, 3.4, 8.6]]
    tri, of = [], []
    for first, end, material in _RANGES:
        if material in (5, 6):
            neutral[first:end] = ball(end - first, EYES[material - 5], 1.5)
        start = np.arange(first, end - 2)
        tri.append(np.stack([start, start + 1, start + 2], 1))
        of.append(np.full(len(start), material))
    tri = np.concatenate(tri)
    # Two places in the texture for the first vertices of the face: a seam.
    uv = rng.random((ict.VERTICES + 10, 2)).astype(np.float32)
    tri_uv = tri.copy()
    tri_uv[:5] = np.where(tri[:5] < 10, tri[:5] + ict.VERTICES, tri[:5])
    return {
        "neutral": neutral.astype(np.float32), "uv": uv, "tri": tri.astype(np.int32), "tri_uv": tri_uv.astype(np.int32),
        "identity_delta": (0.1 * rng.normal(size=(identities, *neutral.shape))).astype(np.float16),
        "expression_delta": (0.1 * rng.normal(size=(3, *neutral.shape))).astype(np.float16),
        "expression_names": np.array(["PupilDilate_L", "eyeBlink_L", "jawOpen"]),
        "tri_material": np.concatenate(of).astype(np.int8), "materials": np.array(MATERIALS),
    }  # fmt: skip


def _obj(vertices: np.ndarray, rest: str) -> str:
    return "# made up\n" + "".join(f"v {x:.9g} {y:.9g} {z:.9g}\n" for x, y, z in vertices.tolist()) + rest


def ict_folder(folder, arrays):
    """The same model as a folder of OBJ files."""
    folder.mkdir()
    rest = "".join(f"vt {u:.9g} {v:.9g}\n" for u, v in arrays["uv"].tolist())
    for number, name in enumerate(arrays["materials"]):
        rest += f"usemtl {name}\n"
        chosen = arrays["tri_material"] == number
        for corners, places in zip(arrays["tri"][chosen] + 1, arrays["tri_uv"][chosen] + 1, strict=True):
            rest += "f " + " ".join(f"{v}/{t}/{v}" for v, t in zip(corners, places, strict=True)) + "\n"
    neutral = arrays["neutral"].astype(np.float64)
    (folder / "generic_neutral_mesh.obj").write_text(_obj(neutral, rest))
    for number, delta in enumerate(arrays["identity_delta"]):
        (folder / f"identity{number:03d}.obj").write_text(_obj(neutral + delta, ""))
    for name, delta in zip(arrays["expression_names"], arrays["expression_delta"], strict=True):
        (folder / f"{name}.obj").write_text(_obj(neutral + delta, ""))
    return folder


# ------------------------------------------------------------------------------------------------------------- FLAME


def flame_data() -> dict[str, object]:
    """A head of 642 vertices and two eyeballs on FLAME's skeleton, in metres, y up, z towards the camera."""
    rng = np.random.default_rng(1)
    head = trimesh.creation.icosphere(subdivisions=3, radius=0.1)
    eye = trimesh.creation.icosphere(subdivisions=1, radius=0.012)
    places = np.array([[0.031, 0.03, 0.085], [-0.031, 0.03, 0.085]])
    template = np.concatenate([head.vertices * [0.8, 1.2, 1.0], *(eye.vertices + place for place in places)])
    tri = np.concatenate([head.faces, *(eye.faces + len(head.vertices) + k * len(eye.vertices) for k in (0, 1))])
    count = len(template)
    weights = np.zeros((count, 5))
    y, z = template[:, 1], template[:, 2]
    jaw = np.clip((0.0 - y) / 0.05, 0, 1) * np.clip((z + 0.02) / 0.05, 0, 1)
    weights[:, 2], weights[:, 1] = jaw, 1 - jaw
    for k in (0, 1):
        ball_at = slice(len(head.vertices) + k * len(eye.vertices), len(head.vertices) + (k + 1) * len(eye.vertices))
        weights[ball_at] = np.eye(5)[3 + k]
    regressor = np.zeros((5, count))
    for joint, place in enumerate([(0, -0.1, -0.02), (0, -0.06, -0.02), (0, -0.005, 0.01), *places]):
        near = np.argsort(((template - place) ** 2).sum(1))[:20]
        regressor[joint, near] = 1 / 20
    return {
        "f": tri.astype(np.uint32), "v_template": template, "shapedirs": 1e-3 * rng.normal(size=(count, 3, 400)),
        "posedirs": 1e-4 * rng.normal(size=(count, 3, 36)), "J_regressor": sparse.csc_matrix(regressor),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32), "weights": weights,
        "J": regressor @ template, "bs_type": "lrotmin", "bs_style": "lbs",
    }  # fmt: skip


def flame_landmarks(faces: int, seed: int = 2) -> dict[str, np.ndarray]:
    """The table of landmark_embedding.npy."""
    rng = np.random.default_rng(seed)

    def weights(*shape):
        values = rng.random((*shape, 3))
        return values / values.sum(-1, keepdims=True)

    return {
        "static_lmk_faces_idx": rng.integers(faces, size=51), "static_lmk_bary_coords": weights(51),
        "dynamic_lmk_faces_idx": rng.integers(faces, size=(79, 17)), "dynamic_lmk_bary_coords": weights(79, 17),
    }  # fmt: skip


def flame_mediapipe(faces: int) -> dict[str, np.ndarray]:
    """The arrays of mediapipe_landmark_embedding.npz."""
    table = flame_landmarks(faces, 3)
    numbers = np.sort(np.random.default_rng(4).choice(468, 51, replace=False))
    numbers[:2] = 33, 263
    return {"lmk_face_idx": table["static_lmk_faces_idx"], "lmk_b_coords": table["static_lmk_bary_coords"],
            "landmark_indices": numbers}  # fmt: skip


def flame_folder(folder, data=None, chumpy=()):
    """A folder as users make it; `chumpy` names arrays that are pickled as chumpy's."""
    folder.mkdir(exist_ok=True)
    data = dict(data or flame_data())
    holder = types.ModuleType("chumpy.ch")
    holder.Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    before = {name: sys.modules.get(name) for name in ("chumpy", "chumpy.ch")}
    sys.modules.update({"chumpy": types.ModuleType("chumpy"), "chumpy.ch": holder})
    try:
        for key in chumpy:
            value = holder.Ch()
            value.x, data[key] = data[key], value
        (folder / "generic_model.pkl").write_bytes(pickle.dumps(data, 2))
    finally:
        for name, module in before.items():
            sys.modules.pop(name) if module is None else sys.modules.__setitem__(name, module)
    faces = len(np.asarray(flame_data()["f"]))
    np.save(folder / "landmark_embedding.npy", flame_landmarks(faces), allow_pickle=True)
    np.savez(folder / "mediapipe_landmark_embedding.npz", **flame_mediapipe(faces))
    return folder


# --------------------------------------------------------------------------------------------------------- FaceVerse


def _front(count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A bent sheet, (count^2, 3) in mm, y up, z towards the camera, and its triangles."""
    x, y = np.meshgrid(np.linspace(-70, 70, count), np.linspace(90, -90, count))
    z = 60 - 0.006 * x**2 - 0.002 * y**2 + 20 * np.exp(-(x**2 + y**2) / 300)
    at = np.arange(count * count).reshape(count, count)
    a, b, c, d = (part.ravel() for part in (at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]))
    return np.stack([x, y, z], -1).reshape(-1, 3), np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def _nearest(vertices: np.ndarray, x: float, y: float) -> int:
    return int(np.argmin((vertices[:, 0] - x) ** 2 + (vertices[:, 1] - y) ** 2))


def faceverse(version: int) -> dict[str, object]:
    """The table of a FaceVerse file: v3 in mm with y up, v4 in cm with y down, v2 in decimetres without eyeballs."""
    rng = np.random.default_rng(version)
    vertices, tri = _front()
    head = len(vertices)
    eye = trimesh.creation.icosphere(subdivisions=1, radius=12.0)
    eyes = [eye.vertices + place for place in ((32, 30, 45), (-32, 30, 45))]
    places = {33: (-45, 30), 263: (45, 30), FOREHEAD: (0, 80), CHIN: (0, -80), NOSE_TIP: (0, 0)}
    points = rng.integers(head, size=478)
    for number, place in places.items():
        points[number] = _nearest(vertices, *place)
    points68 = rng.integers(head, size=68)
    for number, place in {36: (-45, 30), 45: (45, 30), 27: (0, 50), 8: (0, -80), 30: (0, 0)}.items():
        points68[number] = _nearest(vertices, *place)
    if version != 2:
        tri = np.concatenate([tri, eye.faces + head, eye.faces + head + len(eye.vertices)])
        vertices = np.concatenate([vertices, *eyes])
    count = len(vertices)
    scale, up = {2: (0.01, 1), 3: (1.0, 1), 4: (0.1, -1)}[version]
    expressions = 177 if version == 4 else 52
    table = {
        "meanshape": vertices * scale * [1, up, up], "idBase": scale * rng.normal(size=(3 * count, 150)), "tri": tri,
        "meantex": np.full((count, 3), 128.0), "texBase": np.zeros((3 * count, 2)),
        "point_buf": np.zeros((count, 8), int),
    }  # fmt: skip
    ends = np.array([head, head + len(eye.vertices), count] + [count] * 3)
    exponents = scale * rng.normal(size=(3 * count, expressions))
    if version == 2:
        return table | {"exBase": exponents, "keypoints": points68[np.r_[0:48, 49:54, 55:68]].reshape(1, -1),
                        "exp_name_list": [f"e{k}" for k in range(52)]}  # fmt: skip
    if version == 3:
        return table | {"exBase_52": exponents, "mediapipe_keypoints": points, "ver_inds": ends[:3],
                        "uvtex": 255 * rng.random((count, 3)), "face_mask": np.ones(count),
                        "exp_name_list_52": [f"e{k}" for k in range(52)]}  # fmt: skip
    return table | {"exBase": exponents, "keypoints_mediapipe": points.reshape(-1, 1), "keypoints_68": points68,
                    "keypoints": rng.integers(head, size=370), "ver_inds": ends, "parsing": {"skin": np.ones(count)},
                    "keypoints_name_list": {"pupil_left_5": [1, 2]}}  # fmt: skip


def faceverse_file(path, table):
    """The .npy that the authors publish."""
    np.save(path, table, allow_pickle=True)
    return path


# --------------------------------------------------------------------------------------------------------------- BFM


def bfm_folder(folder):
    """The files of the Deep3D recipe for a sheet of 420 vertices, of which 410 move and 400 are kept."""
    rng = np.random.default_rng(5)
    folder.mkdir()
    vertices, tri = _front()
    whole = np.concatenate([vertices, rng.normal(size=(20, 3))]) * 1e3
    order = rng.permutation(420)
    model = whole[np.argsort(order)]  # vertex v of the sheet is number order[v] of the model
    trim = np.sort(np.concatenate([order[:400], order[400:410]]))
    front = np.searchsorted(trim, order[:400])
    pca, spread = rng.normal(size=(3 * 420, 199)), 500 * rng.random(199)
    io.savemat(folder / "01_MorphableModel.mat", {
        "shapeMU": model.reshape(-1, 1).astype(np.float32), "shapePC": pca.astype(np.float32),
        "shapeEV": spread.reshape(-1, 1), "tl": np.ones((2, 3))}, do_compression=True)  # fmt: skip
    vectors = rng.normal(size=(79, 3 * 410)).astype("<f4")
    with (folder / "Exp_Pca.bin").open("wb") as file:
        file.write(np.array([79], "<i4").tobytes() + np.zeros(3 * 410, "<f4").tobytes() + vectors.tobytes())
    deviations = 300 * rng.random(79)
    np.savetxt(folder / "std_exp.txt", deviations[None])
    io.savemat(folder / "BFM_front_idx.mat", {"idx": (front + 1).reshape(-1, 1)})
    io.savemat(folder / "BFM_exp_idx.mat", {"trimIndex": (trim + 1).reshape(-1, 1)})
    points = rng.integers(400, size=68)
    for number, place in {36: (-45, 30), 45: (45, 30)}.items():
        points[number] = _nearest(vertices, *place)
    io.savemat(folder / "facemodel_info.mat", {"tri": tri + 1, "keypoints": (points + 1).reshape(1, -1)})
    identity = (pca * spread).reshape(420, 3, 199)[order[:400], :, :80]
    expression = (vectors.T * deviations).reshape(410, 3, 79)[front][:, :, :64]
    return {"vertices": vertices, "tri": tri, "points": points, "identity": identity, "expression": expression}
