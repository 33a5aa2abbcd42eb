"""Spectra of fields: whether a forecast has the observed power at each scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics.base import DEFAULTS, MetricSettings, Sums, check_matching, count_in
from statecast.metrics.masking import require_whole
from statecast.metrics.per_sample import SampleMetric, with_mean

SMALLEST = 8  # points along a side that a spectrum needs
LARGEST_RATIO = 100.0  # dB, if a spectrum is zero


class Spectrum(SampleMetric):
    r"""Error of the radially averaged power spectrum, in decibels.

    $$\overline{\left|10 \log_{10} \frac{P_x(k)}{P_y(k)}\right|}$$

    averaged over bins of wavenumber k and over channels, between each frame of a sample and the
    observed frame. It shows blur and noise wherever they lie. Each ratio is limited to 100 dB.
    See `power_spectrum` for the spectra. `details` holds the mean spectra of samples and truth in
    each channel.

    Spectra of single frames are noisy: two independent white fields of 64×64 points score about
    1.2 dB.

    Args:
        space: number of points along each side.
    """

    version, higher_is_better, unit = "1", False, "dB"
    whole_frames = True
    perfect = 0.0

    def __init__(self, space: tuple[int, ...]) -> None:
        self.space = space

    @classmethod
    def of(cls, spec: FrameSpec, settings: MetricSettings = DEFAULTS) -> Self:
        return cls(spec.space)

    @classmethod
    def why_not_applicable(
        cls, spec: FrameSpec, samples: int, settings: MetricSettings = DEFAULTS
    ) -> str | None:
        if len(spec.space) != 2 or min(spec.space) < SMALLEST:
            return (
                f"it needs a grid of at least {SMALLEST}×{SMALLEST} points, got space {spec.space}"
            )
        return super().why_not_applicable(spec, samples, settings)

    def prepare(self, target: Tensor, known: Tensor | None = None) -> Tensor:
        return power_spectrum(target)

    def frame_scores(
        self, frames: Tensor, target: Tensor, prepared: Any, known: Tensor | None = None
    ) -> Tensor:
        return spectral_error(power_spectrum(frames), prepared)

    def sums(self, forecast: Forecast, target: Frames, *, context: Frames | None = None) -> Sums:
        check_matching(forecast, target)
        require_whole(self.why_not_scorable(target))
        truth = power_spectrum(target.values)
        spectra = [power_spectrum(sample) for sample in with_mean(forecast)]
        scores = torch.stack([spectral_error(spectrum, truth) for spectrum in spectra])
        members = torch.stack(spectra[: len(forecast.samples)]).mean(dim=0)
        return {
            **self.combined(scores, None),
            "forecast": members.mean(dim=1).double().sum(dim=0),
            "target": truth.mean(dim=1).double().sum(dim=0),
        }

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        count = count_in(sums)
        means = {name: (sums[name] / count).tolist() for name in ("forecast", "target")}
        return {**super().details(sums), "wavenumber": wavenumbers(self.space), **means}


def wavenumbers(space: Sequence[int]) -> list[float]:
    """Centres of the bins of wavenumber of a grid, in cycles per point."""
    side = min(space)
    return [index / side for index in range(1, side // 2 + 1)]


def periodogram(fields: Float[Tensor, "*many y x"]) -> Float[Tensor, "*many y x"]:
    r"""Power of fields, without their mean, at every wave vector, under a Hann window.

    $$\frac{|\mathcal F[w (x - \bar x)]|^2}{n\, \overline{w^2}}, \qquad
    w = \sin^2(\pi (i + \tfrac12) / h)\, \sin^2(\pi (j + \tfrac12) / l)$$

    on n = h·l points. The window keeps the edges of an aperiodic field from leaking into small
    scales. For white noise, the power at every wave vector is its variance.
    """
    window = hann(fields.shape[-2], fields)[:, None] * hann(fields.shape[-1], fields)
    anomalies = fields - fields.mean(dim=(-2, -1), keepdim=True)
    transformed = torch.fft.fft2(anomalies * window)
    return transformed.abs().square() / window.square().sum()


def hann(size: int, like: Tensor) -> Tensor:
    """Hann window of this size."""
    position = torch.arange(size, dtype=torch.float64) + 0.5
    return torch.sin(torch.pi * position / size).square().to(like)


def power_spectrum(fields: Float[Tensor, "*many y x"]) -> Float[Tensor, "*many bin"]:
    """Mean power of fields in rings of wavenumber, one around each of `wavenumbers`.

    Wavenumbers are in cycles per point along both sides, so a grid need not be square. The mean
    is excluded, and so are the corners beyond 0.5 cycles per point.
    """
    height, width = fields.shape[-2:]
    across = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    along = torch.fft.fftfreq(width, dtype=torch.float64)
    side = min(height, width)
    ring = (torch.hypot(across, along) * side).round().long().flatten().to(fields.device)
    last = side // 2
    power = periodogram(fields).flatten(-2)
    total = power.new_zeros(*power.shape[:-1], max(int(ring.max()), last) + 1)
    total.index_add_(-1, ring, power)
    return total[..., 1 : last + 1] / torch.bincount(ring)[1 : last + 1]


def spectral_error(
    spectrum: Float[Tensor, "*many channel bin"], other: Float[Tensor, "*many channel bin"]
) -> Float[Tensor, "*many"]:
    """Mean absolute ratio of spectra in decibels; 0 for equal spectra, even if both are zero."""
    ratio = 10 * (spectrum.log10() - other.log10())
    ratio = torch.where(spectrum == other, 0.0, ratio).abs().clamp_max(LARGEST_RATIO)
    return ratio.flatten(-2).mean(dim=-1)
