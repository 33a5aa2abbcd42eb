"""TD-VAE: it gives what the published code gave, number by number, and what it does by itself."""

import pytest
import torch
from helpers.gaps import with_gaps
from helpers.golden import Golden
from helpers.seeds import seeded
from torch.nn.functional import binary_cross_entropy

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.td_vae.model import TDVAE, Pairs
from statecast.nn.noise import Noise
from statecast.runs.official.td_vae import published_name

VALUES = {"atol": 1e-5, "rtol": 1e-5}
TERMS = {"atol": 1e-4, "rtol": 1e-4, "check_dtype": False}
SPEC = FrameSpec(channels=("c",), space=(4, 6), context=4, horizon=3, value_range=(0.0, 1.0))
SMALL = {
    "code_size": 8,
    "belief_size": 6,
    "latent_size": 3,
    "map_hidden": 7,
    "decoder_hidden": 9,
}


class Published(Golden):
    def __init__(self):
        super().__init__("td_vae")
        self.videos = self["frames"].unflatten(2, (1, 8, 8))
        self.frames = Frames.context_of(self.videos, self.model.spec.channels)

    def beliefs(self):
        return self.model.beliefs(self.frames)

    def noise(self, mode):
        """Standard normal values of z₂ and z₁, (row, layer, size); zero in evaluation mode."""
        if mode == "eval":
            return [torch.zeros(6, 2, 3)] * 2
        values = [self[f"train/noise_{number}"] for number in range(4)]
        return [torch.stack(values[start : start + 2][::-1], dim=1) for start in (0, 2)]

    def pairs(self, mode):
        return Pairs(self[f"{mode}/t1"], self[f"{mode}/t2"])


@pytest.fixture
def published():
    return Published()


def test_beliefs(published):
    with torch.no_grad():
        torch.testing.assert_close(published.beliefs().values, published["beliefs"], **VALUES)


@pytest.mark.parametrize("mode", ["train", "eval"])
@torch.no_grad()
def test_states_and_their_distributions(published, mode):
    pairs = published.pairs(mode)
    assert torch.equal(pairs.second - pairs.first, published[f"{mode}/gap"])
    times = published.frames.times
    found = published.model.infer(published.beliefs(), times, pairs, *published.noise(mode))
    named = {
        "smoothed_{}_t1": found.smoothed,
        "belief_{}_t1": found.belief,
        "belief_{}_t2": found.belief_later,
        "transition_{}_t2": found.transition,
    }
    for name, gaussian in named.items():
        mean = published[f"{mode}/{name.format('mean')}"]
        torch.testing.assert_close(gaussian.mean.flatten(1), mean, **VALUES)
        log_variance = published[f"{mode}/{name.format('logvar')}"]
        torch.testing.assert_close(2 * gaussian.std.log().flatten(1), log_variance, **VALUES)
    torch.testing.assert_close(found.later.flatten(1), published[f"{mode}/state_t2"], **VALUES)
    decoded = found.decoded.sigmoid().flatten(1)
    torch.testing.assert_close(decoded, published[f"{mode}/decoded_t2"], **VALUES)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_loss_and_gradients(published, mode):
    model, pairs = published.model, published.pairs(mode)
    terms = model.loss_of(published.frames, pairs, *published.noise(mode))
    terms["total"].backward()
    # The published code takes off the entropy of grey frames, which no weight changes.
    second = published["frames"][torch.arange(3).expand(2, 3), pairs.second].flatten(0, 1)
    entropy = binary_cross_entropy(second, second, reduction="sum") / 6
    found = {
        "bce_entropy": entropy,
        "bce_minus_entropy": terms["reconstruction"] - entropy,
        "kl_smoothed_vs_belief": terms["divergence"],
        "state_log_ratio": terms["state_log_ratio"],
        "loss": terms["total"] - entropy,
        "grad_norm": torch.stack([weight.grad.norm() for weight in model.parameters()]).norm(),
    }
    for name, value in found.items():
        torch.testing.assert_close(value.detach(), published[f"{mode}/{name}"], **TERMS)
    weights = {published_name(name): weight for name, weight in model.named_parameters()}
    compared = [key for key in published.expected if key.startswith(f"{mode}/grad/")]
    assert len(compared) == 3
    for key in compared:
        gradient = weights[key.removeprefix(f"{mode}/grad/")].grad
        torch.testing.assert_close(gradient, published[key], atol=1e-5, rtol=1e-3)


