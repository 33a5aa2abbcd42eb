"""KVAE: it gives what the published code gave, number by number, and what it does by itself."""

from itertools import islice

import pytest
import torch
from helpers.gaps import with_gaps
from helpers.golden import Golden, arrays_of, settings_of
from helpers.seeds import seeded

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.kvae.codecs import CodeEncoder
from statecast.models.kvae.dynamics import mixed
from statecast.models.kvae.model import KVAE
from statecast.nn.kalman import apply
from statecast.nn.noise import Noise
from statecast.runs.official.arrays import from_arrays

MASKS = ("all", "middle_missing", "random")
CODES = {"atol": 1e-6, "rtol": 1e-5}
MOMENTS = {"atol": 3e-4, "rtol": 1e-4}  # float32 matrices, inverted by either in its own way
TERMS = {"atol": 0, "rtol": 1e-4}
SPEC = FrameSpec(channels=("c",), space=(16, 8), context=4, horizon=3, value_range=(0.0, 1.0))
SMALL = {"filters": (4, 4), "mixing_hidden": 6}
GIVEN = 4  # frames that published generations start from


class Published(Golden):
    """The golden model, and what the published code gave with one mask."""

    def __init__(self, mask):
        super().__init__("kvae")
        self.mask = mask
        self.videos = self.expected["frames"].float()[:, :, None]
        self.known = self[f"{mask}/mask"].bool()

    def check(self, found, name, tolerance):
        torch.testing.assert_close(found, self[f"{self.mask}/{name}"], **tolerance)

    def codes(self):
        """Codes with the published noise."""
        encoded = self.model.encoder(self.videos, 2)
        noise = self["noise/a"].unflatten(0, encoded.mean.shape[:2])
        return encoded, encoded.at(noise)

    def frames(self):
        """The videos with their missing frames masked."""
        known = self.known[:, :, None, None, None].expand_as(self.videos)
        return Frames(
            values=self.videos.masked_fill(~known, torch.nan),
            times=torch.arange(self.videos.shape[1]) - 6.0,
            channels=self.model.spec.channels,
            mask=known,
        )


@pytest.fixture(params=MASKS)
def published(request):
    return Published(request.param)


@torch.no_grad()
def test_codes_filter_and_smoother(published):
    model = published.model
    encoded, codes = published.codes()
    published.check(encoded.mean.flatten(0, 1), "a_mu", CODES)
    published.check(encoded.std.square().flatten(0, 1), "a_var", CODES)
    published.check(codes, "a_seq", CODES)
    decoded = model.decoder(codes).sigmoid().flatten(0, 1).movedim(1, -1)
    published.check(decoded, "x_mu", CODES)
    path = model.dynamics.filter(codes, published.known)
    smoothed = path.smooth()
    for name, moments in {"filtered": path.filtered, "smoothed": smoothed}.items():
        published.check(moments.mean, f"{name}_mean", MOMENTS)
        published.check(moments.covariance, f"{name}_covariance", MOMENTS)
    published.check(path.weights, "alpha_next", CODES)
    published.check(path.transitions, "A", CODES)
    published.check(path.emissions, "C", CODES)
    published.check(path.emissions, "C_filter", CODES)
    controls = torch.from_numpy(published.weights["B"])
    published.check(mixed(path.weights, controls), "B", CODES)
    published.check(apply(path.emissions, smoothed.mean), "a_mu_pred_seq", MOMENTS)


def test_loss_and_gradients(published):
    model = published.model
    noise = published["noise/a"].unflatten(0, (3, 7))
    terms = model.loss_of(published.frames(), noise, published["noise/z"])
    terms["total"].backward()
    found = {name: term.detach() for name, term in terms.items()}
    kalman = [found[name] for name in ("transition", "emission", "initial", "entropy")]
    published.check(-torch.stack(kalman), "kf_terms", TERMS)
    published.check(-sum(kalman), "elbo_kf", TERMS)
    published.check(-found["reconstruction"], "log_px", TERMS)
    published.check(found["posterior"], "log_qa", TERMS)
    published.check(-found["reconstruction"] - found["posterior"], "elbo_vae", TERMS)
    published.check(-found["total"], "elbo", TERMS)
    norm = torch.stack([weight.grad.norm() for weight in model.parameters()]).norm()
    published.check(norm, "grad_norm", {"atol": 0, "rtol": 1e-3})


@torch.no_grad()
def test_the_exact_likelihood_is_that_of_the_twin(published):
    model = published.model.double()
    path = model.dynamics.filter(published[f"{published.mask}/a_seq"].double(), published.known)
    terms = model.dynamics.log_density(path, published[f"{published.mask}/a_seq"].double())
    found = (terms * published.known).sum(dim=1)
    published.check(found, "twin_exact_log_likelihood", {"atol": 1e-4, "rtol": 1e-5})


