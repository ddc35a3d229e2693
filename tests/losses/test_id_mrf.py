"""ID-MRF against the published formula written out as loops, and its behaviour where images are flat."""

import math

import torch
from torch import nn

from selfieavatar.losses.id_mrf import IDMRFLoss, mrf_layer


def published_formula(generated, target, h=0.5, eps=1e-5):
    """Wang et al. 2018, one position at a time, in Python floats; generated, target: (C,N) of one image."""
    channels, count = generated.shape
    mean = [sum(target[c][n].item() for n in range(count)) / count for c in range(channels)]

    def unit(features, n):
        vector = [features[c][n].item() - mean[c] for c in range(channels)]
        norm = math.sqrt(sum(v * v for v in vector))
        return [v / norm for v in vector]

    t = [unit(target, i) for i in range(count)]
    g = [unit(generated, j) for j in range(count)]
    share = [[0.0] * count for _ in range(count)]
    for j in range(count):
        d = [(1.0 - sum(a * b for a, b in zip(t[i], g[j], strict=True))) / 2.0 for i in range(count)]
        w = [math.exp((1.0 - d[i] / (min(d) + eps)) / h) for i in range(count)]
        for i in range(count):
            share[i][j] = w[i] / sum(w)
    return -math.log(sum(max(row) for row in share) / count)


class TinyBackbone(nn.Module):
    """Two small convolutions with the names of VGG19's taps."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1, dtype=dtype)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1, dtype=dtype)
        for parameter in self.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator, dtype=dtype) * 0.5)
            parameter.requires_grad_(False)

    def forward(self, image):
        first = torch.tanh(self.first(image))
        return {"relu3_2": first, "relu4_2": torch.tanh(self.second(first))}


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_layer_equals_published_formula():
    for seed in range(3):
        generated, target = random(5, 7, seed=seed), random(5, 7, seed=seed + 10) + 0.3
        ours = mrf_layer(generated[None] * 4, target[None] * 4)
        assert ours.shape == (1,)
        # single against double precision: a distance near the smallest one is magnified by 1 / (min + eps)
        assert abs(ours.item() - published_formula(generated * 4, target * 4)) < 1e-3


def test_loss_is_the_mean_over_the_batch_with_relu4_2_counted_twice():
    backbone = TinyBackbone()
    image, target = random(2, 3, 16, 16, seed=1).sigmoid(), random(2, 3, 16, 16, seed=2).sigmoid()
    fake, real = backbone(image), backbone(target)
    first = mrf_layer(fake["relu3_2"].flatten(2), real["relu3_2"].flatten(2)).mean()
    second = mrf_layer(fake["relu4_2"].flatten(2), real["relu4_2"].flatten(2)).mean()
    torch.testing.assert_close(IDMRFLoss(backbone)(image, target), first + 2 * second)


def test_identity_is_the_least_value_and_damage_raises_it():
    backbone = TinyBackbone()
    target = random(1, 3, 24, 24, seed=4).sigmoid()
    loss = IDMRFLoss(backbone)
    same = loss(target, target).item()
    assert 0.0 <= same < 0.05
    noise = random(1, 3, 24, 24, seed=5)
    values = [loss((target + s * noise).clamp(0, 1), target).item() for s in (0.02, 0.1, 0.5)]
    assert same < values[0] < values[1] < values[2]


def test_layer_stays_within_its_bounds():
    value = mrf_layer(random(3, 8, 50, seed=1), random(3, 8, 50, seed=2))
    assert value.shape == (3,)
    assert (value >= 0).all() and (value <= math.log(50)).all()


def test_flat_images_give_finite_loss_and_gradients():
    backbone = TinyBackbone()
    loss = IDMRFLoss(backbone)
    flat = torch.zeros(2, 3, 16, 16)
    half = flat.clone()
    half[..., 8:] = random(2, 3, 16, 8, seed=6).sigmoid()
    for image, target in ((flat, flat), (half, flat), (flat, half), (half, half)):
        image = image.clone().requires_grad_()
        value = loss(image, target)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(image.grad).all()


def test_gradient_agrees_with_finite_differences():
    loss = IDMRFLoss(TinyBackbone(torch.float64), eps=1e-2)
    target = random(1, 3, 8, 8, seed=7, dtype=torch.float64).sigmoid()
    image = (target + 0.3 * random(1, 3, 8, 8, seed=8, dtype=torch.float64)).requires_grad_()
    # random images are not at a tie of the maximum or minimum, where the loss has a kink
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (image,), eps=1e-6, atol=1e-5, fast_mode=True)


def test_sampling_takes_the_same_places_of_both_images_and_repeats_with_the_seed():
    loss = IDMRFLoss(TinyBackbone(), max_positions=20)
    target = random(1, 3, 32, 32, seed=9).sigmoid()
    same = loss(target, target, torch.Generator().manual_seed(1))
    again = loss(target, target, torch.Generator().manual_seed(1))
    assert same.item() < 0.05
    torch.testing.assert_close(same, again, rtol=0, atol=0)


def test_half_precision_input_is_computed_in_float32():
    loss = IDMRFLoss(TinyBackbone())
    image, target = random(1, 3, 16, 16, seed=1).sigmoid(), random(1, 3, 16, 16, seed=2).sigmoid()
    value = loss(image.bfloat16(), target.bfloat16())
    assert value.dtype == torch.float32
    assert abs(value.item() - loss(image, target).item()) < 0.2


def test_autocast_does_not_reach_it():
    loss = IDMRFLoss(TinyBackbone())
    image, target = random(2, 3, 16, 16, seed=1).sigmoid().requires_grad_(), random(2, 3, 16, 16, seed=2).sigmoid()
    plain = loss(image, target)
    plain.backward()
    gradient, image.grad = image.grad, None
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(image, target)
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(image.grad, gradient)


def test_no_bound_compares_all_positions():
    target, image = random(1, 3, 32, 32, seed=1).sigmoid(), random(1, 3, 32, 32, seed=2).sigmoid()
    torch.testing.assert_close(
        IDMRFLoss(TinyBackbone(), max_positions=0)(image, target), IDMRFLoss(TinyBackbone())(image, target)
    )


def kept_for_backward(loss, batch):
    """Bytes that the graph holds until the way back."""
    image = random(batch, 3, 64, 64, seed=1).sigmoid().requires_grad_()
    held = {}

    def note(tensor):
        held[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        value = loss(image, random(batch, 3, 64, 64, seed=2).sigmoid(), torch.Generator().manual_seed(0))
    value.backward()
    return sum(held.values())


def test_memory_does_not_grow_with_the_square_of_the_positions_times_the_batch():
    loss = IDMRFLoss(TinyBackbone(), max_positions=1024)
    square = 1024**2 * 4
    assert kept_for_backward(loss, 8) < square  # the plain graph holds several such tensors for each of 8 images
