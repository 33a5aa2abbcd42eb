"""METRICS: name -> class of every metric."""

from statecast.metrics.base import Metric
from statecast.metrics.calibration import Coverage, RankHistogram, SpreadSkill
from statecast.metrics.ensemble import CRPS, Brier, Energy
from statecast.metrics.fvd import FVD
from statecast.metrics.lpips import LPIPS, VGGLPIPS
from statecast.metrics.pointwise import MAE, MSE, PSNR, RMSE, MSESum
from statecast.metrics.spectral import Spectrum
from statecast.metrics.ssim import SSIM, SkimageSSIM

METRICS: dict[str, type[Metric]] = {
    "mse": MSE,
    "rmse": RMSE,
    "mae": MAE,
    "mse_sum": MSESum,
    "psnr": PSNR,
    "ssim": SSIM,
    "ssim_skimage": SkimageSSIM,
    "lpips": LPIPS,
    "lpips_vgg": VGGLPIPS,
    "fvd": FVD,
    "spectrum": Spectrum,
    "crps": CRPS,
    "energy": Energy,
    "spread_skill": SpreadSkill,
    "rank_histogram": RankHistogram,
    "coverage": Coverage,
    "brier": Brier,
}
