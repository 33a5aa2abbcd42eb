"""Spectra, against Parseval's theorem and fields whose spectrum is known."""

import math

import pytest
import torch

from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics.spectral import (
    Spectrum,
    hann,
    periodogram,
    power_spectrum,
    wavenumbers,
)

TIMES = torch.tensor([1.0])


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def scored(samples, target):
    spec = FrameSpec(channels=("u",), space=tuple(target.shape[-2:]), context=1, horizon=1)
    metric = Spectrum.of(spec)
    sums = metric.sums(
        Forecast(samples=samples, times=TIMES, channels=("u",)),
        Frames(values=target, times=TIMES, channels=("u",)),
    )
    return metric.scores(sums), metric.details(sums)


@pytest.mark.parametrize(("space", "fits"), [((64,), False), ((4, 64), False), ((8, 9), True)])
def test_grids_of_eight_points_and_more_have_a_spectrum(space, fits):
    spec = FrameSpec(channels=("u",), space=space, context=1, horizon=1)
    assert (Spectrum.why_not_applicable(spec, 1) is None) == fits


@pytest.mark.parametrize("space", [(16, 16), (24, 17), (9, 40)])
def test_power_sums_to_the_energy_of_the_windowed_field(space):
    field = 3 + noise(*space)
    window = hann(space[0], field)[:, None] * hann(space[1], field)
    energy = ((field - field.mean()) * window).square().mean() / window.square().mean()
    torch.testing.assert_close(periodogram(field).mean(), energy)


def test_white_noise_is_flat_and_has_its_variance():
    spectrum = power_spectrum(2 * noise(400, 32, 32)).mean(dim=0)
    assert len(spectrum) == 16
    torch.testing.assert_close(spectrum[1:], torch.full((15,), 4.0).double(), rtol=0.05, atol=0)


@pytest.mark.parametrize("space", [(32, 32), (48, 20)])
@pytest.mark.parametrize("along", [0, 1])
def test_a_wave_peaks_at_its_wavenumber(space, along):
    side = min(space)
    for index in (3, 6, 9):
        position = torch.arange(space[along], dtype=torch.float64)
        wave = torch.sin(2 * math.pi * index / side * position + 0.3)
        field = (wave[:, None] if along == 0 else wave[None, :]).expand(space)
        spectrum = power_spectrum(field)
        assert wavenumbers(space)[int(spectrum.argmax())] == pytest.approx(index / side)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_scaling_is_an_offset_in_decibels(factor):
    target = noise(4, 1, 1, 20, 24).float()
    scores, details = scored((factor * (target - 1) + 7)[None], target)
    assert scores["mean"].value == pytest.approx(abs(20 * math.log10(factor)), rel=1e-4)
    ratio = torch.tensor(details["forecast"]) / torch.tensor(details["target"])
    torch.testing.assert_close(ratio, torch.full_like(ratio, factor**2), rtol=1e-4, atol=0)
    assert details["wavenumber"] == wavenumbers((20, 24))


def test_a_moved_pattern_scores_well_and_a_blurred_one_badly():
    field = noise(3, 1, 1, 32, 32).float()
    moved = torch.roll(field, (5, 9), dims=(-2, -1))
    blurred = sum(torch.roll(field, s, dims=-1) for s in (-1, 0, 1)) / 3
    good, bad = (scored(f[None], field)[0]["mean"].value for f in (moved, blurred))
    assert good < 2 < bad


def test_the_mean_of_samples_lacks_power_that_each_of_them_has():
    samples, target = noise(8, 5, 1, 1, 16, 16).float(), noise(5, 1, 1, 16, 16, seed=1).float()
    scores, _ = scored(samples, target)
    assert scores["ensemble_mean"].value > scores["mean"].value + 5


def test_what_is_empty_differs_by_at_most_100_decibels():
    target = noise(2, 1, 1, 16, 16).float()
    empty = torch.zeros_like(target)
    assert scored(empty[None], target)[0]["mean"].value == pytest.approx(100)
    assert scored(empty[None], empty)[0]["mean"].value == 0
