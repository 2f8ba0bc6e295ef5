"""The challenge: benchmark samples, tiers, submissions and boards."""

from etlab.challenge.simulate import PRESETS, PUBLIC_SEEDS, Sample, simulate

__all__ = ["PRESETS", "PUBLIC_SEEDS", "Sample", "simulate"]
