"""Drawing helpers put their marks where the coordinates say and nowhere else."""

import numpy as np
import pytest

from selfieavatar.reporting import annotate


def test_a_landmark_lies_on_its_pixel_and_leaves_the_input_alone() -> None:
    image = np.zeros((33, 33, 3), np.uint8)
    marked = annotate.landmarks(image, np.array([[10.5, 20.5], [np.nan, np.nan]]), (255, 0, 0), radius=2)
    assert not image.any()
    rows, columns = np.nonzero(marked[..., 0])
    assert abs(rows.mean() - 20) < 0.4 and abs(columns.mean() - 10) < 0.4


def test_wireframe_draws_edges_only() -> None:
    points = np.array([[4.5, 4.5], [28.5, 4.5], [4.5, 28.5]])
    drawn = annotate.wireframe(np.zeros((32, 32, 3), np.uint8), points, np.array([[0, 1, 2]]), opacity=1.0)
    assert drawn[4, 16].any() and drawn[16, 4].any() and not drawn[10, 10].any() and not drawn[30, 30].any()


def test_alpha_edge_follows_the_mask() -> None:
    alpha = np.zeros((32, 32), np.float32)
    alpha[8:24, 8:24] = 1.0
    edge = annotate.alpha_edge(np.zeros((32, 32, 3), np.uint8), alpha).any(axis=2)
    assert edge[8, 8:24].all() and not edge[12:20, 12:20].any() and not edge[:6].any()
    same = annotate.alpha_edge(np.zeros((32, 32, 3), np.uint8), (alpha * 255).astype(np.uint8)).any(axis=2)
    assert (same == edge).all()


def test_contact_sheet_holds_every_image() -> None:
    images = [np.full((20, 20, 3), value, np.uint8) for value in (50, 100, 150)]
    sheet = annotate.contact_sheet(images, ["a", "b", "c"], columns=2)
    for value in (50, 100, 150):
        assert (sheet == value).all(axis=2).sum() >= 400
    mixed = annotate.contact_sheet([images[0], np.full((10, 20), 40000, np.uint16), np.ones((5, 5)) * 0.5])
    assert mixed.dtype == np.uint8
    with pytest.raises(ValueError, match="labels"):
        annotate.contact_sheet(images, ["only one"])


def test_error_map_grows_with_the_error() -> None:
    black, dim, bright = (np.full((4, 4, 3), value, np.uint8) for value in (0, 20, 60))
    assert (
        annotate.error_map(black, black).sum()
        < annotate.error_map(black, dim).sum()
        < annotate.error_map(black, bright).sum()
    )
    with pytest.raises(ValueError, match="size"):
        annotate.error_map(black, np.zeros((5, 4, 3), np.uint8))


@pytest.mark.parametrize("width", [0, 20, 60, 150, 400])
def test_a_shortened_label_fits_and_keeps_both_its_ends(width) -> None:
    label = "front_angry_level_3_001 12"
    cut = annotate.shortened(label, width)
    assert annotate.text_width(cut) <= width
    before, dots, after = cut.partition("...")
    assert cut == label if width == 400 else label.startswith(before) and label.endswith(after)
    drawn = annotate.text(np.full((20, 420, 3), 99, np.uint8), cut, (0, 4)) != 99
    assert not drawn[:, width:].any(), "no pixel further right than said"