@torch.no_grad()
def test_the_exact_likelihood_is_above_the_published_bound(published):
    """The bound's expectation is in closed form, and so is what it lacks."""
    exact = published[f"{published.mask}/twin_exact_log_likelihood"]
    bound = published[f"{published.mask}/twin_factorised_bound_terms"].sum(dim=1)
    model, noise = published.model, seeded(0)
    codes = published[f"{published.mask}/a_seq"]
    path = model.dynamics.filter(codes, published.known)
    drawn = torch.stack(
        [
            sum(
                model.dynamics.published_terms(
                    path, codes, published.known, torch.randn(3, 7, 4, generator=noise)
                ).values()
            )
            for _ in range(100)
        ]
    )
    error = 4 * drawn.std() / 10
    assert abs(drawn.mean() - bound.sum()) < error
    assert bool((exact > bound + 1).all())


@pytest.mark.parametrize("noisy", [False, True])
@torch.no_grad()
def test_generations(published, noisy):
    """Published ones start from smoothed means of the whole video, its future included."""
    model = published.model
    _, codes = published.codes()
    path = model.dynamics.filter(codes, published.known)
    means = path.smooth().mean
    kinds = ("noise/emis", "noise/trans")
    emission, transition = (noisy * published[kind].unsqueeze(0) for kind in kinds)
    drawn = list(emission[:, :, :GIVEN].unbind(2))
    for step in range(GIVEN, emission.shape[2]):
        drawn += [transition[:, :, step - 1], emission[:, :, step]]
    noise = Noise(1, 3, replayed=drawn)
    given, state = model.dynamics.draw_codes(path, means[:, :GIVEN], noise, "means")
    rolled = list(islice(model.dynamics.roll_out(means[:, GIVEN - 1], state, noise), 2))
    ending = "" if noisy else "_det"
    found = torch.cat([given, torch.stack(rolled, dim=1)], dim=1)
    published.check(found, f"generated{ending}", {"atol": 1e-4, "rtol": 1e-4})
    if not noisy:
        weights = published[f"{published.mask}/generated_alpha_det"][:, GIVEN - 1]
        torch.testing.assert_close(state.weights, weights, **CODES)
        latents = published[f"{published.mask}/generated_z_det"][:, :GIVEN]
        torch.testing.assert_close(means[:, :GIVEN], latents, **MOMENTS)


def test_a_single_published_matrix_needs_no_mixing():
    arrays, config = arrays_of("kvae"), settings_of("kvae")
    arrays |= {name: arrays[name][:1] for name in "ABC"}
    config["sizes"]["K"] = 1
    model = from_arrays("kvae", arrays, config)
    without = {k: v for k, v in arrays.items() if not k.startswith(("alpha", "y_0"))}
    other = from_arrays("kvae", without, config)
    assert model.dynamics.mixing is None
    states = [m.infer_states(torch.zeros(1, 4, 1, 16, 16)).smoothed.mean for m in (model, other)]
    assert torch.equal(*states)


# What it does by itself


def small(spec=SPEC, **options):
    options = {**SMALL, **options}
    return KVAE(spec, **options, generator=seeded(0))


def videos(batch=3, length=4, spec=SPEC):
    shape = (batch, length, *spec.frame_shape)
    return torch.rand(shape, generator=seeded(1))


def test_a_missing_frame_is_less_certain_than_a_seen_one_and_more_than_an_unseen_future():
    model = small()
    states = model.infer_states(with_gaps(videos(), [2]), 5)
    spread = states.codes.covariance.diagonal(dim1=2, dim2=3).sum(dim=2)[0]
    filtered = states.filtered.covariance.diagonal(dim1=2, dim2=3).sum(dim=2)[0]
    assert states.times.tolist() == list(range(-3, 6))
    assert spread[2] > spread[1]
    assert bool((spread[4:].diff() > 0).all())
    smoothed = states.smoothed.covariance.diagonal(dim1=2, dim2=3).sum(dim=2)[0]
    assert bool((smoothed <= filtered + 1e-5).all())
    torch.testing.assert_close(smoothed[3:], filtered[3:])


def test_with_one_matrix_samples_have_the_closed_form_spread():
    model = small(matrices=1)
    context = with_gaps(videos(batch=1), [1])
    states = model.infer_states(context, 3)
    noise = Noise(20_000, 1, seeded(0))
    with torch.no_grad():
        observed, known, _ = model.observed(context)
        dynamics = model.dynamics
        path = dynamics.filter(observed, known)
        latents = dynamics.draw_states(path, noise, "filtered")
        codes, state = dynamics.draw_codes(path, latents, noise, "filtered")
        later = list(islice(dynamics.roll_out(latents[:, -1], state, noise), 3))
    drawn = torch.cat([codes, torch.stack(later, 1)], 1)
    deviation = states.codes.covariance[0].diagonal(dim1=1, dim2=2).sqrt()
    assert bool(((drawn.mean(0) - states.codes.mean[0]).abs() < 5 * deviation / 20_000**0.5).all())
    torch.testing.assert_close(drawn.std(0), deviation, rtol=0.03, atol=0)


