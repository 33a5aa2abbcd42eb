"""Weights for metrics that need a network: drawn, in the layout of the published files."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from statecast.io.atomic_files import sha256_of
from statecast.metrics.base import MetricSettings
from statecast.metrics.lpips import LPIPS, VGGLPIPS
from statecast.metrics.lpips_networks import alexnet_layers, vgg16_layers


class TinyVideoNetwork(torch.nn.Module):
    """Stands for I3D: five numbers of each clip; NaN where it is not called as published."""

    def forward(
        self,
        clips: torch.Tensor,
        rescale: bool = False,
        resize: bool = False,
        return_features: bool = False,
    ) -> torch.Tensor:
        if clips.dim() != 5 or clips.shape[1] != 3 or not (rescale and resize and return_features):
            return torch.full([clips.shape[0], 5], float("nan"))
        scaled = clips / 127.5 - 1
        return torch.stack(
            [
                scaled.mean(dim=[1, 2, 3, 4]),
                scaled[:, 0].std(dim=[1, 2, 3]),
                (scaled[:, :, 1:] - scaled[:, :, :-1]).abs().mean(dim=[1, 2, 3, 4]),
                scaled[:, 1, -1].mean(dim=[1, 2]),
                scaled[:, 2, 0, 0].mean(dim=1),
            ],
            dim=1,
        )


def drawn(layers, seed):
    """A state dict as torchvision's: convolutions under `features`, and a classifier."""
    generator = torch.Generator().manual_seed(seed)
    state = {"classifier.6.bias": torch.zeros(3)}
    for name, value in layers.state_dict().items():
        fan = value[0].numel() if value.ndim > 1 else 1
        scale = (2 / fan) ** 0.5 if value.ndim > 1 else 0.1
        state[f"features.{name}"] = scale * torch.randn(value.shape, generator=generator)
    return state


@pytest.fixture(scope="session")
def weight_files(tmp_path_factory):
    """Folder of the three files under their published names."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(drawn(alexnet_layers(), 1), folder / LPIPS.file.name)
    torch.save(drawn(vgg16_layers(), 2), folder / VGGLPIPS.file.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(TinyVideoNetwork()).save(str(folder / "i3d_torchscript.pt"))
    return folder


@pytest.fixture
def settings(weight_files, monkeypatch, tmp_path):
    """Settings under which every metric can be computed, with the drawn weights as published."""
    monkeypatch.setenv("STATECAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("STATECAST_LPIPS_WEIGHTS", raising=False)
    monkeypatch.delenv("STATECAST_FVD_I3D", raising=False)
    for metric in (LPIPS, VGGLPIPS):
        digest = sha256_of(weight_files / metric.file.name)[:8]
        monkeypatch.setattr(metric, "file", replace(metric.file, digest=digest))
    return MetricSettings(
        lpips_weights=str(weight_files),
        fvd_weights=str(weight_files),
        climatology=torch.full((2, 16, 12), 0.3),
    )
