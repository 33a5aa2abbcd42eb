"""Changes from a reference: exact at first, weighed by validation, as wide as errors are."""

import pytest
import torch
from helpers.small_models import SMALL

from statecast.data.base import seeded_generator
from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models import MODELS
from statecast.models.build import build_model
from statecast.models.change import REFERENCES
from statecast.models.error_patterns import MOST, ErrorPatterns

SPEC = FrameSpec(channels=("u",), space=(16, 16), context=3, horizon=4, value_range=None)
TRIED = ("srvp", "separable", "svg", "convlstm")


def batch(count=12, seed=0, mask=None):
    walk = torch.randn(count, SPEC.length, 1, 16, 16, generator=seeded_generator(seed, 1))
    values = 5 + walk.cumsum(dim=1)
    if mask is not None:
        mask = mask.expand_as(values)
        values = values.masked_fill(~mask, torch.nan)
    return Batch.of(values, SPEC.context, channels=SPEC.channels, mask=mask)


def fitted(name="srvp", reference="damped_persistence", *, spread=True, batches=None):
    model = build_model(
        name, SPEC, SMALL[name], reference=reference, spread=spread, generator=seeded_generator(4)
    )
    model.fit_statistics(batches or [batch(), batch(seed=1)])
    return model


def calibrated(model, found, step=1, samples=4):
    model.eval()
    with torch.no_grad():
        model.fit_on_validation([(found, seeded_generator(3))], samples=samples, step=step)
    return model


@pytest.mark.parametrize("name", TRIED)
@pytest.mark.parametrize("reference", REFERENCES)
def test_before_training_any_model_forecasts_its_reference_exactly(name, reference):
    model = fitted(name, reference, spread=False)
    found = calibrated(model, batch(seed=2), step=0)
    alone = REFERENCES[reference](SPEC)
    alone.fit_statistics([batch(), batch(seed=1)])
    times = [0.5, 1.0, 3.0, 9.0] if name in ("srvp", "separable") else [1.0, 3.0, 9.0]
    context = batch(seed=5).context
    ours = found.forecast(context, times=times, samples=2, generator=seeded_generator(1))
    expected = alone.forecast(context, times=times, samples=2)
    assert torch.equal(ours.samples, expected.samples)


@pytest.mark.parametrize("reference", REFERENCES)
def test_training_in_bf16_learns_what_the_reference_of_forecasts_lacks(reference):
    model, seen = fitted("convlstm", reference), batch(seed=2)
    whole = model.changes(seen)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.changes(seen)
    assert torch.equal(half.target.values, whole.target.values)
    assert torch.equal(half.context.values, whole.context.values)


@pytest.mark.parametrize("name", TRIED)
def test_the_loss_of_any_model_reaches_its_weights_and_those_alone(name):
    model = fitted(name)
    for update in model.updates:
        model.zero_grad()
        terms = model.update_loss(update.name, batch(), generator=seeded_generator(1))
        terms["total"].backward()
        named = dict(model.named_parameters())
        reached = {n for n, w in named.items() if w.grad is not None and w.grad.any()}
        assert reached
        assert any(n.startswith(update.parameters) for n in reached)
        assert all(n.startswith("model.") for n in named)


def test_the_model_sees_changes_and_the_last_observed_frame():
    model = fitted(reference="persistence")
    given = batch()
    seen = model.changes(given)
    last = given.context.values[:, -1:]
    assert torch.equal(seen.context.values[:, :, :1], given.context.values - last)
    assert torch.equal(seen.target.values[:, :, :1], given.target.values - last)
    assert torch.equal(seen.values[:, :, 1:], last.expand_as(given.values))
    assert model.model.spec.channels == ("u", "u_observed")
    changes = torch.cat([model.changes(b).values[:, :, 0] for b in (batch(), batch(seed=1))])
    normalised = model.model.normaliser.normalise(seen.values)
    location, scale = model.model.normaliser.location, model.model.normaliser.scale
    torch.testing.assert_close(location[0], changes.mean())
    torch.testing.assert_close(scale[0], changes.std(unbiased=False))
    assert normalised[:, :, 1].std() < 0.5  # an input more than a target


