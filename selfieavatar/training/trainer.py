"""Hold one run's networks, optimisers, averages and counters; step generators and discriminator (eq. 7)."""

from __future__ import annotations

import copy
import logging
import math
from typing import Any, TypedDict, TypeVar

import torch
from torch import Tensor, nn

from selfieavatar.errors import UserError
from selfieavatar.losses.adversarial import discriminator_loss, generator_loss, r1_penalty
from selfieavatar.losses.total import DetailLoss
from selfieavatar.networks.avatar_generator import AvatarGenerator
from selfieavatar.networks.avatar_networks import OFF_FACE, AvatarNetworks
from selfieavatar.networks.discriminator import Discriminator
from selfieavatar.settings.train_section import Train
from selfieavatar.training.dataset import Batch, blur_render, jitter_render, move_torso, shift_window
from selfieavatar.training.in_plane import Motion, move_person
from selfieavatar.training.monitor import CHECK_EVERY, COLLAPSE_LOOKS, CollapseWatch
from selfieavatar.training.optimizer import adamw
from selfieavatar.training.parallel import SINGLE_PROCESS, ProcessGroup
from selfieavatar.training.precision import takes_bfloat16
from selfieavatar.training.schedule import learning_rate_factor
from selfieavatar.training.start import start_from

log = logging.getLogger(__name__)
M = TypeVar("M", bound=nn.Module)

# Roll-backs: after so many because of a loss that is not finite the run ends; after so many because of a
# collapse it goes on from where it is, with half the discriminator's rate.
MOST_RETURNS = 3
COUNTERS = ("images", "minutes", "steps", "returns", "collapses", "rate", "discriminator_rate")


class Diverged(Exception):
    """The training has to roll back. collapse: the discriminator has won; else the loss is not finite."""

    def __init__(self, collapse: bool) -> None:
        super().__init__("collapse" if collapse else "not finite")
        self.collapse = collapse


class Best(TypedDict):
    """Score and images of the best averaged networks."""

    score: float
    images: int


