"""Hold one run's networks, optimisers, averages and counters; step generators and discriminator (eq. 7)."""

from __future__ import annotations

import copy
import logging
import math
from typing import Any

import torch
from torch import Tensor, nn

from selfieavatar.errors import UserError
from selfieavatar.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from selfieavatar.losses.total import DetailLoss
from selfieavatar.networks.avatar_networks import OFF_FACE, AvatarNetworks
from selfieavatar.networks.discriminator import Discriminator
from selfieavatar.settings.train_section import Train
from selfieavatar.training.dataset import Batch, blur_render, jitter_render, shift_window
from selfieavatar.training.monitor import CHECK_EVERY, COLLAPSE_LOOKS, CollapseWatch
from selfieavatar.training.optimizer import adamw
from selfieavatar.training.parallel import SINGLE_PROCESS, ProcessGroup

log = logging.getLogger(__name__)

WARM_UP_IMAGES = 200
# Returns to a good state: after so many because of a loss that is not finite the run ends; after so many because of a
# collapse it goes on from where it is, with half the discriminator's rate.
MOST_RETURNS = 3
COUNTERS = ("images", "minutes", "steps", "returns", "collapses", "rate", "disc_rate")


class Diverged(Exception):
    """The training has to roll back. collapse: the discriminator has won; else the loss is not finite."""

    def __init__(self, collapse: bool) -> None:
        super().__init__("collapse" if collapse else "not finite")
        self.collapse = collapse


