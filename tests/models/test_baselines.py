"""The trivial forecasts, on sequences whose future they know."""

import pytest
import torch

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models import MODELS
from statecast.models.baselines import Climatology, Linear, Persistence

SPEC = FrameSpec(channels=("u",), space=(2, 3), context=3, horizon=2)


def ramp(length=5):
    return torch.arange(float(length)).view(1, -1, 1, 1, 1).expand(2, -1, 1, 2, 3)


def test_persistence_repeats_the_last_frame():
    forecast = Persistence(SPEC).forecast(ramp(3), 2)
    assert torch.equal(forecast.samples, torch.full((1, 2, 2, 1, 2, 3), 2.0))


def test_linear_extrapolation_of_a_ramp_is_exact_at_any_time():
    forecast = Linear(SPEC).forecast(ramp(3), times=[0.5, 1.0, 7.0])
    assert forecast.samples[0, 0, :, 0, 0, 0].tolist() == [2.5, 3.0, 9.0]


def test_linear_extrapolation_stays_in_the_range_of_the_data():
    spec = FrameSpec(channels=("u",), space=(2, 3), context=3, horizon=2, value_range=(0.0, 4.0))
    assert Linear(spec).forecast(ramp(3), 9).samples.max() == 4


def test_climatology_is_the_mean_of_training_frames():
    model = Climatology(SPEC)
    with pytest.raises(InputError, match="not fitted"):
        model.forecast(ramp(3), 2)
    model.fit_statistics([Batch.of(ramp(), 3), Batch.of(ramp() + 10, 3)])
    assert torch.equal(model.forecast(ramp(3), 2).samples, torch.full((1, 2, 2, 1, 2, 3), 7.0))
    again = Climatology(SPEC)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.mean, model.mean)


def test_baselines_have_no_weights_and_no_options():
    for name in ("persistence", "climatology", "linear"):
        assert not list(MODELS[name](SPEC).parameters())
    with pytest.raises(InputError, match="no Euler steps"):
        Persistence(SPEC).forecast(ramp(3), 2, substeps=2)
    with pytest.raises(InputError, match="no content"):
        Persistence(SPEC).forecast(ramp(3), 2, content_from=ramp(3))
