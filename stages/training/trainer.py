"""One training run's networks, optimisers, averages and counters; one step of generators and discriminator (eq. 7)."""

from __future__ import annotations

import copy
import logging
import math
from typing import Any

import torch
from torch import Tensor, nn

from stages.core.errors import UserError
from stages.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from stages.losses.gradient import gradient_loss
from stages.losses.total import DetailLoss
from stages.nets.avatar_networks import AvatarNetworks
from stages.nets.discriminator import Discriminator
from stages.nets.sizes import network_settings
from stages.training.dataset import Batch, jitter_render, shift_window
from stages.training.monitor import CollapseWatch

log = logging.getLogger(__name__)

WARM_UP_STEPS = 50
MOST_RETURNS = 3  # to the last good state, after which the run ends
CHECK_EVERY = 10  # steps between looks at the loss value: each look waits for the card


class Trainer:
    """Networks, optimisers, averages and counters of one run."""

    def __init__(self, settings: dict[str, Any], size_px: int, device: str) -> None:
        torch.manual_seed(settings["seed"])
        self.settings, self.size_px, self.device = settings, size_px, torch.device(device)
        network = network_settings(settings)
        layout = {"device": self.device, "memory_format": torch.channels_last}
        self.nets = AvatarNetworks(network, size_px).to(**layout)
        self.average = copy.deepcopy(self.nets).requires_grad_(False)
        self.losses = DetailLoss(settings, self.device)
        self.gan = settings["weight_gan"] > 0
        self.disc = Discriminator(network, size_px).to(**layout) if self.gan else nn.Identity()
        betas = (settings["beta1"], settings["beta2"])
        self.optimizer = torch.optim.AdamW(parameter_groups(self.nets, settings, settings["lr_net"]), betas=betas)
        self.disc_optimizer = (
            torch.optim.AdamW(parameter_groups(self.disc, settings, settings["lr_disc"]), betas=betas)
            if self.gan
            else None
        )
        self.images, self.minutes, self.steps, self.returns = 0, 0.0, 0, 0
        self.share, self.rate, self.disc_rate, self.healthy = 0.0, 1.0, 1.0, True
        self.history: list[dict[str, float]] = []
        self.collapse = CollapseWatch(settings["collapse_below"])
        self.half = self.device.type == "cuda" and settings["precision"] == "bfloat16"

    # ------------------------------------------------------------------------------------------------ schedule
    def enter(self, share: float) -> bool:
        """Sets learning rates for this share of the budget, and caches the maps when their time has come.

        Returns:
            the maps were cached just now: a good moment to save, since no state from before fits the smaller networks.
        """
        settings = self.settings
        self.share = share
        decay = min(1.0, (1 - share) / max(1 - settings["decay_from"], 1e-6))
        factor = self.rate * min(1.0, (self.steps + 1) / WARM_UP_STEPS) * max(decay, settings["lr_floor"])
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["base_lr"]
        if self.disc_optimizer:
            for group in self.disc_optimizer.param_groups:  # it does not decay: a judge that stops learning is deceived
                group["lr"] = self.rate * self.disc_rate * group["base_lr"]
        if self.nets.maps_frozen or self.images < settings["maps_until"]:
            return False
        self._cache_maps()
        return True

    @property
    def adversarial(self) -> bool:
        """The discriminator takes part: it is weighted and its warm-up share is over."""
        return self.gan and self.share >= self.settings["gan_from"]

    def augment(self, batch: Batch) -> Batch:
        """Sliding window and colour jitter, by configuration; random by seed and images seen, so that it resumes."""
        settings = self.settings
        random = torch.Generator().manual_seed(settings["seed"] * 1_000_003 + self.images)
        if settings["window_px"] > 0:
            batch = shift_window(batch, settings["window_px"], math.ceil(3 * settings["window_px"]), random)
        if settings["colour_jitter"] > 0:
            batch = jitter_render(batch, settings["colour_jitter"], random)
        return batch

    # ------------------------------------------------------------------------------------------------ one step
    def step(self, batch: Batch) -> dict[str, float] | None:
        """Generators first, then the discriminator. Figures for the monitor; None when the loss is not finite."""
        figures, fake = self._generator_step(batch)
        if figures is None:
            return None
        if self.adversarial:
            figures |= self._discriminator_step(batch, fake)
        self._move_average(batch.picture.shape[0])
        self.images += batch.picture.shape[0]
        self.steps += 1
        return figures

    def _generator_step(self, batch: Batch) -> tuple[dict[str, float] | None, Tensor]:
        settings = self.settings
        time_code = batch.time if settings["net_time_code"] else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            fake, out_mask = self.nets(batch.render, batch.uv, time_code, batch.shift_px)
        fake, out_mask = fake.float(), out_mask.float()
        picture, foreground = fake / 2 + 0.5, (1 - out_mask) / 2  # I_A, and I_FM = 1 - background mask
        terms = self.losses(picture, foreground, batch.picture, batch.alpha, batch.validity, self.steps)
        if self.adversarial:
            self.disc.requires_grad_(False)
            judged = fake
            if settings["gan_region"] == "around_face":  # it sees all, but moves only what the face does not determine
                judged = torch.lerp(fake, fake.detach(), batch.uv[:, 2:3])
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                logits = self.disc(judged, batch.render)
            terms["gan"] = generator_loss(logits)
        total = self.losses.weighted_sum(terms)
        if settings["weight_gradient"] > 0:
            terms["gradient"] = gradient_loss(picture, batch.picture, batch.validity)
            total = total + settings["weight_gradient"] * terms["gradient"]
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        look = self.steps % CHECK_EVERY == 0
        norms = {}
        for name in ("face", "back", "style"):
            norm = nn.utils.clip_grad_norm_(getattr(self.nets, name).parameters(), settings["clip_norm"], foreach=True)
            norms[f"norm_{name}"] = norm
        if look and not all(bool(torch.isfinite(value)) for value in (total.detach(), *norms.values())):
            return None, fake
        self.optimizer.step()
        figures = {name: value.item() for name, value in (terms | norms).items()} if look else {}
        return figures, fake.detach()

    def _discriminator_step(self, batch: Batch, fake: Tensor) -> dict[str, float]:
        settings = self.settings
        real = 2 * batch.picture - 1
        if batch.validity is not None:  # where the truth is unknown, both sides show the same
            real = torch.where(batch.validity > 0.5, real, fake)
        self.disc.requires_grad_(True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits_real, logits_fake = self.disc(real, batch.render), self.disc(fake, batch.render)
        loss = discriminator_loss(logits_real, logits_fake)
        figures = {"disc": loss.item(), "d_real": logits_real.mean().item(), "d_fake": logits_fake.mean().item()}
        loss = settings["weight_disc"] * loss
        if self.steps % settings["r1_every"] == 0:  # lazily, weighted up; in full precision
            real = real.detach().requires_grad_(True)
            # of the mean logit, which makes patches and the whole alike
            penalty = r1_penalty(self.disc(real, batch.render).flatten(1).mean(1), real)
            loss = loss + settings["r1_gamma"] / 2 * settings["r1_every"] * penalty
            figures["r1"] = penalty.item()
        self.disc_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.disc_optimizer.step()
        if self.collapse.collapsed(figures["disc"]):
            self.disc_rate /= 2
            log.warning("the discriminator has won (loss %.3f): its learning rate is halved", figures["disc"])
        return figures

    @torch.no_grad()
    def _move_average(self, batch: int) -> None:
        """EMA over all generators; the half-life is counted in images, and is shorter at the start."""
        decay = 0.5 ** (batch / self.settings["ema_images"])
        decay = min(decay, (1 + self.steps) / (10 + self.steps))
        mine, averaged = self.nets.state_dict(), self.average.state_dict()
        torch._foreach_lerp_(list(averaged.values()), [mine[name] for name in averaged], 1 - decay)

    # ------------------------------------------------------------------------------------------------ state
    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, as tensors and plain values."""
        counters = ("images", "minutes", "steps", "returns", "rate", "disc_rate")
        return {
            "nets": self.nets.state_dict(),
            "average": self.average.state_dict(),
            "frozen": self.nets.maps_frozen,
            "disc": self.disc.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "disc_optimizer": self.disc_optimizer.state_dict() if self.disc_optimizer else {},
            "history": self.history,
            "counters": {name: getattr(self, name) for name in counters},
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Goes back to a state of `state()`; None leaves the fresh start."""
        if state is None:
            return
        if state["frozen"] and not self.nets.maps_frozen:
            self._cache_maps()
        self.nets.load_state_dict(state["nets"])
        self.average.load_state_dict(state["average"])
        self.disc.load_state_dict(state["disc"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.disc_optimizer:
            self.disc_optimizer.load_state_dict(state["disc_optimizer"])
        self.history = list(state["history"])
        for name, value in state["counters"].items():
            setattr(self, name, value)
        if self.images:
            log.info("going on after %d images and %.1f minutes", self.images, self.minutes)

    def fall_back(self, state: dict[str, Any] | None) -> None:
        """Returns to the last good state with half the learning rates and another order of the frames.

        Raises:
            UserError: it has happened too often, or there is no state.
        """
        returns, minutes, rate = self.returns + 1, self.minutes, self.rate / 2
        if state is None or returns > MOST_RETURNS:
            self.healthy = False
            raise UserError(
                f"the training loss is not finite, {returns} times; lower train.lr_net and train.lr_maps, or look at "
                "the frames and renderings of the clips"
            )
        log.warning(
            "the loss is not finite at %d images: back to the last good state, learning rates halved", self.images
        )
        self.restore(state)
        self.returns, self.minutes, self.rate = returns, minutes, rate

    def headline(self) -> str:
        """The words behind the progress bar."""
        last = self.history[-1] if self.history else {}
        left = (1 - self.share) / max(self.share, 1e-6) * self.minutes if self.share > 0 else 0.0
        l1, val = last.get("l1", math.nan), last.get("val_face_db", math.nan)
        return f"{self.images} images, l1 {l1:.4f}, val {val:.2f} dB, {left:.0f} min left"

    def _cache_maps(self) -> None:
        """Caches the maps and drops their generators, also from the optimiser; what stays keeps its moments."""
        self.nets.freeze_maps()
        self.average.freeze_maps()
        moments = dict(self.optimizer.state)
        betas = (self.settings["beta1"], self.settings["beta2"])
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.nets, self.settings, self.settings["lr_net"]), betas=betas
        )
        alive = {parameter for group in self.optimizer.param_groups for parameter in group["params"]}
        self.optimizer.state.update({parameter: state for parameter, state in moments.items() if parameter in alive})


def parameter_groups(module: nn.Module, settings: dict[str, Any], lr: float) -> list[dict[str, Any]]:
    """Parameters by learning rate and weight decay: free maps; weights; biases, noise weights and constants (no
    decay)."""
    groups: dict[str, list[nn.Parameter]] = {"maps": [], "weights": [], "plain": []}
    for name, parameter in module.named_parameters():
        free = name.endswith(("feature_free", "skip_free"))
        plain = parameter.ndim < 2 or name.endswith("constant")
        groups["maps" if free else "plain" if plain else "weights"].append(parameter)
    rate = {"maps": settings["lr_maps"], "weights": lr, "plain": lr}
    decay = {"maps": 0.0, "weights": settings["weight_decay"], "plain": 0.0}
    return [
        {"params": group, "lr": rate[name], "base_lr": rate[name], "weight_decay": decay[name]}
        for name, group in groups.items()
        if group
    ]
