"""Unknown values: losses and baselines are means over what is known."""

import torch
from helpers.seeds import seeded
from helpers.small_models import build_points

from statecast.frames import Batch, FrameSpec

SPEC = FrameSpec(channels=("u", "v"), space=(4, 5), context=4, horizon=3)


def batch():
    """Three windows with an island and clouds."""
    values = 280 + 5 * torch.rand(3, SPEC.length, 2, 4, 5, generator=seeded(3))
    mask = torch.rand(values.shape, generator=seeded(4)) > 0.2
    mask[:, :, :, 1, 2] = False
    return Batch.of(values.masked_fill(~mask, torch.nan), SPEC.context, mask=mask)


def made(name):
    model = build_points(name, SPEC, seed=5)
    model.fit_statistics([batch()])
    return model


def test_separable_counts_known_values_in_its_means():
    # An exact twin: the mean over the known points, taken by hand.
    model, given = made("separable"), batch()
    frames = model.inputs(given)
    terms = model.loss_terms(frames, 1, given.mask)
    content, latent = model.content_of(frames[:, :4]), model.dynamics_of(frames[:, :4])
    decoded = model.decode(content, model.path_from(latent, SPEC.length))
    expected = (decoded - frames).square()[given.mask].mean()
    torch.testing.assert_close(terms["forecast"], expected, rtol=1e-5, atol=0)
    decoded = model.decode(content, model.dynamics_of(frames[:, 1:5])[:, None])[:, 0]
    expected = (decoded - frames[:, 1]).square()[given.mask[:, 1]].mean()
    torch.testing.assert_close(terms["alignment"], expected, rtol=1e-5, atol=0)


def test_persistence_takes_the_last_known_value_of_each_point():
    given = batch()
    forecast = made("persistence").forecast(given.context, 1).samples[0, :, 0]
    values, mask = given.context.values, given.context.mask
    for index in torch.cartesian_prod(*map(torch.arange, forecast.shape)):
        b, c, y, x = (int(i) for i in index)
        known = values[b, :, c, y, x][mask[b, :, c, y, x]]
        if len(known):
            assert forecast[b, c, y, x] == known[-1]
        else:
            channel = values[b, :, c][mask[b, :, c]]
            torch.testing.assert_close(forecast[b, c, y, x], channel.mean())


def test_a_climatology_is_the_mean_of_what_is_known():
    given = batch()
    found = made("climatology").mean[0, 0, 0]
    known = given.values[:, :, 0, 0, 0][given.mask[:, :, 0, 0, 0]]
    torch.testing.assert_close(found, known.mean())