def test_unknown_values_stay_unknown_and_change_nothing():
    mask = torch.ones(1, 1, 1, 16, 16, dtype=torch.bool)
    mask[..., :5] = False
    model = fitted(batches=[batch(mask=mask), batch(seed=1, mask=mask)])
    seen = model.changes(batch(mask=mask))
    assert seen.mask is not None
    assert torch.equal(seen.values.isnan(), ~seen.mask)
    assert torch.isfinite(model.loss(batch(mask=mask), generator=seeded_generator(1))["total"])
    found = calibrated(model, batch(seed=2, mask=mask))
    assert torch.isfinite(found.noise_std).all()
    whole = fitted()
    partly = whole.changes(batch(mask=mask)).values[..., 5:]
    torch.testing.assert_close(partly, whole.changes(batch()).values[..., 5:])


class Oracle:
    """Changes that are a share of the true ones, and samples that scatter about them."""

    def __init__(self, truth, share, scatter):
        self.truth, self.share, self.scatter = truth, share, scatter

    def __call__(self, context, times, generator, *, samples, **_):
        noise = torch.randn(samples, *self.truth.shape, generator=seeded_generator(8))
        return self.share * self.truth + self.scatter * noise


def oracle(model, given, share, scatter=0.0):
    truth = given.target.values - model.usual(given.context, given.target.times)
    model.model_changes = Oracle(truth, share, scatter)
    return model


@pytest.mark.parametrize(
    ("share", "weight"), [(1.0, 1.0), (2.0, 0.5), (0.5, 1.0), (-1.0, 0.0), (0.0, 0.0)]
)
def test_validation_weighs_changes_by_what_they_are_worth(share, weight):
    given = batch(count=40, seed=6)
    model = calibrated(oracle(fitted(), given, share), given)
    torch.testing.assert_close(model.weight, torch.full_like(model.weight, weight))


def test_samples_that_scatter_are_not_mistaken_for_poor_changes():
    given = batch(count=60, seed=6)
    few = calibrated(oracle(fitted(), given, 1.0, scatter=2.0), given, samples=2)
    torch.testing.assert_close(few.weight, torch.ones_like(few.weight), atol=0.1, rtol=0)


@pytest.mark.parametrize(("share", "scatter"), [(0.0, 0.0), (0.6, 0.0), (0.6, 0.2)])
def test_samples_are_as_far_apart_as_forecasts_are_off(share, scatter):
    given = batch(count=30, seed=6)
    model = calibrated(oracle(fitted(), given, share, scatter), given, samples=8)
    forecast = model.forecast(given.context, samples=60, generator=seeded_generator(2))
    error = (forecast.mean - given.target.values).square().mean(dim=(0, 2, 3, 4)).sqrt()
    spread = forecast.samples.var(dim=0).mean(dim=(0, 2, 3, 4)).sqrt()
    torch.testing.assert_close(spread, error * (61 / 60) ** 0.5, rtol=0.08, atol=0)


def test_errors_differ_by_point_and_lead():
    given = batch(count=80, seed=6)
    loud = given.values.clone()
    loud[:, SPEC.context :, :, :8] += 3 * torch.randn(
        80, 4, 1, 8, 16, generator=seeded_generator(9)
    )
    other = Batch.of(loud, SPEC.context, channels=SPEC.channels)
    model = calibrated(fitted(reference="persistence"), other, step=0)
    std = model.noise_std[:, 0]
    assert (std[:, :8].mean(dim=(1, 2)) > 1.5 * std[:, 8:].mean(dim=(1, 2))).all()
    assert (std[:, 8:].mean(dim=(1, 2)).diff() > 0).all()


@pytest.mark.parametrize("together", [True, False])
def test_samples_err_together_where_forecasts_did(together):
    given = batch(count=60, seed=6)
    shape = (60, 4, 1, 1, 1) if together else (60, 4, 1, 16, 16)
    jumps = torch.randn(*shape, generator=seeded_generator(9)).cumsum(dim=1)
    values = given.values.clone()
    values[:, SPEC.context :] = values[:, SPEC.context - 1 : SPEC.context] + jumps
    other = Batch.of(values, SPEC.context, channels=SPEC.channels)
    model = calibrated(fitted(reference="persistence"), other, step=0)
    forecast = model.forecast(given.context, samples=200, generator=seeded_generator(2))
    error = forecast.samples - forecast.mean
    points = torch.corrcoef(error[:, 0, 3].flatten(1).T)
    leads = torch.corrcoef(error[:, 0, :, 0, 5, 5].T)
    if together:
        assert points.min() > 0.999
    else:
        assert points.fill_diagonal_(0).abs().mean() < 0.2  # 32 patterns of white errors
    # Random walks: corr(x₁, x₄) = √(1/4), and corr(x₃, x₄) = √(3/4).
    assert leads[0, 3] == pytest.approx(0.5, abs=0.3)
    assert leads[2, 3] == pytest.approx(0.87, abs=0.12)


