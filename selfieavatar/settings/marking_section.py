"""The section `marking` of the configuration: how what an avatar paints is marked as synthetic (see `sections`)."""

from __future__ import annotations

from selfieavatar.settings.sections import Section


class Marking(Section):
    """How videos and images of an avatar are marked as synthetic, before they leave the program.

    Holds for a whole run: in config.yaml or --configfile, not in a preset or variant.
    """

    label: bool = True
    """Write "AI-generated" into a corner of what the avatar painted. false only where the law lets you disclose it
    otherwise or not at all (docs/responsible-use.md). The other marks are always written."""
    key: str = ""
    """PEM file with your own private key and certificates to sign by; empty: this computer's key, made at first use,
    which others see as untrusted."""
