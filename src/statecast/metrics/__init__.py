"""METRICS: name -> class of every metric."""

from statecast.metrics.base import Metric
from statecast.metrics.ensemble import (
    CRPS,
    Brier,
    Coverage,
    Energy,
    RankHistogram,
    SpreadSkill,
)
from statecast.metrics.pointwise import MAE, MSE, PSNR, RMSE
from statecast.metrics.structural import SSIM

METRICS: dict[str, type[Metric]] = {
    "mse": MSE,
    "rmse": RMSE,
    "mae": MAE,
    "psnr": PSNR,
    "ssim": SSIM,
    "crps": CRPS,
    "energy": Energy,
    "spread_skill": SpreadSkill,
    "rank_histogram": RankHistogram,
    "coverage": Coverage,
    "brier": Brier,
}