class Trainer:
    """Networks, optimisers, averages and counters of one run.

    consistent: no step is under way, so that networks and counters belong together. checkpoints: their steps.
    best: score and images of the best averaged networks so far.
    """

    def __init__(self, settings: Train, size_px: int, device: str, group: ProcessGroup = SINGLE_PROCESS) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.size_px, self.device, self.group = settings, size_px, torch.device(device), group
        self.layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self._make_generators()
        self.losses = DetailLoss(settings, self.device, group.mean)
        self.gan = settings.weight_gan > 0
        self.discriminator: nn.Module = nn.Identity()
        if self.gan:
            self.discriminator = self._placed(Discriminator(settings, size_px))
        self.discriminator_optimizer = adamw(self.discriminator, settings, settings.lr_disc) if self.gan else None
        self.images, self.minutes, self.steps, self.returns, self.collapses = 0, 0.0, 0, 0, 0
        self.progress, self.rate, self.discriminator_rate, self.consistent = 0.0, 1.0, 1.0, True
        self.checkpoints: list[int] = []
        self.best = Best(score=-math.inf, images=0)
        self.history: list[dict[str, float]] = []
        self.collapse = CollapseWatch(settings.collapse_below)
        self.half = takes_bfloat16(self.device, settings.precision)

    def _make_generators(self) -> None:
        nets = AvatarNetworks(self.settings, self.size_px)
        if isinstance(nets.style, AvatarGenerator):
            nets.style.noise_anew = self.settings.noise_anew
        self.average = copy.deepcopy(nets).to(self.device).to(memory_format=self.layout).requires_grad_(False).eval()
        self.nets = self._placed(nets)
        self.optimizer = adamw(self.nets, self.settings, self.settings.lr_net)

    def _placed(self, module: M) -> M:
        """Put a module on the device, in its memory format, and compile it if asked for."""
        module.to(self.device).to(memory_format=self.layout)
        if self.settings.compile:
            module.compile()
        return module

    # ------------------------------------------------------------------------------------------------ schedule
    def set_schedule(self, progress: float) -> None:
        """Set learning rates for this share of the budget, and cache the maps when their time has come."""
        settings = self.settings
        self.progress = progress
        factor = self.rate * learning_rate_factor(progress, self.images + settings.batch, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["base_lr"]
        for group in self.discriminator_optimizer.param_groups if self.discriminator_optimizer else ():
            group["lr"] = (
                self.rate * self.discriminator_rate * group["base_lr"]
            )  # a judge that stops learning is deceived
        if not self.nets.maps_frozen and self.images >= settings.maps_until:
            self._cache_maps()

    @property
    def adversarial(self) -> bool:
        """Whether the discriminator takes part: it is weighted and its warm-up share is over."""
        return self.gan and self.progress >= self.settings.gan_from

    def augment(self, batch: Batch) -> Batch:
        """Augment by the torso's place, a moved person, sliding window, colour and blur of I_R, by configuration.

        Drawn for the whole batch by seed and images seen, so that it resumes and does not depend on the processes.
        """
        settings, part = self.settings, self.group.shard
        count = batch.image.shape[0] * self.group.size
        random = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.images)
        if settings.torso_from_head > 0 and batch.torso_offset is not None:
            untold = torch.rand(count, 1, generator=random) < settings.torso_from_head
            batch = move_torso(batch, part(untold).to(batch.torso_offset))
        if settings.move_share > 0 and batch.plate is not None:
            motion = Motion.draw(count, settings.move_share, settings.move_shift * self.size_px, settings.move_degrees,
                                 settings.move_scale, random)  # fmt: skip
            batch = move_person(batch, Motion(part(motion.angle), part(motion.scale), part(motion.shift_px)))
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
        self.consistent = False
        metrics, fake = self._generator_step(batch)
        if self.adversarial and self.discriminator_optimizer:
            metrics |= self._discriminator_step(batch, fake, self.discriminator_optimizer)
        means = self.group.mean(torch.stack([value.detach().float().to(self.device) for value in metrics.values()]))
        if self.steps % CHECK_EVERY == 0:
            self._check_divergence(dict(zip(metrics, means.tolist(), strict=True)))
        self._move_average()
        self.images += self.settings.batch
        self.steps += 1
        self.consistent = True
        return dict(zip(metrics, means, strict=True))

    def _check_divergence(self, metrics: dict[str, float]) -> None:
        """Raise Diverged for what is not finite, and for a discriminator that has won."""
        if not all(math.isfinite(value) for value in metrics.values()):
            raise Diverged(collapse=False)
        if "disc" in metrics and self.collapse.collapsed(metrics["disc"]):
            if self.collapses < MOST_RETURNS:
                raise Diverged(collapse=True)
            self.discriminator_rate /= 2
            log.warning("the discriminator has won (loss %.3f): its learning rate is halved", metrics["disc"])

    def _generator_step(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        settings = self.settings
        time_code = batch.time if settings.net_time_code else None
        if settings.noise_anew:  # a function of the images seen, so that a run that was stopped goes on alike
            torch.manual_seed((settings.seed * 1_000_003 + self.images) * self.group.size + self.group.rank)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            fake, out_mask = self.nets(batch.render, batch.uv, time_code, batch.shift_px)
        fake, out_mask = fake.float(), out_mask.float()
        image, foreground = fake / 2 + 0.5, (1 - out_mask) / 2  # I_A, and I_FM = 1 - background mask
        known = (batch.image, batch.alpha, batch.validity)
        detail = self.progress >= settings.detail_from
        terms = self.losses(image, foreground, *known, self.steps, batch.uv[:, 2:3], detail)
        if self.adversarial:
            self.discriminator.requires_grad_(False)
            judged = fake
            if settings.gan_region == "around_face":  # it sees all, but moves only what the face does not determine
                judged = torch.lerp(fake, fake.detach(), batch.uv[:, 2:3])
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                logits = self.discriminator(judged, batch.render)
            terms["gan"] = generator_loss(logits)
        norms = self._gradients(self.losses.weighted_sums(terms))
        self.optimizer.step()
        return terms | norms, fake.detach()

    def _gradients(self, sums: dict[int, Tensor]) -> dict[str, Tensor]:
        """Write the gradients of the generators: of each sum {interval: scalar} limited, then times its interval.

        Returns the total loss and the norms, before their limit, of the gradients of the terms of every step.
        """
        parameters = list(self.nets.parameters())
        values = torch.stack([every * value for every, value in sums.items()]) if sums else torch.zeros(1)
        metrics = {"total": values.sum()}
        # a step may have no term: lazy ones alone, or a discriminator that is yet to join
        due = [every for every in sorted(sums, reverse=True) if sums[every].requires_grad]
        gathered: dict[nn.Parameter, Tensor] = {}
        for every in due or [1]:
            self.optimizer.zero_grad(set_to_none=True)
            if due:
                sums[every].backward(retain_graph=every != due[-1])
            self.group.average_gradients(parameters)
            bases = () if self.nets.bases is None else ("bases",)
            for name in ("face", "back", *OFF_FACE, *bases, "style"):
                own = list(getattr(self.nets, name).parameters())  # none of an absent map, whose norm is 0
                metrics[f"norm_{name}"] = nn.utils.clip_grad_norm_(own, self.settings.clip_norm, foreach=True)
            if due not in ([], [1]):
                found = {p: p.grad for p in parameters if p.grad is not None}
                gathered |= {p: every * grad + gathered.get(p, 0) for p, grad in found.items()}
        for parameter, gradient in gathered.items():
            parameter.grad = gradient
        return metrics

    def _discriminator_step(self, batch: Batch, fake: Tensor, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        settings = self.settings
        real = 2 * batch.image - 1
        if batch.validity is not None:  # where the truth is unknown, both sides show the same
            real = torch.where(batch.validity > 0.5, real, fake)
        self.discriminator.requires_grad_(True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits_real, logits_fake = self.discriminator(real, batch.render), self.discriminator(fake, batch.render)
        loss = discriminator_loss(logits_real, logits_fake)
        metrics = {"disc": loss, "d_real": logits_real.mean(), "d_fake": logits_fake.mean()}
        loss = settings.weight_disc * loss
        if self.steps % settings.r1_every == 0:  # lazily, weighted up; in full precision
            real = real.detach().requires_grad_(True)
            # of the mean logit, which makes patches and the whole alike; a compiled network has no second backward
            penalty = r1_penalty(self.discriminator.forward(real, batch.render).flatten(1).mean(1), real)
            loss = loss + settings.r1_gamma / 2 * settings.r1_every * penalty
            metrics["r1"] = penalty
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.group.average_gradients(self.discriminator.parameters())
        gradients = [p.grad for p in self.discriminator.parameters() if p.grad is not None]
        metrics["norm_disc"] = nn.utils.get_total_norm(gradients, foreach=True)
        optimizer.step()
        return metrics

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
            "disc": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict()
            if self.discriminator_optimizer
            else {},
            "history": self.history,
            "collapse": self.collapse.losses,
            "checkpoints": self.checkpoints,
            "best": self.best,
            "counters": {name: getattr(self, name) for name in COUNTERS},
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Restore a state of `state()`; None leaves the fresh start."""
        if state is None:
            return
        if state["frozen"] and not self.nets.maps_frozen:
            self._cache_maps()
        if self.nets.maps_frozen and not state["frozen"]:  # a checkpoint from before the maps were cached
            self._make_generators()
        self.nets.load_state_dict(state["nets"])
        self.average.load_state_dict(state["average"])
        self.discriminator.load_state_dict(state["disc"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.discriminator_optimizer:
            self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        self.history, self.collapse.losses = list(state["history"]), list(state["collapse"])
        self.checkpoints, best = list(state["checkpoints"]), state["best"]
        self.best = Best(score=best["score"], images=best["images"])
        for name, value in state["counters"].items():
            setattr(self, name, value)
        self.consistent = True
        if self.images:
            log.info("going on after %d images and %.1f minutes", self.images, self.minutes)

    def start_from(self, avatar: dict[str, Any]) -> None:
        """Start from the networks of somebody's avatar (`start.read_start`) instead of random ones."""
        start_from(self.nets, avatar)
        start_from(self.average, avatar)
        self.optimizer = adamw(self.nets, self.settings, self.settings.lr_net)

    def averaged_weights(self) -> dict[str, Any]:
        """Copy what the avatar takes from the averaged networks to the CPU: weights of G_style, cached maps, images."""
        style = {name: value.detach().cpu().clone() for name, value in self.average.style.state_dict().items()}
        average = self.average
        maps = {"face": average.face.cached(), "back": average.back.cached()}
        maps |= {name: cached for name in OFF_FACE if (cached := getattr(average, name).cached())}
        if average.bases is not None:
            maps["bases"] = average.bases.cached()
        return {"g_style": style, "maps": maps, "images": self.images}

    @property
    def returns_in_all(self) -> int:
        """Number of roll-backs, whatever for; each goes on with another order of the frames."""
        return self.returns + self.collapses

    def last_sound_step(self, problem: Diverged) -> int:
        """Find the latest step whose state is not part of the problem: a collapse began a whole window ago."""
        return self.steps - (COLLAPSE_LOOKS * CHECK_EVERY if problem.collapse else 0)

    def mark_checkpoint(self) -> None:
        """Mark the state now as a checkpoint.

        Two checkpoints stay far enough apart that one lies before any collapse.

        Raises:
            Diverged: it is not, since a weight is not finite.
        """
        if not all(bool(p.isfinite().all()) for module in (self.nets, self.discriminator) for p in module.parameters()):
            self.consistent = False
            raise Diverged(collapse=False)
        last_two_close = (
            len(self.checkpoints) > 1 and self.checkpoints[-1] - self.checkpoints[-2] < COLLAPSE_LOOKS * CHECK_EVERY
        )
        self.checkpoints = [*(self.checkpoints[:-1] if last_two_close else self.checkpoints), self.steps][-3:]

    def roll_back(self, problem: Diverged, state: dict[str, Any] | None) -> None:
        """Roll back to a checkpoint with half the learning rates and another order of the frames.

        Where the discriminator has won, its rate alone is halved.

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
        log.warning("%s at %d images: rolled back to a checkpoint, %s halved", what, self.images, whose)
        rate, discriminator_rate = (
            (self.rate, self.discriminator_rate / 2) if problem.collapse else (self.rate / 2, self.discriminator_rate)
        )
        kept: dict[str, Any] = {"returns": returns, "collapses": collapses, "minutes": self.minutes, "best": self.best}
        kept |= {"rate": rate, "discriminator_rate": discriminator_rate}
        self.restore(state)
        self.collapse.losses = []
        for name, value in kept.items():
            setattr(self, name, value)

    def headline(self) -> str:
        """Write the words behind the progress bar."""
        last = self.history[-1] if self.history else {}
        left = (1 - self.progress) / self.progress * self.minutes if self.progress > 0 else 0.0
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