def test_patterns_have_the_covariance_of_the_errors():
    shape, weight = (2, 1, 3), torch.tensor([[0.5], [0.0]])
    error, change = torch.randn(2, 40, *shape, generator=seeded_generator(0)).unbind()
    known = torch.rand(40, *shape, generator=seeded_generator(1)) < 0.9

    def patterns(*parts):
        made = ErrorPatterns(shape)
        for part in parts:
            made.add(error[part], change[part], known[part])
        return made.remaining(weight)

    few = slice(0, MOST)
    left = (error - torch.tensor([0.5, 0.0]).view(2, 1, 1) * change) * known
    expected = left[few].flatten(1).T @ left[few].flatten(1)
    size = expected.diagonal().sqrt()
    found = patterns(few).flatten(1)
    torch.testing.assert_close(found.T @ found, expected / size / size[:, None])
    every = patterns(slice(0, 40))
    torch.testing.assert_close(every.square().sum(dim=0), torch.ones(shape))
    torch.testing.assert_close(every, patterns(slice(0, 7), slice(7, 33), slice(33, 40)))


def test_reference_alone_is_what_the_model_was_before_training():
    given = batch(seed=6)
    before = calibrated(fitted(), given, step=0)
    trained = calibrated(oracle(fitted(), given, 0.7), given)
    del trained.model_changes  # it must not be asked
    alone = trained.reference_alone()
    one, other = (
        m.forecast(given.context, samples=3, generator=seeded_generator(1)).samples
        for m in (before, alone)
    )
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert (trained.weight > 0).all()


def test_more_samples_and_leads_do_not_change_the_first():
    model = calibrated(fitted(), batch(seed=6))
    model.weight.fill_(0.5)
    context = batch(seed=7).context
    few = model.forecast(context, 2, samples=2, generator=seeded_generator(1)).samples
    many = model.forecast(context, 6, samples=5, generator=seeded_generator(1)).samples
    torch.testing.assert_close(many[:2, :, :2], few, atol=1e-6, rtol=1e-5)
    between = model.forecast(
        context, times=[0.5, 1.0, 1.5, 2.0], samples=2, generator=seeded_generator(1)
    ).samples
    torch.testing.assert_close(between[:, :, 1::2], few, atol=1e-5, rtol=1e-5)


def test_frames_stay_in_the_range_of_the_data():
    spec = FrameSpec(channels=("u",), space=(16, 16), context=3, horizon=4, value_range=(0.0, 1.0))
    model = build_model("srvp", spec, SMALL["srvp"], reference="persistence")
    frames = Batch.of(torch.rand(6, 7, 1, 16, 16), 3, channels=("u",))
    model.fit_statistics([frames])
    calibrated(model, frames)
    samples = model.forecast(frames.context, samples=9, generator=seeded_generator(1)).samples
    assert samples.min() == 0
    assert samples.max() == 1
    assert model.model.spec.value_range is None


def test_a_baseline_takes_no_reference_and_auto_is_for_recipes():
    with pytest.raises(InputError, match="baseline"):
        build_model("dmd", SPEC, {}, reference="persistence")
    with pytest.raises(InputError, match="got auto"):
        build_model("srvp", SPEC, SMALL["srvp"], reference="auto")
    assert type(build_model("srvp", SPEC, SMALL["srvp"])) is MODELS["srvp"]


def test_an_update_rests_where_the_model_lets_it_rest():
    model = build_model(
        "mcnet", SPEC, {"width": 4, "adversary": True, "adversary_gates": True},
        reference="persistence", generator=seeded_generator(4),
    )  # fmt: skip
    model.model.gates.copy_(torch.tensor([False, True]))
    assert [model.takes_update(update.name) for update in model.updates] == [False, True]
