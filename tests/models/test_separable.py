"""Separable: its terms against a slow twin, its clock, its ablation."""

import pytest
import torch

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models import Separable

SPEC = FrameSpec(channels=("amplitude",), space=(9,), context=3, horizon=4, value_range=(0.0, 1.0))


def small(seed=0, **options):
    defaults = {
        "architecture": "mlp", "encoder_width": 16, "decoder_width": 14, "content_size": 6,
        "latent_size": 6, "mixing": "product", "blocks": 2, "dynamics_hidden": 10,
    }  # fmt: skip
    return Separable(SPEC, **(defaults | options), generator=torch.Generator().manual_seed(seed))


def frames(batch=3, length=SPEC.length, seed=1):
    return torch.rand(batch, length, 1, 9, generator=torch.Generator().manual_seed(seed))


def slow_terms(model, values, window, start):
    """The four terms, frame by frame and video by video."""
    n, length = SPEC.context, values.shape[1]
    forecast, aligned, invariance, prior = [], [], [], []
    for video in values:
        content = model.content_encoder.layers(video[:n].flatten())
        latent = model.dynamics_encoder.layers(video[:n].flatten())
        prior.append(0.5 * latent.square().sum())
        later = model.content_encoder.layers(video[-n:].flatten())
        invariance.append((content - later).square().mean())
        other = model.dynamics_encoder.layers(video[window : window + n].flatten())
        decoded = torch.sigmoid(model.decoder.layers(content * other))
        aligned.append((decoded - video[window + start].flatten()).square().mean())
        for t in range(start, length):
            decoded = torch.sigmoid(model.decoder.layers(content * latent))
            forecast.append((decoded - video[t].flatten()).square().mean())
            for block in model.blocks:
                latent = latent + block(latent)
    found = {
        "forecast": forecast, "alignment": aligned, "invariance": invariance, "prior": prior,
    }  # fmt: skip
    return {name: torch.stack(values).mean() for name, values in found.items()}


@pytest.mark.parametrize(
    ("rollout_from", "start", "windows"), [("context", 0, 5), ("target", 3, 4)]
)
def test_terms_equal_a_slow_twin(rollout_from, start, windows):
    model, values = small(rollout_from=rollout_from), frames()
    assert model.alignment_windows(SPEC.length) == windows
    for window in range(windows):
        found = model.loss_terms(values, window)
        expected = slow_terms(model, values, window, start)
        torch.testing.assert_close(found, expected)


def test_total_weighs_the_terms():
    model = small(
        forecast_weight=2.0, alignment_weight=3.0, invariance_weight=5.0, prior_weight=7.0
    )
    terms = model.loss(Batch.of(frames(), SPEC.context), torch.Generator().manual_seed(0))
    total = (
        2 * terms["forecast"] + 3 * terms["alignment"] + 5 * terms["invariance"]
        + 7 * terms["prior"]
    )  # fmt: skip
    torch.testing.assert_close(terms["total"], total)


def test_every_alignment_window_is_drawn():
    model, batch = small(), Batch.of(frames(), SPEC.context)
    possible = [model.loss_terms(batch.values, w)["alignment"].item() for w in range(5)]
    generator = torch.Generator().manual_seed(0)
    drawn = {model.loss(batch, generator)["alignment"].item() for _ in range(60)}
    assert sorted(drawn) == pytest.approx(sorted(possible))


@pytest.mark.parametrize("rollout_from", ["context", "target"])
def test_forecast_follows_the_training_rollout(rollout_from):
    model, values = small(rollout_from=rollout_from), frames()
    context = values[:, : SPEC.context]
    forecast = model.forecast(context, 4).samples[0]
    latents = model.rollout(model.dynamics_of(context), 7)
    latents = latents[:, 3:] if rollout_from == "context" else latents[:, :4]
    expected = model.decode(model.content_of(context), latents)
    torch.testing.assert_close(forecast, expected)


def test_context_is_reconstructed_where_the_rollout_begins_there():
    forecast = small().forecast(frames(length=3), times=[-2.0, -1.0, 0.0, 1.0])
    assert forecast.samples.shape == (1, 3, 4, 1, 9)
    with pytest.raises(InputError, match="back to time -2"):
        small().forecast(frames(length=3), times=[-3.0])
    with pytest.raises(InputError, match="back to time 1"):
        small(rollout_from="target").forecast(frames(length=3), times=[0.5])


def test_only_the_last_frames_of_a_long_context_matter():
    model, values = small(), frames(length=6)
    one, other = model.forecast(values, 2), model.forecast(values[:, -3:], 2)
    assert torch.equal(one.samples, other.samples)


def test_half_steps_lie_between_frames_and_change_them_little():
    model = small(dynamics_gain=0.3)
    times = torch.arange(-2.0, 5.0)
    state = model.observe(frames(length=3))
    one, many, more = (model.advance(state, times, substeps=n) for n in (1, 64, 128))
    assert (many - more).norm() < 0.05 * (one - more).norm()


def test_constant_content_is_the_model_without_s():
    model = small(content="constant", content_size=99)
    assert model.content_encoder is None
    assert torch.equal(model.content_of(frames()).code, torch.ones(3, 6))
    terms = model.loss(Batch.of(frames(), SPEC.context))
    assert float(terms["invariance"]) == 0
    terms["total"].backward()


def test_samples_of_a_deterministic_model_are_equal():
    forecast = small().forecast(frames(length=3), 2, samples=3)
    assert forecast.samples.shape[0] == 3
    assert float(forecast.std.max()) == 0


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="one size"):
        small(content_size=5)
    with pytest.raises(InputError, match="skips: false"):
        small(content="constant", skips=True)
    with pytest.raises(InputError, match="at least 3 frame"):
        small().forecast(frames(length=2))
