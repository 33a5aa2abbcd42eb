"""SRVP: its loss against a slow twin, its noise, its content."""

import pytest
import torch
from helpers.seeds import seeded
from helpers.small_srvp import SPEC, frames, small
from torch.distributions import Normal, kl_divergence

from statecast.errors import InputError
from statecast.frames import Batch
from statecast.nn.codecs.base import Encoding
from statecast.nn.random import standard_normal, uniform


def slow_loss(model, values, generator, mask=None):
    """Terms of the bound of one batch, frame by frame, with torch's distributions."""
    codes = [model.encoder(values[:, t]).code for t in range(values.shape[1])]
    n = model.inference_frames

    def normal(shape):
        return standard_normal((1, *shape), values, generator)[0]

    def split(raw):
        mean, std = raw.chunk(2, dim=-1)
        return Normal(mean, torch.nn.functional.softplus(std) + 1e-8)

    initial = split(model.initial(torch.cat(codes[:n], dim=-1)))
    latent = initial.loc + initial.scale * normal(initial.loc.shape)
    posteriors = [
        split(model.posterior(torch.cat([model.lstm(one[None])[0][:, -1] for one in past])))
        for t in range(1, len(codes))
        for past in [torch.stack(codes[: t + 1], dim=1)]  # of one video after the other
    ]
    shape = (len(values), len(posteriors), posteriors[0].loc.shape[-1])
    draws = normal(shape)
    seen = torch.arange(len(codes) - n, len(codes)).expand(len(values), n)
    if model.training:  # frames of each video, drawn from all of them
        seen = uniform((len(values), len(codes)), values, generator).argsort(dim=1)[:, :n]
    of_frames = [
        model.content_of_frame(torch.stack(codes, dim=1)[i, s]) for i, s in enumerate(seen)
    ]
    content = model.content_of_sum(torch.stack([frames.sum(dim=0) for frames in of_frames]))
    latents, divergence, residual = [latent], 0.0, 0.0
    for t, posterior in enumerate(posteriors):
        noise = posterior.loc + posterior.scale * draws[:, t]
        divergence += kl_divergence(posterior, split(model.prior(latent))).sum(dim=-1)
        for _ in range(model.substeps):
            change = model.transition.velocity(torch.cat([latent, noise], dim=-1)) / model.substeps
            residual += change.norm(dim=-1)
            latent = latent + change
        latents.append(latent)
    reconstruction = 0.0
    for t, y in enumerate(latents):
        mean = torch.sigmoid(model.decoder.layers(torch.cat([content, y], dim=-1)))
        density = Normal(mean, model.observation_std).log_prob(values[:, t].flatten(1))
        known = torch.ones_like(density, dtype=torch.bool) if mask is None else mask[:, t, 0]
        reconstruction -= torch.stack([row[k].sum() for row, k in zip(density, known, strict=True)])
    standard = Normal(torch.zeros_like(initial.loc), torch.ones_like(initial.scale))
    return {
        "reconstruction": reconstruction.mean(),
        "divergence_initial": kl_divergence(initial, standard).sum(dim=-1).mean(),
        "divergence_noise": divergence.mean(),
        "residual": residual.mean(),
    }


@pytest.mark.parametrize("substeps", [1, 3])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_loss_equals_a_slow_twin(substeps, training, masked):
    model = small(substeps=substeps, observation_std=0.4).train(training)
    values = frames(batch=5)
    mask = torch.rand(values.shape, generator=seeded(2)) > 0.3 if masked else None
    given = values if mask is None else values.masked_fill(~mask, torch.nan)
    batch = Batch.of(given, SPEC.context, mask=mask)
    found = model.loss(batch, generator=seeded(7))
    expected = slow_loss(model, model.inputs(batch), seeded(7), mask)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (3.0, 0.5, 7.0), (0.25, 2.0, 0.0)])