class Trainer:
    """Networks, optimisers, averages and counters of one run.

    whole: no step is under way, so that networks and counters belong together. good: the steps of the good states.
    best: score and images of the best averaged networks so far.
    """

    def __init__(self, settings: Train, size_px: int, device: str, group: ProcessGroup = SINGLE_PROCESS) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.size_px, self.device, self.group = settings, size_px, torch.device(device), group
        self.layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self._make_generators()
        self.losses = DetailLoss(settings, self.device, group.mean)
        self.gan = settings.weight_gan > 0
        self.disc = self._placed(Discriminator(settings, size_px)) if self.gan else nn.Identity()
        self.disc_optimizer = adamw(self.disc, settings, settings.lr_disc) if self.gan else None
        self.images, self.minutes, self.steps, self.returns, self.collapses = 0, 0.0, 0, 0, 0
        self.share, self.rate, self.disc_rate, self.whole = 0.0, 1.0, 1.0, True
        self.good: list[int] = []
        self.best = {"score": -math.inf, "images": 0}
        self.history: list[dict[str, float]] = []
        self.collapse = CollapseWatch(settings.collapse_below)
        self.half = self.device.type == "cuda" and settings.precision == "bfloat16"

    def _make_generators(self) -> None:
        self.nets = AvatarNetworks(self.settings, self.size_px)
        self.average = copy.deepcopy(self.nets).to(self.device, memory_format=self.layout).requires_grad_(False)
        self.nets = self._placed(self.nets)
        self.optimizer = adamw(self.nets, self.settings, self.settings.lr_net)

    def _placed(self, module: nn.Module) -> nn.Module:
        """Put a module on the device, in its memory format, and compile it if asked for."""
        module.to(device=self.device, memory_format=self.layout)
        if self.settings.compile:
            module.compile()
        return module

    # ------------------------------------------------------------------------------------------------ schedule
    def enter(self, share: float) -> None:
        """Sets learning rates for this share of the budget, and caches the maps when their time has come."""
        settings = self.settings
        self.share = share
        decay = min(1.0, (1 - share) / max(1 - settings.decay_from, 1e-6))
        warm_up = min(1.0, (self.images + settings.batch) / WARM_UP_IMAGES)
        factor = self.rate * warm_up * max(decay, settings.lr_floor)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["base_lr"]
        if self.disc_optimizer:
            for group in self.disc_optimizer.param_groups:  # it does not decay: a judge that stops learning is deceived
                group["lr"] = self.rate * self.disc_rate * group["base_lr"]
        if not self.nets.maps_frozen and self.images >= settings.maps_until:
            self._cache_maps()

    @property
    def adversarial(self) -> bool:
        """Whether the discriminator takes part: it is weighted and its warm-up share is over."""
        return self.gan and self.share >= self.settings.gan_from

    def augment(self, batch: Batch) -> Batch:
        """Augment by sliding window, colour and blur of the rendering, by configuration.

        Drawn for the whole batch by seed and images seen, so that it resumes and does not depend on the team.
        """
        settings, part = self.settings, self.group.part
        count = batch.image.shape[0] * self.group.size
        random = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.images)
        if settings.window_px > 0:
            limit = math.ceil(3 * settings.window_px)
            shift = (torch.randn(count, 2, generator=random) * settings.window_px).round().clamp(-limit, limit)
            batch = shift_window(batch, part(shift.long()), limit)
        if settings.colour_jitter > 0:
            gain, offset = (settings.colour_jitter * torch.randn(count, 3, 1, 1, generator=random) for _ in range(2))
            batch = jitter_render(batch, part(1 + gain), part(offset))
        if settings.blur_jitter_px > 0:
            sigma = settings.blur_jitter_px * torch.rand(count, generator=random)
            batch = blur_render(batch, part(sigma), settings.blur_jitter_px)
        return batch

    # ------------------------------------------------------------------------------------------------ one step
    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Step the generators, then the discriminator. Returns values for the monitor, means over the processes.

        Raises:
            Diverged: the loss is not finite, or the discriminator has won; what the step has changed is of no use.
        """
        self.whole = False
        figures, fake = self._generator_step(batch)
        if self.adversarial:
            figures |= self._discriminator_step(batch, fake)
        means = self.group.mean(torch.stack([value.detach().float().to(self.device) for value in figures.values()]))
        if self.steps % CHECK_EVERY == 0:
            self._look(dict(zip(figures, means.tolist(), strict=True)))
        self._move_average()
        self.images += self.settings.batch
        self.steps += 1
        self.whole = True
        return dict(zip(figures, means, strict=True))

    def _look(self, figures: dict[str, float]) -> None:
        """Watches for what is not finite and for a discriminator that has won."""
        if not all(math.isfinite(value) for value in figures.values()):
            raise Diverged(collapse=False)
        if "disc" in figures and self.collapse.collapsed(figures["disc"]):
            if self.collapses < MOST_RETURNS:
                raise Diverged(collapse=True)
            self.disc_rate /= 2
            log.warning("the discriminator has won (loss %.3f): its learning rate is halved", figures["disc"])

    def _generator_step(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        settings = self.settings
        time_code = batch.time if settings.net_time_code else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            fake, out_mask = self.nets(batch.render, batch.uv, time_code, batch.shift_px)
        fake, out_mask = fake.float(), out_mask.float()
        image, foreground = fake / 2 + 0.5, (1 - out_mask) / 2  # I_A, and I_FM = 1 - background mask
        terms = self.losses(image, foreground, batch.image, batch.alpha, batch.validity, self.steps)
        if self.adversarial:
            self.disc.requires_grad_(False)
            judged = fake
            if settings.gan_region == "around_face":  # it sees all, but moves only what the face does not determine
                judged = torch.lerp(fake, fake.detach(), batch.uv[:, 2:3])
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                logits = self.disc(judged, batch.render)
            terms["gan"] = generator_loss(logits)
        total = self.losses.weighted_sum(terms)
        self.optimizer.zero_grad(set_to_none=True)
        if total.requires_grad:  # a step may have no term: lazy ones alone, or a discriminator that is yet to join
            total.backward()
        self.group.average_gradients(self.nets.parameters())
        norms = {"total": total}
        for name in ("face", "back", *OFF_FACE, "style"):
            own = list(getattr(self.nets, name).parameters())  # none of an absent map, whose norm is 0
            norms[f"norm_{name}"] = nn.utils.clip_grad_norm_(own, settings.clip_norm, foreach=True)
        self.optimizer.step()
        return terms | norms, fake.detach()

    def _discriminator_step(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        settings = self.settings
        real = 2 * batch.image - 1
        if batch.validity is not None:  # where the truth is unknown, both sides show the same
            real = torch.where(batch.validity > 0.5, real, fake)
        self.disc.requires_grad_(True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits_real, logits_fake = self.disc(real, batch.render), self.disc(fake, batch.render)
        loss = discriminator_loss(logits_real, logits_fake)
        figures = {"disc": loss, "d_real": logits_real.mean(), "d_fake": logits_fake.mean()}
        loss = settings.weight_disc * loss
        if self.steps % settings.r1_every == 0:  # lazily, weighted up; in full precision
            real = real.detach().requires_grad_(True)
            # of the mean logit, which makes patches and the whole alike; a compiled network has no second backward
            penalty = r1_penalty(self.disc.forward(real, batch.render).flatten(1).mean(1), real)
            loss = loss + settings.r1_gamma / 2 * settings.r1_every * penalty
            figures["r1"] = penalty
        self.disc_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.group.average_gradients(self.disc.parameters())
        figures["norm_disc"] = nn.utils.get_total_norm([p.grad for p in self.disc.parameters()], foreach=True)
        self.disc_optimizer.step()
        return figures

    @torch.no_grad()
    def _move_average(self) -> None:
        """Update the EMA of all generators; the half-life is counted in images, and is shorter at the start."""
        batch = self.settings.batch
        start = ((4 + self.images) / (40 + self.images)) ** (batch / 4)
        decay = min(0.5 ** (batch / self.settings.ema_images), start)
        mine, averaged = self.nets.state_dict(), self.average.state_dict()
        torch._foreach_lerp_(list(averaged.values()), [mine[name] for name in averaged], 1 - decay)

    # ------------------------------------------------------------------------------------------------ state
    def state(self) -> dict[str, Any]:
        """Collect everything that `restore` needs, as tensors and plain values."""
        return {
            "nets": self.nets.state_dict(),
            "average": self.average.state_dict(),
            "frozen": self.nets.maps_frozen,
            "disc": self.disc.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "disc_optimizer": self.disc_optimizer.state_dict() if self.disc_optimizer else {},
            "history": self.history,
            "collapse": self.collapse.losses,
            "good": self.good,
            "best": self.best,
            "counters": {name: getattr(self, name) for name in COUNTERS},
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Restore a state of `state()`; None leaves the fresh start."""
        if state is None:
            return
        if state["frozen"] and not self.nets.maps_frozen:
            self._cache_maps()
        if self.nets.maps_frozen and not state["frozen"]:  # a good state from before the maps were cached
            self._make_generators()
        self.nets.load_state_dict(state["nets"])
        self.average.load_state_dict(state["average"])
        self.disc.load_state_dict(state["disc"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.disc_optimizer:
            self.disc_optimizer.load_state_dict(state["disc_optimizer"])
        self.history, self.collapse.losses = list(state["history"]), list(state["collapse"])
        self.good, self.best = list(state["good"]), dict(state["best"])
        for name, value in state["counters"].items():
            setattr(self, name, value)
        self.whole = True
        if self.images:
            log.info("going on after %d images and %.1f minutes", self.images, self.minutes)

    def taken(self) -> dict[str, Any]:
        """What the avatar takes from the averaged networks, on the CPU: weights of G_style, the cached maps, images."""
        style = {name: value.detach().cpu().clone() for name, value in self.average.style.state_dict().items()}
        average = self.average
        maps = {"face": average.face.cached(), "back": average.back.cached()}
        maps |= {name: cached for name in OFF_FACE if (cached := getattr(average, name).cached())}
        return {"g_style": style, "maps": maps, "images": self.images}

    @property
    def returns_in_all(self) -> int:
        """Returns to a good state, whatever for; each goes on with another order of the frames."""
        return self.returns + self.collapses

    def good_before(self, problem: Diverged) -> int:
        """The latest step whose state is not part of the problem: a collapse began a whole window ago."""
        return self.steps - (COLLAPSE_LOOKS * CHECK_EVERY if problem.collapse else 0)

    def mark_good(self) -> None:
        """Notes that the state now is one to return to. Two notes stay far enough apart to lie before any collapse.

        Raises:
            Diverged: it is not, since a weight is not finite.
        """
        if not all(bool(p.isfinite().all()) for module in (self.nets, self.disc) for p in module.parameters()):
            self.whole = False
            raise Diverged(collapse=False)
        last_two_close = len(self.good) > 1 and self.good[-1] - self.good[-2] < COLLAPSE_LOOKS * CHECK_EVERY
        self.good = [*(self.good[:-1] if last_two_close else self.good), self.steps][-3:]

    def fall_back(self, problem: Diverged, state: dict[str, Any] | None) -> None:
        """Returns to a good state with half the learning rates, of the discriminator alone where it has won, and
        another order of the frames.

        Raises:
            UserError: the loss was not finite too often, or there is no state.
        """
        returns, collapses = self.returns + (not problem.collapse), self.collapses + problem.collapse
        what = "the discriminator has won" if problem.collapse else "the loss is not finite"
        if state is None:
            raise UserError(
                f"{what} at {self.images} images, and no state from before can be read to return to; remove the folder "
                "of this training and run the same command again"
            )
        if returns > MOST_RETURNS:
            raise UserError(
                f"the training loss is not finite, {returns} times; lower train.lr_net and train.lr_maps, or look at "
                "the frames and renderings of the clips"
            )
        whose = "the discriminator's learning rate" if problem.collapse else "learning rates"
        log.warning("%s at %d images: back to a good state, %s halved", what, self.images, whose)
        rate, disc_rate = (self.rate, self.disc_rate / 2) if problem.collapse else (self.rate / 2, self.disc_rate)
        kept = {"returns": returns, "collapses": collapses, "rate": rate, "disc_rate": disc_rate}
        kept |= {"minutes": self.minutes, "best": self.best}
        self.restore(state)
        self.collapse.losses = []
        for name, value in kept.items():
            setattr(self, name, value)

    def headline(self) -> str:
        """Write the words behind the progress bar."""
        last = self.history[-1] if self.history else {}
        left = (1 - self.share) / self.share * self.minutes if self.share > 0 else 0.0
        val = next((row["val_face_db"] for row in reversed(self.history) if "val_face_db" in row), math.nan)
        speed, l1 = last.get("images_per_s", math.nan), last.get("l1", math.nan)
        return f"{self.images} images, {speed:.1f}/s, l1 {l1:.4f}, val {val:.2f} dB, {left:.0f} min left"

    def _cache_maps(self) -> None:
        """Cache the maps and drop their generators, also from the optimiser; what stays keeps its moments."""
        self.nets.freeze_maps()
        self.average.freeze_maps()
        moments = self.optimizer.state
        self.optimizer = adamw(self.nets, self.settings, self.settings.lr_net)
        alive = {parameter for group in self.optimizer.param_groups for parameter in group["params"]}
        self.optimizer.state.update({parameter: state for parameter, state in moments.items() if parameter in alive})
