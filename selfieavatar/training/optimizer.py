"""Build AdamW over a network's parameters, grouped by learning rate and weight decay."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from selfieavatar.settings.train_section import Train


def adamw(module: nn.Module, settings: Train, lr: float) -> torch.optim.AdamW:
    """Build AdamW by the section `train`; fused, which updates each parameter in one pass, on CPUs too."""
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW(parameter_groups(module, settings, lr), betas=betas, fused=True)


def parameter_groups(module: nn.Module, settings: Train, lr: float) -> list[dict[str, Any]]:
    """Group parameters by learning rate and weight decay.

    Free maps and bases; weights; biases, noise weights and constants (no decay).
    """
    groups: dict[str, list[nn.Parameter]] = {"maps": [], "weights": [], "plain": []}
    for name, parameter in module.named_parameters():
        free = name.endswith(("feature_free", "skip_free", "feature_bases", "colour_bases"))
        plain = parameter.ndim < 2 or name.endswith("constant")
        groups["maps" if free else "plain" if plain else "weights"].append(parameter)
    rate = {"maps": settings.lr_maps, "weights": lr, "plain": lr}
    decay = {"maps": 0.0, "weights": settings.weight_decay, "plain": 0.0}
    return [
        {"params": group, "lr": rate[name], "base_lr": rate[name], "weight_decay": decay[name]}
        for name, group in groups.items()
        if group
    ]
