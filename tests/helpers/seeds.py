"""Seeded generators."""

import torch


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)
