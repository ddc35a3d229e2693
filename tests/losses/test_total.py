"""The joined loss: which terms are due, their weights, crops around the person, and what the unknown border does."""

import pytest
import torch

from selfieavatar.losses.adversarial import generator_loss
from selfieavatar.losses.mask import cell_target
from selfieavatar.losses.total import DetailLoss, crop, crop_corners
from selfieavatar.settings.train_section import Losses

SETTINGS = Losses(mrf_every=4, mrf_crop_px=32, cos_every=2, cos_size_px=32, backbone_weights="random", backbone_seed=0)


@pytest.fixture(scope="module")
def loss():
    return DetailLoss(SETTINGS, "cpu")


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(2, 3, 48, 48, generator=generator)
    alpha = torch.zeros(2, 1, 48, 48)
    alpha[:, :, 10:, 10:38] = 1.0
    image = (target + 0.1 * torch.randn(2, 3, 48, 48, generator=generator)).clamp(0, 1)
    mask = (alpha[:, :, ::2, ::2] * 0.9).contiguous()
    return image, mask, target, alpha


def test_terms_are_due_by_their_interval(loss, batch):
    image, mask, target, alpha = batch
    due = [set(loss(image, mask, target, alpha, step=step)) for step in range(5)]
    base = {"mask", "l1"}
    assert due == [base | {"mrf", "cos"}, base, base | {"cos"}, base, base | {"mrf", "cos"}]


def test_the_detail_losses_join_late(loss, batch):
    assert set(loss(*batch, step=0, detail=False)) == {"mask", "l1"}


def test_perfect_avatar_costs_nothing_but_the_floor_of_mrf(loss, batch):
    _, _, target, alpha = batch
    terms = loss(target, alpha[:, :, ::2, ::2], target, alpha)
    assert terms["mask"].item() == 0.0
    assert terms["l1"].item() == 0.0
    assert abs(terms["cos"].item()) < 1e-4
    damaged = loss(1 - target, alpha[:, :, ::2, ::2], target, alpha)
    assert damaged["mrf"] > terms["mrf"] + 1.0
    assert damaged["cos"] > terms["cos"] + 1e-3


def test_weighted_sums_are_eq_7_by_interval(loss, batch):
    image, mask, target, alpha = batch
    terms = loss(image, mask, target, alpha)
    terms["gan"] = generator_loss(torch.tensor([0.3]))
    always = 3 * terms["mask"] + terms["l1"] + terms["gan"]
    expected = {1: always, 4: 0.05 * terms["mrf"], 2: terms["cos"]}
    torch.testing.assert_close(loss.weighted_sums(terms), expected)
    with pytest.raises(ValueError, match="vgg"):
        loss.weighted_sums({"vgg": torch.zeros(())})


def test_both_masks_of_mrf_are_made_alike(loss, batch):
    """A prediction that equals the target of its cells gives the same masked image as the truth, edges and all."""
    _, _, target, alpha = batch
    cells = cell_target(alpha, (8, 8), loss.mask_target)
    seen = []
    loss._mrf_term(lambda image, truth, _: seen.extend([image, truth]), target, cells, target, alpha, 0)
    assert torch.equal(*seen)


def test_gradients_reach_image_and_mask(loss, batch):
    image, mask, target, alpha = batch
    image, mask = image.clone().requires_grad_(), mask.clone().requires_grad_()
    terms = loss(image, mask, target, alpha)
    terms["mrf"].backward()
    assert image.grad.abs().sum() > 0 and torch.isfinite(image.grad).all()
    assert mask.grad.abs().sum() > 0  # eq. 6 multiplies by the predicted mask


def test_network_losses_ignore_the_unknown_border(loss, batch):
    image, mask, target, alpha = batch
    validity = torch.ones_like(alpha)
    validity[..., :12] = 0.0
    image = image.clone().requires_grad_()
    terms = loss(image, mask, target, alpha, validity)
    sum(loss.weighted_sums(terms).values()).backward()
    assert (image.grad[..., :12] == 0).all()
    assert (image.grad[..., 12:] != 0).any()


def test_random_choices_depend_on_the_step_alone(loss, batch):
    image, mask, target, alpha = batch
    torch.manual_seed(0)
    first = loss(image, mask, target, alpha, step=4)["mrf"]
    torch.manual_seed(1)
    again = loss(image, mask, target, alpha, step=4)["mrf"]
    other = loss(image, mask, target, alpha, step=8)["mrf"]
    assert first.item() == again.item()
    assert first.item() != other.item()


def test_a_term_without_weight_loads_no_backbone():
    plain = DetailLoss(Losses(weight_mrf=0, weight_cos=0, backbone_weights="imagenet"), "cpu")
    assert plain.backbone_labels == {}
    terms = plain(torch.rand(1, 3, 16, 16), torch.rand(1, 1, 8, 8), torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16))
    assert set(terms) == {"mask", "l1"}


@pytest.fixture(scope="module")
def on_faces():
    """The cosine term alone, on dlib's network."""
    chosen = {"cos_network": "dlib_face", "backbone_weights": "packaged", "weight_mrf": 0, "weight_mask": 0}
    return {layers: DetailLoss(Losses(**chosen, weight_l1=0, cos_layers=layers), "cpu")
            for layers in ("pooled", "multiscale")}  # fmt: skip


@pytest.mark.parametrize("layers", ["pooled", "multiscale"])
def test_dlib_s_network_compares_the_faces_alone(on_faces, batch, layers):
    loss, (image, mask, target, alpha) = on_faces[layers], batch
    assert loss.backbone_labels == {"dlib_face": "packaged"}
    face = torch.zeros_like(alpha)
    face[0, :, 16:32, 16:32] = 1.0  # the second image has none
    image = image.clone().requires_grad_()
    value = loss(image, mask, target, alpha, face=face)["cos"]
    value.backward()
    assert 0 < value < 2 and image.grad.isfinite().all()
    assert image.grad[0, :, 20:28, 20:28].all() and not image.grad[0, :, :8].any() and not image.grad[1].any()
    assert abs(loss(target, mask, target, alpha, face=face)["cos"].item()) < 1e-5
    assert loss(image, mask, target, alpha, face=0 * face)["cos"].item() == 0.0
    with pytest.raises(ValueError, match="where the face is"):
        loss(image, mask, target, alpha)


def test_labels_say_what_the_backbones_are(loss):
    assert loss.backbone_labels == {"vgg19": "random:0", "resnet50": "random:0"}


def test_crops_lie_inside_and_meet_the_person():
    alpha = torch.zeros(64, 1, 100, 80)
    alpha[:, :, 70:90, 5:15] = 1.0
    corners = crop_corners(alpha, 24, torch.Generator().manual_seed(0))
    assert corners.shape == (64, 2)
    assert (corners >= 0).all() and (corners[:, 0] <= 76).all() and (corners[:, 1] <= 56).all()
    cut = crop(alpha, corners, 24)
    assert cut.shape == (64, 1, 24, 24)
    assert (cut.amax(dim=(1, 2, 3)) == 1).all()
    assert len(set(map(tuple, corners.tolist()))) > 5


def test_whole_image_where_the_crop_is_zero_or_too_large():
    alpha = torch.ones(2, 1, 16, 16)
    for size in (0, 16, 64):
        assert crop_corners(alpha, size, torch.Generator()) is None
        assert crop(alpha, None, size) is alpha
