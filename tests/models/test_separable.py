"""Separable: its terms against a slow twin, its clock, its ablation."""

import pytest
import torch
from helpers.seeds import seeded

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.separable import Separable
from statecast.nn.blocks import initialise_normal
from statecast.nn.random import uniform

SPEC = FrameSpec(channels=("amplitude",), space=(9,), context=3, horizon=4, value_range=(0.0, 1.0))


def small(seed=0, **options):
    defaults = {
        "architecture": "mlp", "encoder_width": 16, "decoder_width": 14, "content_size": 6,
        "latent_size": 6, "mixing": "product", "dynamics_blocks": 2, "dynamics_hidden": 10,
    }  # fmt: skip
    generator = seeded(seed)
    model = Separable(SPEC, **(defaults | options), generator=generator)
    for codec in (model.content_encoder, model.dynamics_encoder, model.decoder):
        if codec is not None and model.initialisation == "normal":
            initialise_normal(codec, 0.5, generator)  # so that every term can be seen
    return model


def frames(batch=3, length=SPEC.length, seed=1):
    return torch.rand(batch, length, 1, 9, generator=seeded(seed))


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
            for block in model.dynamics_blocks:
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
        assert min(term.item() for term in expected.values()) > 0.01  # far above the tolerance


def test_terms_of_windows_drawn_per_sequence_equal_a_slow_twin():
    for rollout_from, start in (("context", 0), ("target", 3)):
        model, values = small(rollout_from=rollout_from), frames()
        windows = torch.tensor([2, 0, 3])
        found = model.loss_terms(values, windows)
        one_by_one = [
            slow_terms(model, values[i : i + 1], int(window), start)["alignment"]
            for i, window in enumerate(windows)
        ]
        torch.testing.assert_close(found["alignment"], torch.stack(one_by_one).mean())
        # The other terms have nothing to do with the window.
        torch.testing.assert_close(found["forecast"], model.loss_terms(values, 1)["forecast"])


def test_windows_are_drawn_for_each_sequence_where_asked():
    values = frames(batch=40)
    model = small(alignment_window="sequence")
    drawn = (5 * uniform((40,), values, seeded(3))).long()
    assert len(drawn.unique()) == 5
    loss = model.loss(Batch.of(values, SPEC.context), generator=seeded(3))
    torch.testing.assert_close(loss["alignment"], model.loss_terms(values, drawn)["alignment"])


def test_the_prior_is_a_sum_over_the_code_or_a_mean():
    values = frames()
    codes = [small().dynamics_encoder.layers(video[:3].flatten()) for video in values]
    summed, mean = (
        small(prior_reduction=over).loss_terms(values, 0)["prior"] for over in ("sum", "mean")
    )
    square = sum(float(t) ** 2 for code in codes for t in code.detach())
    assert float(summed.detach()) == pytest.approx(0.5 * square / 3, rel=1e-5)
    assert float(mean.detach()) == pytest.approx(0.5 * square / 18, rel=1e-5)


def slow_shoots(model, values, starts, start):
    """Forecast, prior and continuity of several forecasts, video by video and frame by frame."""
    n, last = SPEC.context, values.shape[1] - start
    forecast, prior, gaps = [], [], []
    for video in values:
        content = model.content_encoder.layers(video[:n].flatten())
        inferred = [model.dynamics_encoder.layers(video[s : s + n].flatten()) for s in starts]
        prior += [0.5 * latent.square().sum() for latent in inferred]
        latent = None
        for frame in range(last):
            if frame in starts:
                anew = inferred[starts.index(frame)]
                if latent is not None:
                    gaps.append((latent - anew).square().mean())
                latent = anew
            decoded = torch.sigmoid(model.decoder.layers(content * latent))
            forecast.append((decoded - video[frame + start].flatten()).square().mean())
            for block in model.dynamics_blocks:
                latent = latent + block(latent)
    found = {"forecast": forecast, "prior": prior} | ({"continuity": gaps} if gaps else {})
    return {name: torch.stack(values).mean() for name, values in found.items()}