def test_the_total_weighs_each_term(weights):
    names = ("kl_initial_weight", "kl_noise_weight", "step_norm_weight")
    model = small(**dict(zip(names, weights, strict=True)))
    terms = model.loss(Batch.of(frames(), SPEC.context), generator=seeded(7))
    total, first, *rest = terms.values()
    assert list(terms) == [
        "total", "reconstruction", "divergence_initial", "divergence_noise", "residual"
    ]  # fmt: skip
    assert min(term.item() for term in rest) > 0.1
    expected = first + sum(w * term for w, term in zip(weights, rest, strict=True))
    torch.testing.assert_close(total, expected)


def test_training_skips_are_of_one_random_frame_of_the_same_video():
    model = small()
    model.skips = True
    number = 10 * torch.arange(6.0)[:, None] + torch.arange(7)
    codes = Encoding(torch.zeros(6, 7, 8), (number, -number))
    drawn = []
    for seed in range(30):
        one, other = model.training_content(codes, seeded(seed)).skips
        assert torch.equal(one, -other)
        assert torch.equal(one // 10, torch.arange(6.0))
        drawn.append(one % 10)
    found = torch.stack(drawn)
    assert sorted(found.unique().tolist()) == list(range(7))
    assert (found.std(dim=1) > 0).any()  # not one frame for all videos


def test_noise_of_a_frame_depends_on_no_later_frame():
    model = small().eval()
    values = frames()
    changed = values.clone()
    changed[:, 5:] = 1 - changed[:, 5:]
    one, other = (model.infer(model.encode(v).code, generator=seeded(7)) for v in (values, changed))
    assert torch.equal(one.posterior.mean[:, :4], other.posterior.mean[:, :4])
    assert not torch.equal(one.posterior.mean[:, 4:], other.posterior.mean[:, 4:])


def test_content_does_not_depend_on_the_order_of_frames():
    model = small().eval()
    values = frames(length=3)
    one, other = (model.content_of(v).code for v in (values, values.flip(1)))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "options", [{"transition": "gru"}, {"transition": "mlp"}, {"stochastic": False}]
)
def test_variants_train_and_forecast(options):
    model = small(**options)
    losses = model.loss(Batch.of(frames(), SPEC.context), generator=seeded(7))
    losses["total"].backward()
    assert all(p.grad is not None for p in model.parameters())
    assert (float(losses["divergence_noise"].detach()) == 0) == (options == {"stochastic": False})
    forecast = model.forecast(frames(length=4), 3, samples=2, generator=seeded(7))
    assert forecast.std.max() > 0  # y₁ is random in every variant


def test_without_noise_only_the_first_state_is_random():
    model = small(stochastic=False)
    state = model.observe(frames(length=4), generator=seeded(7))
    times = torch.arange(1.0, 4.0)
    one, other = (model.advance(state, times, generator=seeded(s)) for s in (1, 2))
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"substeps": 0}, "at least 1 step"),
        ({"times": [-9.0]}, "back to time -3"),
        ({"content_from": torch.rand(2, 4, 1, 9)}, "1 sequence or as many"),
        ({"content_from": torch.rand(3, 4, 1, 8)}, r"\(1, 9\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        small().forecast(frames(length=4), **arguments)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (torch.rand(3, 4), r"Those of the context are \(1, 4\)"),
    ],
)
def test_contexts_that_do_not_fit_are_refused(context, message):
    with pytest.raises(InputError, match=message):
        small().forecast(context)


def test_whole_frames_only_without_a_continuous_transition():
    model = small(transition="mlp")
    with pytest.raises(InputError, match="whole"):
        model.forecast(frames(length=4), times=[0.5])
    with pytest.raises(InputError, match="whole frames"):
        model.forecast(frames(length=4), 2, substeps=2)
    for solver in ("euler", "rk4"):
        with pytest.raises(InputError, match="whole frames"):
            model.forecast(frames(length=4), 2, solver=solver)


def test_content_of_one_sequence_serves_many():
    model, own, other = small(), frames(seed=1, length=4), frames(seed=2, length=4)
    one, many = (
        model.forecast(own, 3, content_from=given, generator=seeded(7)).samples
        for given in (other[:1], other)
    )
    torch.testing.assert_close(one[:, 0], many[:, 0])
