"""Register MediaPipe's 468 landmarks on ICT-FaceKit, for the table of selfieavatar/morphable/published/ict_data.py.

    python tools/ict_landmarks.py <ict_facekit npz or folder FaceXModel> --out table.txt

A detector learns its landmarks from images, so the registration is by images. Heads of random identity, expression,
gaze and pose are rendered with known vertices, with brows and lips painted along the model's 68 landmarks. MediaPipe
detects its landmarks on them. Each landmark gets the surface point that, over all images in which it faces the camera,
projects nearest to the detection (L1, which is robust). Points of both halves of the face are averaged, as ICT's
neutral face and MediaPipe's mesh are symmetric. Landmarks of the irises belong to the eyeballs and are left out.
"""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from selfieavatar.detection.landmarks import MediaPipeDetector  # noqa: E402
from selfieavatar.geometry.camera import Camera, transform  # noqa: E402
from selfieavatar.geometry.normals import orient_outwards, vertex_normals  # noqa: E402
from selfieavatar.identity import Identity  # noqa: E402
from selfieavatar.morphable.landmark_sets import FACE_VERTICES, HIDDEN_PART, IBUG, SKIN_PART, mirror_pairs  # noqa: E402
from selfieavatar.morphable.published import ict  # noqa: E402
from selfieavatar.morphable.published.published_model import PublishedModel  # noqa: E402
from selfieavatar.rendering.renderer import Renderer  # noqa: E402

SIZE = 640
TEXTURE = 1024
LEAST_FACING = 0.1  # cosine of the view angle from which a vertex is visible
LEAST_SEEN = 0.3  # share of the images in which a point must be visible
RINGS = 4  # of triangles within which both halves are averaged
WHOLE_HEAD = (SKIN_PART, HIDDEN_PART)  # a detector needs more of a person than the face
FULL_FACE = 9409  # the first vertices, "full face area": with ears, scalp's border and neck
SUBDIVISIONS = 8  # of a triangle's sides, for a resolution of 0.3 mm
log = logging.getLogger("ict_landmarks")


def painted(model: PublishedModel) -> np.ndarray:
    """Paint a texture (T, T, 3) uint8: skin, dark hair, and brows and lips along the 68 landmarks."""
    image = np.full((TEXTURE, TEXTURE, 3), (62, 44, 36), np.uint8)
    face = int(0.72 * TEXTURE)
    image[:face, :face] = (214, 168, 144)
    places = (model.uv[model.landmark_vertices] * TEXTURE).astype(np.int32)
    for brow in (range(17, 22), range(22, 27)):
        cv2.polylines(image, [places[list(brow)]], False, (84, 58, 44), 11, cv2.LINE_AA)
    ring = [*range(48, 60)]
    cv2.fillPoly(image, [places[ring]], (178, 92, 88), cv2.LINE_AA)
    return image


