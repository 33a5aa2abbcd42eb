"""Unknown values: whatever lies under a mask, losses, gradients and forecasts are the same."""

from dataclasses import replace

import pytest
import torch
from helpers.seeds import seeded

from statecast.frames import Batch, FrameSpec
from statecast.models import MODELS

SPEC = FrameSpec(channels=("u", "v"), space=(4, 5), context=4, horizon=3)
OPTIONS = {
    "srvp": {"architecture": "mlp", "width": 8, "code_size": 6, "latent_size": 4, "noise_size": 3,
             "inference_hidden": 8, "content_size": 8, "transition_hidden": 9},
    "separable": {"architecture": "mlp", "encoder_width": 8, "decoder_width": 8, "content_size": 5,
                  "latent_size": 4, "dynamics_hidden": 9},
    "persistence": {}, "climatology": {}, "linear": {},
}  # fmt: skip


def batch(garbage=torch.nan):
    """Three windows with an island, clouds, and what is asked for in their place."""
    values = 280 + 5 * torch.rand(3, SPEC.length, 2, 4, 5, generator=seeded(3))
    mask = torch.rand(values.shape, generator=seeded(4)) > 0.2
    mask[:, :, :, 1, 2] = False
    made = Batch.of(values.masked_fill(~mask, torch.nan), SPEC.context, mask=mask)
    # Garbage would be refused at the door, so it comes in behind it.
    for frames in (made.context, made.target):
        object.__setattr__(frames, "values", frames.values.masked_fill(~frames.mask, garbage))
    return made


def made(name):
    model = MODELS[name](SPEC, **OPTIONS[name], generator=seeded(5))
    model.fit_statistics([batch()])
    return model


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("garbage", [0.0, 1e6, torch.inf])
def test_what_lies_under_a_mask_changes_nothing(name, garbage):
    clean, dirty = made(name), made(name)
    dirty.fit_statistics([batch(garbage)])
    for key, value in clean.state_dict().items():
        assert torch.equal(value, dirty.state_dict()[key]), key
        assert torch.isfinite(value).all(), key
    losses = []
    for model, given in ((clean, batch()), (dirty, batch(garbage))):
        terms = model.train().loss(given, generator=seeded(3))
        losses.append({key: term.detach() for key, term in terms.items()})
        if list(model.parameters()):
            terms["total"].backward()
    assert all(torch.isfinite(term) for term in losses[0].values())
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)
    for one, other in zip(clean.parameters(), dirty.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    with torch.no_grad():  # `forecast` would refuse the garbage
        forecasts = [
            model.eval().predict(
                given.context, given.target.times, samples=2, substeps=None, solver=None,
                content_from=None, generator=seeded(3),
            )
            for model, given in ((clean, batch()), (dirty, batch(garbage)))
        ]  # fmt: skip
    assert torch.isfinite(forecasts[0]).all()
    assert torch.equal(*forecasts)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_mask_of_known_values_equals_none(name):
    values = 280 + 5 * torch.rand(3, SPEC.length, 2, 4, 5, generator=seeded(3))
    bare = Batch.of(values, SPEC.context)
    masked = Batch.of(values, SPEC.context, mask=torch.ones_like(values, dtype=torch.bool))
    results = []
    for given in (bare, masked):
        model = MODELS[name](SPEC, **OPTIONS[name], generator=seeded(5))
        model.fit_statistics([given])
        loss = model.loss(given, generator=seeded(3))["total"].detach()
        samples = model.forecast(given.context, 3, generator=seeded(3)).samples
        results.append((loss, samples, model.normaliser.location))
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=0)


def test_known_values_do_matter():
    model, given = made("srvp"), batch()
    values = given.target.values + 1.0
    moved = Batch(context=given.context, target=replace(given.target, values=values))
    one, other = (
        float(model.loss(b, generator=seeded(3))["total"].detach()) for b in (given, moved)
    )
    assert one != other


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