@torch.no_grad()
def test_roll_out(published):
    model, jumps = published.model, int(published["rollout/n"])
    belief = published.beliefs().values[:, int(published["rollout/t"])]
    drawn = [published[f"rollout/noise_{number}"] for number in range(2 * (jumps + 1))]
    noises = [torch.stack(drawn[i : i + 2][::-1], dim=1) for i in range(0, len(drawn), 2)]
    state, _ = model.belief.draw(list(belief.unbind(1)), noises[0])
    noise = Noise(1, 3, replayed=[values[None] for values in noises[1:]])
    leads = [float(lead) for lead in range(1, jumps + 1)]
    states = model.roll_out(state, torch.zeros(3), leads, noise)
    frames = torch.stack([model.decode(state) for state in states], dim=1)
    torch.testing.assert_close(frames.flatten(2), published["rollout/frames"], **VALUES)


# What it does by itself


def small(spec=SPEC, **options):
    options = {**SMALL, **options}
    return TDVAE(spec, **options, generator=seeded(0))


def videos(batch=3, length=7, spec=SPEC):
    shape = (batch, length, *spec.frame_shape)
    return torch.rand(shape, generator=seeded(1))


def pairs_of(first, second, batch=3):
    return Pairs(*(torch.tensor(times)[:, None].expand(-1, batch) for times in (first, second)))


def terms_of(model, frames, pairs):
    rows = pairs.first.numel()
    noise = [torch.randn(rows, 2, 3, generator=seeded(seed)) for seed in (3, 4)]
    return model.loss_of(frames, pairs, *noise)


def test_the_loss_of_a_pair_does_not_depend_on_later_frames():
    model, values = small(), videos()
    changed = values.clone()
    changed[:, 5:] = 0.5
    found = [
        terms_of(model, Frames.context_of(part, SPEC.channels), pairs_of([1], [4]))["total"]
        for part in (values, changed)
    ]
    assert torch.equal(*found)


def test_the_order_of_pairs_does_not_matter():
    model, frames = small(), Frames.context_of(videos(), SPEC.channels)
    noise = [torch.randn(6, 2, 3, generator=seeded(seed)) for seed in (3, 4)]
    one = model.loss_of(frames, pairs_of([0, 2], [3, 4]), *noise)
    turned = [values.unflatten(0, (2, 3)).flip(0).flatten(0, 1) for values in noise]
    other = model.loss_of(frames, pairs_of([2, 0], [4, 3]), *turned)
    torch.testing.assert_close(one, other)


def test_the_analytic_divergence_is_the_mean_of_sampled_log_ratios():
    model, count = small(), 20_000
    frames = Frames.context_of(videos(1).expand(1, -1, -1, -1, -1), SPEC.channels)
    first = torch.full((count, 1), 1)
    noise = [torch.randn(count, 2, 3, generator=seeded(seed)) for seed in (3, 4)]
    noise[0][:] = noise[0][:1]
    with torch.no_grad():
        beliefs = model.beliefs(frames)
        found = model.infer(beliefs, frames.times, Pairs(first, first + 2), *noise)
        earlier = found.smoothed.at(noise[1])
        ratio = found.smoothed.log_density(earlier) - found.belief.log_density(earlier)
    sampled, exact = ratio.sum(dim=1), found.smoothed.divergence(found.belief).sum(dim=1)
    error = (sampled - exact).std() / count**0.5
    assert abs(sampled.mean() - exact.mean()) < 4 * error


def test_pairs_cover_the_window_evenly():
    model = small(min_gap=2, max_gap=4, pairs=4000)
    first, second = model.draw_pairs(2, 7, torch.zeros(1), seeded(2))
    assert first.unique().tolist() == [0, 1, 2]
    assert (second - first).unique().tolist() == [2, 3, 4]
    share = (first == 0).float().mean()
    assert abs(share - 1 / 3) < 4 * (2 / 9 / 8000) ** 0.5