def test_frames_one_by_one_are_all_at_once():
    model, context = small(), with_gaps(videos(length=7), [2, 3])
    state = model.filter(videos(length=7)[:, :2])
    one, two, three = (videos(length=7)[:, time] for time in (4, 5, 6))
    state = model.filter(one[:, None], state, 3)
    for frame in (two, three):
        state = model.filter(frame[:, None], state)
    assert all(part.shape[1] == 1 for part in (*state.filtered, state.transitions))
    options = {"times": [1, 4], "samples": 3}
    online = model.forecast_from(state, **options, generator=seeded(3))
    batch = model.forecast(context, **options, generator=seeded(3))
    torch.testing.assert_close(online.samples, batch.samples)


def test_frames_that_do_not_follow_a_state_are_refused():
    model = small()
    state = model.filter(videos())
    with pytest.raises(InputError, match="dt must be positive and at most 1000000 frames, got 0"):
        model.filter(videos(), state, 0)
    with pytest.raises(InputError, match="whole frames only"):
        model.filter(videos(), state, 1.5)
    with pytest.raises(InputError, match="has 3 sequence"):
        model.filter(videos(batch=2), state)
    with pytest.raises(InputError, match="cannot go back before its last frame"):
        model.forecast_from(state, times=[-1, 1])
    with pytest.raises(InputError, match="whole context"):
        small(forecast_from="means").filter(videos())


def test_the_order_of_the_matrices_does_not_matter():
    model, other = small(), small()
    order = torch.tensor([2, 0, 1])
    state = model.state_dict()
    names = ("transition", "emission", "mixing.weights.weight", "mixing.weights.bias")
    for name in (f"dynamics.{name}" for name in names):
        state[name] = state[name][order]
    other.load_state_dict(state)
    losses = [
        m.loss(Batch.of(videos(length=7), 4), generator=seeded(2))["total"] for m in (model, other)
    ]
    torch.testing.assert_close(*losses)


def test_unknown_frames_do_not_enter_the_loss():
    values = videos(length=7)
    changed = values.clone()
    changed[:, [2, 5]] = 0.5
    losses = []
    for content in (values, changed):
        frames = with_gaps(content, [2, 5])
        batch = Batch.of(frames.values, 4, mask=frames.mask)
        losses.append(small().loss(batch, generator=seeded(2))["total"])
    assert torch.equal(*losses)
    assert torch.isfinite(losses[0])


@pytest.mark.parametrize("architecture", ["convolutional", "mlp"])
def test_unbounded_frames_of_several_channels(architecture):
    spec = FrameSpec(channels=("u", "v"), space=(8, 24), context=4, horizon=3)
    model = small(spec, architecture=architecture, normalise="none")
    assert model.likelihood == "gaussian"
    forecast = model.forecast(10 * videos(spec=spec) - 5, 2, samples=2).samples
    assert forecast.shape == (2, 3, 2, 2, 8, 24)
    assert float(forecast.min()) < 0


def test_points_are_forecast_by_the_mlp():
    spec = FrameSpec(channels=("u",), space=(7,), context=4, horizon=3)
    found = small(spec, architecture="mlp", normalise="none").forecast(videos(spec=spec), 2)
    assert found.samples.shape == (1, 3, 2, 1, 7)


def test_times_that_it_cannot_reach_are_refused():
    model = small()
    with pytest.raises(InputError, match="between 0 and"):
        model.infer_states(videos(), -1)
    with pytest.raises(InputError, match="at time -3, got a time of -4"):
        model.forecast(videos(), times=[-4, 1])


def test_padding_is_that_of_the_published_code():
    """Nothing before the first row and column: a corner is seen once, an inner pixel four times."""
    encoder = CodeEncoder(
        (1, 4, 4), 1, architecture="convolutional", filters=(1,), largest_variance=1.0
    )
    with torch.no_grad():
        encoder.layers[1].weight.fill_(1.0)
        encoder.layers[1].bias.zero_()
        corner = torch.zeros(1, 1, 4, 4)
        corner[..., 0, 0] = 1
        assert encoder.layers(corner).tolist() == [[1, 0, 0, 0]]
        inner = torch.zeros(1, 1, 4, 4)
        inner[..., 2, 2] = 1
        assert encoder.layers(inner).tolist() == [[1, 1, 1, 1]]