@pytest.mark.parametrize(
    ("rollout_from", "shooting_segments", "starts"),
    [
        ("context", 1, [0]), ("context", 2, [0, 2]), ("context", 5, [0, 1, 2, 3, 4]),
        ("target", 1, [0]), ("target", 3, [0, 1, 2]),
    ],
)  # fmt: skip
def test_several_forecasts_of_a_sequence_equal_a_slow_twin(rollout_from, shooting_segments, starts):
    model = small(
        rollout_from=rollout_from, shooting_segments=shooting_segments, continuity_weight=4.0
    )
    values, start = frames(), 0 if rollout_from == "context" else 3
    found = model.loss_terms(values, 1)
    for name, value in slow_shoots(model, values, starts, start).items():
        torch.testing.assert_close(found[name], value, msg=name)
    assert ("continuity" in found) == (shooting_segments > 1)
    one = small(rollout_from=rollout_from).loss_terms(values, 1)
    assert torch.equal(found["alignment"], one["alignment"])
    if shooting_segments == 1:
        assert all(torch.equal(found[name], one[name]) for name in one)


def test_continuity_is_weighed_and_nought_where_forecasts_agree():
    batch = Batch.of(frames(), SPEC.context)
    plain, weighed = (
        small(shooting_segments=2, continuity_weight=w).loss(batch, generator=seeded(0))
        for w in (0.0, 1e8)
    )
    difference = weighed["total"] - plain["total"]
    torch.testing.assert_close(difference, 1e8 * weighed["continuity"], rtol=1e-3, atol=0)
    model = small(shooting_segments=2)
    still = frames()[:, :1].expand(-1, SPEC.length, -1, -1)
    for block in model.dynamics_blocks:
        torch.nn.init.zeros_(block[-1].weight)
        torch.nn.init.zeros_(block[-1].bias)
    assert float(model.loss_terms(still, 0)["continuity"].detach()) == pytest.approx(0, abs=1e-14)


def test_total_weighs_the_terms():
    model = small(
        forecast_weight=2.0, alignment_weight=3.0, invariance_weight=5.0, prior_weight=7.0
    )
    terms = model.loss(Batch.of(frames(), SPEC.context), generator=seeded(0))
    total = (
        2 * terms["forecast"] + 3 * terms["alignment"] + 5 * terms["invariance"]
        + 7 * terms["prior"]
    )  # fmt: skip
    torch.testing.assert_close(terms["total"], total)


def test_every_alignment_window_is_drawn():
    model, batch = small(), Batch.of(frames(), SPEC.context)
    possible = [model.loss_terms(batch.values, w)["alignment"].item() for w in range(5)]
    generator = seeded(0)
    drawn = {model.loss(batch, generator=generator)["alignment"].item() for _ in range(60)}
    assert sorted(drawn) == pytest.approx(sorted(possible))


@pytest.mark.parametrize("rollout_from", ["context", "target"])
def test_forecast_follows_the_training_rollout(rollout_from):
    model, values = small(rollout_from=rollout_from), frames()
    context = values[:, : SPEC.context]
    forecast = model.forecast(context, 4).samples[0]
    latents = model.path_from(model.dynamics_of(context), 7)
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


@pytest.mark.parametrize(("architecture", "space"), [("mlp", (6,)), ("maps", (16, 16))])
def test_he_initialisation_keeps_sizes_and_begins_at_rest(architecture, space):
    spec = FrameSpec(channels=("u",), space=space, context=3, horizon=2)
    generator = seeded(0)
    model = Separable(
        spec, architecture=architecture, encoder_width=256, decoder_width=256, content_size=64,
        latent_size=64, dynamics_hidden=32, mixing="product", initialisation="he",
        generator=generator,
    )  # fmt: skip
    frames = torch.randn(16, 3, 1, *space, generator=generator)
    latent = model.dynamics_of(frames)
    assert 0.3 < float(latent.detach().std()) < 3
    assert torch.equal(model.path_from(latent, 4)[:, -1], latent)
    layers = [m for m in model.decoder.modules() if isinstance(m, torch.nn.Linear)]
    for layer in layers:
        assert float(layer.weight.detach().var()) == pytest.approx(2 / layer.in_features, rel=0.1)
    terms = model.loss(Batch.of(torch.randn(4, 5, 1, *space, generator=generator), 3))
    terms["total"].backward()
    last = list(model.dynamics_blocks[0].children())[-1]
    weight = last.weight if isinstance(last, torch.nn.Linear) else last.norm.weight
    assert float(weight.grad.abs().max()) > 0