def test_a_path_is_continuous_between_the_times_of_one_jump():
    context = videos(length=4)
    forecast = small().forecast(context, times=[2, 2.001], samples=4, generator=seeded(2)).samples
    assert float((forecast[:, :, 1] - forecast[:, :, 0]).abs().max()) < 1e-3
    assert float(forecast.std(dim=0).min()) > 0


def test_the_gap_is_seen_where_it_is_told():
    context = videos(length=4)
    for told in (True, False):
        model = small(gap_input=told)
        state = torch.zeros(1, 2, 3)
        near, far = (model.jump(state, torch.tensor([gap]), state) for gap in (1.0, 3.0))
        assert torch.equal(near, far) != told
    with pytest.raises(InputError, match="whole frames only"):
        small(gap_input=False).forecast(context, times=[0.5])


def test_after_missing_last_frames_the_jump_is_longer():
    model, values = small(), videos(length=6)
    late = model.forecast(with_gaps(values, [4, 5]), times=[1], generator=seeded(2)).samples
    early = model.forecast(values[:, :4], times=[3], generator=seeded(2)).samples
    torch.testing.assert_close(late, early)


@pytest.mark.parametrize("layers", [1, 3])
def test_any_number_of_layers(layers):
    model = small(layers=layers)
    model.loss(Batch.of(videos(), 4), generator=seeded(2))["total"].backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())
    context = videos(length=4)
    long, short = (model.forecast(context, count, generator=seeded(2)).samples for count in (5, 2))
    torch.testing.assert_close(long[:, :, :2], short)


def test_frames_one_by_one_are_all_at_once():
    model, values = small(), videos(length=7)
    context = with_gaps(values, [2, 3, 6])
    state = model.filter(values[:, :2])
    for time, gap in ((4, 3), (5, 1)):
        state = model.filter(values[:, time, None], state, gap)
    options = {"times": [1.5, 4], "samples": 3}
    # The last frame did not come: what lies ahead of it is one frame further from the state.
    later = {**options, "times": [2.5, 5]}
    whole = small(longest_jump=50.0)  # so that no jump ends in between
    whole.load_state_dict(model.state_dict())
    found = [
        whole.forecast_from(state, **later, generator=seeded(2)).samples,
        whole.forecast(context, **options, generator=seeded(2)).samples,
    ]
    torch.testing.assert_close(*found)
    with pytest.raises(InputError, match="has 3 sequence"):
        model.filter(videos(batch=2), state)


def test_pairs_of_missing_frames_do_not_count():
    model, values = small(), videos()
    frames = with_gaps(values, [0, 5])
    both = terms_of(model, frames, pairs_of([0, 1], [3, 4]))["total"]
    noise = [torch.randn(6, 2, 3, generator=seeded(seed))[3:] for seed in (3, 4)]
    alone = model.loss_of(frames, pairs_of([1], [4]), *noise)["total"]
    torch.testing.assert_close(both, alone)
    assert float(terms_of(model, frames, pairs_of([1], [5]))["total"].detach()) == 0


@pytest.mark.parametrize("architecture", ["mlp", "dcgan", "vgg"])
def test_unbounded_frames_of_several_channels(architecture):
    spec = FrameSpec(channels=("u", "v"), space=(16, 32), context=4, horizon=3)
    model = small(spec, architecture=architecture, width=4, normalise="none")
    forecast = model.forecast(10 * videos(length=4, spec=spec) - 5, 2, samples=2).samples
    assert forecast.shape == (2, 3, 2, 2, 16, 32)
    assert float(forecast.min()) < 0
    batch = Batch.of(videos(spec=spec), 4)
    model.train().loss(batch, generator=seeded(2))["total"].backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


def test_times_that_it_cannot_reach_are_refused():
    with pytest.raises(InputError, match="got a time of -1"):
        small().forecast(videos(length=4), times=[-1, 1])
    with pytest.raises(InputError, match="too short for a gap of 3"):
        small().loss(Batch.of(videos(length=3), 2))
