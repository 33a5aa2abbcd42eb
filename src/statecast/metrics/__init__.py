"""METRICS: name -> class of every metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from statecast.registry import Registry

if TYPE_CHECKING:
    from statecast.metrics.base import Metric

METRICS: Registry[Metric] = Registry(
    "statecast.metrics",
    {
        "mse": "statecast.metrics.pointwise:MSE",
        "rmse": "statecast.metrics.pointwise:RMSE",
        "mae": "statecast.metrics.pointwise:MAE",
        "mse_sum": "statecast.metrics.pointwise:MSESum",
        "psnr": "statecast.metrics.pointwise:PSNR",
        "ssim": "statecast.metrics.ssim:SSIM",
        "ssim_skimage": "statecast.metrics.ssim:SkimageSSIM",
        "lpips": "statecast.metrics.lpips:LPIPS",
        "lpips_vgg": "statecast.metrics.lpips:VGGLPIPS",
        "fvd": "statecast.metrics.fvd:FVD",
        "spectrum": "statecast.metrics.spectral:Spectrum",
        "fair_mse": "statecast.metrics.ensemble:FairMSE",
        "crps": "statecast.metrics.ensemble:CRPS",
        "energy": "statecast.metrics.ensemble:Energy",
        "spread_skill": "statecast.metrics.calibration:SpreadSkill",
        "rank_histogram": "statecast.metrics.calibration:RankHistogram",
        "coverage": "statecast.metrics.calibration:Coverage",
        "brier": "statecast.metrics.ensemble:Brier",
        "bias": "statecast.metrics.anomalies:Bias",
        "acc": "statecast.metrics.anomalies:AnomalyCorrelation",
        "perceptual_small": "statecast.metrics.small_features:SmallPerceptual",
        "fvd_small": "statecast.metrics.small_features:SmallFVD",
    },
)
