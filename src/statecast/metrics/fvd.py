"""FVD: the Fréchet distance between videos and forecasts, in the features of an I3D network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import CorruptionError, InputError
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics.base import (
    DEFAULTS,
    NORMAL_95,
    Metric,
    MetricSettings,
    Score,
    Sums,
    check_matching,
)
from statecast.metrics.masking import require_whole
from statecast.metrics.pointwise import extent_of, unbounded
from statecast.metrics.pretrained_weights import I3D, Located, obtain, why_missing

RUNS = 5  # as in the published evaluations
RESIZED = 224  # side of the images that I3D sees


def why_not_images(spec: FrameSpec) -> str | None:
    """Why frames are not images that a network can take; None if they are."""
    if len(spec.space) != 2:
        return f"it needs images, got space {spec.space}"
    if len(spec.channels) not in (1, 3):
        return f"it needs 1 or 3 channels, got {len(spec.channels)}"
    return unbounded(spec)


class FVD(Metric):
    """Fréchet video distance; lower is better.

    A clip is a window's context followed by its target or forecast. Run r takes sample r of each
    window; the score is the mean over up to 5 runs, with its 95 % interval over runs. Clips are
    rounded to 8 bits. The distance is between Gaussians with the mean and unbiased covariance of
    the features. It falls as the number of clips grows, so compare only equal numbers of clips.

    The I3D network is a TorchScript file: code, which scoring runs. It is called on clips
    (clip, 3, time, y, x) in 0 … 255 with `rescale=True, resize=True, return_features=True`.

    Reference: Unterthiner et al. (2018), https://arxiv.org/abs/1812.01717; runs as in Franceschi
    et al. (2020), https://arxiv.org/abs/2002.09219.

    Args:
        network: the network that gives the features of clips.
        spec: shape, channels and range of the frames.
        located: the file of the network.
        device: device that the network runs on.
    """

    version, higher_is_better, unit = "1", False, "1"
    whole_frames = True
    reductions = ("mean",)
    clip_bytes: ClassVar[int] = 2**28  # of resized clips in memory at once

    def __init__(
        self, network: torch.nn.Module, spec: FrameSpec, located: Located, device: str = "cpu"
    ) -> None:
        self.network, self.spec, self.located, self.device = network, spec, located, device

    @classmethod
    def of(cls, spec: FrameSpec, settings: MetricSettings = DEFAULTS) -> Self:
        located = obtain(I3D, settings.fvd_weights)
        return cls(load_script(located, settings.device), spec, located, settings.device)

    @classmethod
    def why_not_applicable(
        cls, spec: FrameSpec, samples: int, settings: MetricSettings = DEFAULTS
    ) -> str | None:
        return (
            why_not_images(spec)
            or super().why_not_applicable(spec, samples, settings)
            or why_missing(I3D, settings.fvd_weights, allow_download=False)
        )

    def sums(self, forecast: Forecast, target: Frames, *, context: Frames | None = None) -> Sums:
        check_matching(forecast, target)
        require_whole(self.why_not_scorable(target))
        if context is None or context.values.shape[2:] != target.values.shape[2:]:
            raise InputError(
                "FVD scores whole videos: pass the frames before the target as `context`."
            )
        require_whole(self.why_not_scorable(context))

        def features(future: Tensor) -> Tensor:
            return self.features(torch.cat([context.values, future], dim=1))

        truth = features(target.values)
        runs = torch.stack([features(sample) for sample in forecast.samples[:RUNS]])
        count = torch.tensor(float(len(truth)), dtype=torch.float64)
        return {
            "clips": count,
            "frames": count * (len(context) + len(target)),
            "truth.sum": truth.sum(dim=0),
            "truth.outer": truth.transpose(0, 1) @ truth,
            "runs.sum": runs.sum(dim=1),
            "runs.outer": runs.transpose(1, 2) @ runs,
            # A distance of whole videos has no value at single lead times.
            "per_lead_time": torch.full((len(target),), torch.nan, dtype=torch.float64),
        }

    @torch.no_grad()
    def features(
        self, clips: Float[Tensor, "clip time channel y x"]
    ) -> Float[Tensor, "clip feature"]:
        """Features, in float64, of clips in the data's range."""
        low, _ = self.spec.value_range or (0.0, 1.0)
        scaled = 255 * (clips - low) / extent_of(self.spec)
        # Rounded in floating point, because 8 bits would hide a NaN.
        images = scaled.round().clamp(0, 255).movedim(2, 1)
        images = images.expand(-1, 3, -1, -1, -1)
        size = max(1, self.clip_bytes // (4 * 3 * clips.shape[1] * RESIZED**2))
        return torch.cat([self.seen(part) for part in images.split(size)])

    def seen(self, clips: Float[Tensor, "clip 3 time y x"]) -> Float[Tensor, "clip feature"]:
        """Features of clips in 0 … 255.

        Errors:
            InputError: the network cannot take such clips, or does not return features.
        """
        try:
            found = self.network(
                clips.to(self.device), rescale=True, resize=True, return_features=True
            )
        except RuntimeError as error:
            lines = str(error).strip().splitlines()
            raise InputError(
                f"The network in {self.located.path} cannot take clips of shape "
                f"{tuple(clips.shape)}: {lines[-1] if lines else error}"
            ) from error
        if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != len(clips):
            raise InputError(
                f"The network in {self.located.path} should return features (clip, feature)."
            )
        return found.flatten(1).cpu().double()

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        runs = torch.tensor(self.run_values(sums), dtype=torch.float64)
        half_width = float("nan")
        if len(runs) > 1:
            half_width = NORMAL_95 * float(runs.std()) / len(runs) ** 0.5
        return {"mean": Score(sums["per_lead_time"], float(runs.mean()), half_width)}

    def run_values(self, sums: Mapping[str, Tensor]) -> list[float]:
        """The distance in each run."""
        count = sums["clips"]
        truth = gaussian_of(count, sums["truth.sum"], sums["truth.outer"])
        return [
            float(frechet_distance(*gaussian_of(count, total, outer), *truth))
            for total, outer in zip(sums["runs.sum"], sums["runs.outer"], strict=True)
        ]

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        return {"runs": self.run_values(sums), "clips": int(sums["clips"])}

    def protocol(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        return {
            "file": self.located.path.name,
            "sha256": self.located.sha256,
            "resolution": list(self.spec.space),
            "frames": round(float(sums["frames"] / sums["clips"])),
            "runs": len(sums["runs.sum"]),
        }


def load_script(located: Located, device: str) -> torch.nn.Module:
    """Load a TorchScript file, which is code, as a module.

    Errors:
        CorruptionError: it is not a TorchScript file.
    """
    try:
        with warnings.catch_warnings():  # TorchScript is deprecated, but the published file uses it
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(str(located.path), map_location=device)
    except (RuntimeError, ValueError) as error:
        raise CorruptionError(f"{located.path} is not a TorchScript file.") from error
    return network.eval()


def gaussian_of(
    count: Tensor, total: Float[Tensor, " feature"], outer: Float[Tensor, "feature feature"]
) -> tuple[Float[Tensor, " feature"], Float[Tensor, "feature feature"]]:
    """Mean and unbiased covariance from sums of vectors and of their outer products."""
    mean = total / count
    return mean, (outer - count * torch.outer(mean, mean)) / (count - 1)


def frechet_distance(
    mean: Float[Tensor, " feature"],
    covariance: Float[Tensor, "feature feature"],
    other_mean: Float[Tensor, " feature"],
    other_covariance: Float[Tensor, "feature feature"],
) -> Float[Tensor, ""]:
    r"""Squared Fréchet distance between two Gaussians; NaN if a mean or covariance holds one.

    $$|m_1 - m_2|^2 + \mathrm{tr}(S_1 + S_2) - 2\,\mathrm{tr}(S_1^{1/2} S_2 S_1^{1/2})^{1/2}$$

    The last trace is the sum of the singular values of $S_2^{1/2} S_1^{1/2}$. This needs no root
    of an asymmetric matrix, gives no complex numbers, and works for singular covariances, such as
    those from fewer clips than features.

    Reference: Dowson and Landau (1982), https://doi.org/10.1016/0047-259X(82)90077-X.
    """
    if not all(bool(x.isfinite().all()) for x in (mean, covariance, other_mean, other_covariance)):
        return torch.full((), torch.nan, dtype=mean.dtype)
    product = root_of(other_covariance) @ root_of(covariance)
    overlap = torch.linalg.svdvals(product).sum()
    squared = (mean - other_mean).square().sum()
    traces = covariance.diagonal().sum() + other_covariance.diagonal().sum()
    return (squared + traces - 2 * overlap).clamp_min(0)  # rounding must not make it negative


def root_of(covariance: Float[Tensor, "feature feature"]) -> Float[Tensor, "feature feature"]:
    """Symmetric root of a covariance; eigenvalues within rounding of zero count as zero."""
    values, vectors = torch.linalg.eigh(0.5 * (covariance + covariance.transpose(0, 1)))
    noise = len(values) * torch.finfo(values.dtype).eps * values.abs().max()
    roots = torch.where(values > noise, values, 0.0).sqrt()
    return (vectors * roots) @ vectors.transpose(0, 1)
