"""Where MediaPipe's 468 landmarks lie on ICT-FaceKit: makes the table of selfieavatar/morphable/published/ict_data.py.

    python tools/ict_landmarks.py <ict_facekit npz or folder FaceXModel> --out table.txt

What the detector calls a landmark is a place that it has learnt from images, so images are asked. Heads of random
identity, expression, gaze and pose are drawn with known vertices, with brows and lips painted along the model's own
68 landmarks; MediaPipe looks at them; and each landmark gets the point of the surface that, over all images in
which it faces the camera, projects nearest to where MediaPipe put it (sum of distances, a robust choice). Points of
both halves of the face are then averaged, as ICT's neutral face and MediaPipe's mesh are both symmetric. Landmarks of
the irises belong to the eyeballs and get no place.
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
LEAST_FACING = 0.1  # cosine between a vertex's normal and the direction to the camera that counts as seen
LEAST_SEEN = 0.3  # share of the images that must see a place
RINGS = 4  # of triangles within which both halves are averaged
WHOLE_HEAD = (SKIN_PART, HIDDEN_PART)  # a detector wants more of a person than the face
FULL_FACE = 9409  # the first vertices, "full face area": with ears, scalp's border and neck
SUBDIVISIONS = 8  # of a triangle's sides: places are as fine as 0.3 mm
log = logging.getLogger("ict_landmarks")


def painted(model: PublishedModel) -> np.ndarray:
    """(T, T, 3) uint8: skin, dark hair, and brows and lips along the 68 landmarks."""
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
    """Identity, expression, rotation, translation and gaze of one image."""
    identity = rng.normal(size=len(model.identity_basis)) * 0.8
    expression = rng.uniform(0, 0.7, model.expression_count) * (rng.random(model.expression_count) < 0.12)
    jaw, close = (model.expression_names.index(name) for name in ("jawOpen", "mouthClose"))
    expression[jaw] = rng.uniform(0, 0.7) * (rng.random() < 0.8)
    expression[close] = 0.0
    rotation = rng.normal(size=3) * np.array([0.18, 0.32, 0.08])
    translation = np.array([rng.normal() * 1.0, -4.0 + rng.normal(), 85.0])
    return identity, expression, rotation, translation, rng.normal(size=4) * 0.1


def look(model: PublishedModel, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Projected vertices (N, V, 2) px, which of them face the camera (N, V) bool, and landmarks (N, 468, 2) px."""
    rng, camera, texture = np.random.default_rng(seed), Camera.default(SIZE), painted(model)
    outwards = orient_outwards(model.template, model.tri)
    part = np.where(np.isin(model.tri_part, WHOLE_HEAD), SKIN_PART, model.tri_part)
    projected, facing, landmarks = [], [], []
    while len(landmarks) < count:
        identity, expression, rotation, translation, gaze = random_head(model, rng)
        person = model.with_identity(identity)
        shown = Identity(replace(person, tri_part=part), camera, texture)
        image = Renderer(shown).render(rotation, translation, expression, gaze).image
        image = np.where(image.any(2, keepdims=True), image, np.uint8(150))
        detector = MediaPipeDetector()  # a new one for each head: nothing is tracked from the last
        found = [detector.detect(image) for _ in range(3)][-1]  # the first look at a face is coarse
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
    """(G, 3) barycentric weights spread over a triangle."""
    steps = np.arange(SUBDIVISIONS + 1)
    i, j = (axis.ravel() for axis in np.meshgrid(steps, steps))
    inside = i + j <= SUBDIVISIONS
    return np.stack([i, j, SUBDIVISIONS - i - j], 1)[inside] / SUBDIVISIONS


def neighbours(tri: np.ndarray, vertices: np.ndarray, rings: int) -> np.ndarray:
    """(n, 3) the triangles within so many rings around some vertices."""
    for _ in range(rings):
        near = tri[np.isin(tri, vertices).any(1)]
        vertices = np.unique(near)
    return near


def best_places(
    projected: np.ndarray, facing: np.ndarray, landmarks: np.ndarray, tri: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners (L, 3), weights (L, 3) and median distance (L,) px of each landmark's place on the triangles."""
    skin = np.unique(tri)
    weights = grid()
    corners, shares, errors = [], [], []
    for number in range(landmarks.shape[1]):
        rough = np.linalg.norm(projected[:, skin] - landmarks[:, None, number], axis=2)
        seen = facing[:, skin].sum(0)
        # A place that is rarely seen must not win by its few images.
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
    """The places after averaging with the mirrored places of their partners, on the neutral face (x = 0 its middle)."""
    points = np.einsum("lci,lc->li", neutral[corners], weights)
    wanted = 0.5 * (points + points[mirror_pairs()] * np.array([-1.0, 1.0, 1.0]))
    shares, chosen, found = grid(), [], []
    for number, at in enumerate(wanted):
        # Along the surface, not through space: the lips of a closed mouth touch.
        near = neighbours(tri, corners[number], RINGS)
        surface = np.einsum("fci,gc->fgi", neutral[near], shares)
        face, place = np.unravel_index(np.argmin(((surface - at) ** 2).sum(2)), surface.shape[:2])
        chosen.append(near[face])
        found.append(shares[place])
    chosen, found = np.array(chosen), np.array(found)
    moved = np.linalg.norm(np.einsum("lci,lc->li", neutral[chosen], found) - points, axis=1)
    log.info("averaging both halves moved the places by %.3f cm (median)", np.median(moved))
    return chosen, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--renders", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True, help="text file for the table")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model = ict.load(args.model, IBUG)
    number = model.source_vertices
    projected, facing, landmarks = look(model, args.renders)
    skin = model.tri[np.isin(model.tri_part, WHOLE_HEAD) & (number[model.tri] < FULL_FACE).all(1)]
    corners, weights, errors = best_places(projected, facing, landmarks, skin)
    span = np.linalg.norm(landmarks[:, 33] - landmarks[:, 263], axis=1).mean()
    log.info("distance to the detector over the eye corners' (%.0f px): median landmark %.2f %%, worst %.2f %%", span,
             100 * np.median(errors) / span, 100 * errors.max() / span)  # fmt: skip
    corners, weights = symmetric(model.template.astype(np.float64), skin, corners, weights)
    rows = [
        f"{','.join(map(str, number[row]))},{','.join(str(round(SUBDIVISIONS * w)) for w in share)}"
        for row, share in zip(corners, weights, strict=True)
    ]
    args.out.write_text("\n".join(textwrap.wrap(" ".join(rows), 118)) + "\n")


if __name__ == "__main__":
    main()