def random_head(model: PublishedModel, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw identity, expression, rotation, translation and gaze of one image."""
    assert model.identity_basis is not None
    identity = rng.normal(size=len(model.identity_basis)) * 0.8
    expression = rng.uniform(0, 0.7, model.expression_count) * (rng.random(model.expression_count) < 0.12)
    jaw, close = (model.expression_names.index(name) for name in ("jawOpen", "mouthClose"))
    expression[jaw] = rng.uniform(0, 0.7) * (rng.random() < 0.8)
    expression[close] = 0.0
    rotation = rng.normal(size=3) * np.array([0.18, 0.32, 0.08])
    translation = np.array([rng.normal() * 1.0, -4.0 + rng.normal(), 85.0])
    return identity, expression, rotation, translation, rng.normal(size=4) * 0.1


def render_and_detect(model: PublishedModel, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render heads and detect landmarks.

    Returns projected vertices (N, V, 2) px, those that face the camera (N, V) bool, and landmarks (N, 468, 2) px.
    """
    rng, camera, texture = np.random.default_rng(seed), Camera.default(SIZE), painted(model)
    outwards = orient_outwards(model.template, model.tri)
    part = np.where(np.isin(model.tri_part, WHOLE_HEAD), SKIN_PART, model.tri_part)
    projected: list[np.ndarray] = []
    facing: list[np.ndarray] = []
    landmarks: list[np.ndarray] = []
    while len(landmarks) < count:
        identity, expression, rotation, translation, gaze = random_head(model, rng)
        person = model.with_identity(identity)
        shown = Identity(replace(person, tri_part=part), camera, texture)
        image = Renderer(shown).render(rotation, translation, expression, gaze).image
        image = np.where(image.any(2, keepdims=True), image, np.uint8(150))
        detector = MediaPipeDetector()  # a new one for each head, without tracking
        found = [detector.detect(image) for _ in range(3)][-1]  # the first detection is coarse
        detector.close()
        if found is None:
            continue
        points = transform(person.vertices(expression), rotation[None], translation[None])[0]
        towards = -(vertex_normals(points, model.tri) * outwards * points).sum(1) / np.linalg.norm(points, axis=1)
        projected.append(camera.project(points).astype(np.float32))
        facing.append(towards > LEAST_FACING)
        landmarks.append(found.points_px[:FACE_VERTICES])
        if len(landmarks) % 50 == 0:
            log.info("%d of %d images", len(landmarks), count)
    return np.array(projected), np.array(facing), np.array(landmarks)


def grid() -> np.ndarray:
    """Make a grid of barycentric weights (G, 3) on a triangle."""
    steps = np.arange(SUBDIVISIONS + 1)
    i, j = (axis.ravel() for axis in np.meshgrid(steps, steps))
    inside = i + j <= SUBDIVISIONS
    return np.stack([i, j, SUBDIVISIONS - i - j], 1)[inside] / SUBDIVISIONS


def neighbours(tri: np.ndarray, vertices: np.ndarray, rings: int) -> np.ndarray:
    """Find the triangles (n, 3) within so many rings around some vertices."""
    for _ in range(rings):
        near = tri[np.isin(tri, vertices).any(1)]
        vertices = np.unique(near)
    return near


def register(
    projected: np.ndarray, facing: np.ndarray, landmarks: np.ndarray, tri: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find corners (L, 3), weights (L, 3) and median error (L,) px of each landmark's point on the triangles."""
    skin = np.unique(tri)
    weights = grid()
    corners, shares, errors = [], [], []
    for number in range(landmarks.shape[1]):
        rough = np.linalg.norm(projected[:, skin] - landmarks[:, None, number], axis=2)
        seen = facing[:, skin].sum(0)
        # The mean over few images is unreliable.
        often = seen >= LEAST_SEEN * len(landmarks)
        cost = np.where(often, (rough * facing[:, skin]).sum(0) / np.maximum(seen, 1), np.inf)
        start = skin[np.argmin(cost)]
        used = facing[:, start]
        near = neighbours(tri, start, 2)
        points = np.einsum("nfci,gc->nfgi", projected[used][:, near], weights)
        distance = np.linalg.norm(points - landmarks[used, number][:, None, None], axis=3)
        face, place = np.unravel_index(np.argmin(distance.mean(0)), distance.shape[1:])
        corners.append(near[face])
        shares.append(weights[place])
        errors.append(float(np.median(distance[:, face, place])))
    return np.array(corners), np.array(shares), np.array(errors)


def symmetric(neutral: np.ndarray, tri: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Symmetrise points by averaging with their mirror partners on the neutral face (x = 0 its middle)."""
    points = np.einsum("lci,lc->li", neutral[corners], weights)
    wanted = 0.5 * (points + points[mirror_pairs()] * np.array([-1.0, 1.0, 1.0]))
    shares, corner_list, weight_list = grid(), [], []
    for number, at in enumerate(wanted):
        # Search along the surface, since the lips of a closed mouth touch.
        near = neighbours(tri, corners[number], RINGS)
        surface = np.einsum("fci,gc->fgi", neutral[near], shares)
        face, place = np.unravel_index(np.argmin(((surface - at) ** 2).sum(2)), surface.shape[:2])
        corner_list.append(near[face])
        weight_list.append(shares[place])
    chosen, found = np.array(corner_list), np.array(weight_list)
    moved = np.linalg.norm(np.einsum("lci,lc->li", neutral[chosen], found) - points, axis=1)
    log.info("averaging both halves moved the points by %.3f cm (median)", np.median(moved))
    return chosen, found


def main() -> None:
    """Run the registration and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--renders", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True, help="text file for the table")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model = ict.load(args.model, IBUG)
    number = model.source_vertices
    assert number is not None
    projected, facing, landmarks = render_and_detect(model, args.renders)
    skin = model.tri[np.isin(model.tri_part, WHOLE_HEAD) & (number[model.tri] < FULL_FACE).all(1)]
    corners, weights, errors = register(projected, facing, landmarks, skin)
    distance = np.linalg.norm(landmarks[:, 33] - landmarks[:, 263], axis=1).mean()
    log.info("error over the inter-ocular distance (%.0f px): median landmark %.2f %%, worst %.2f %%", distance,
             100 * np.median(errors) / distance, 100 * errors.max() / distance)  # fmt: skip
    corners, weights = symmetric(model.template.astype(np.float64), skin, corners, weights)
    rows = [
        f"{','.join(map(str, number[row]))},{','.join(str(round(SUBDIVISIONS * w)) for w in share)}"
        for row, share in zip(corners, weights, strict=True)
    ]
    args.out.write_text("\n".join(textwrap.wrap(" ".join(rows), 118)) + "\n")


if __name__ == "__main__":
    main()
