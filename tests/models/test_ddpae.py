"""DDPAE: the published code number by number, and what ours adds to it."""

import math

import pytest
import torch
from helpers.golden import Golden
from helpers.seeds import seeded

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.ddpae.model import DDPAE, gap
from statecast.models.ddpae.networks import counted_as
from statecast.models.ddpae.spatial_transformer import (
    constrain,
    crop,
    inverse,
    matrices,
    paste,
    positions,
)
from statecast.nn.gaussian import DiagonalGaussian
from statecast.nn.noise import Noise
from statecast.runs.official import from_arrays
from statecast.runs.official.ddpae import published_names

SITES = ("input_beta", "pred_beta", "initial_pose", "content")
NETWORKS = ("pose_model", "content_lstm", "object_encoder", "object_decoder")
SPEC = FrameSpec(channels=("a",), space=(16, 24), context=3, horizon=2, value_range=(0.0, 1.0))
SMALL = {"width": 2, "image_code_size": 6, "content_size": 5, "recurrent_size": 4}


class GoldenDDPAE(Golden):
    def __init__(self):
        super().__init__("ddpae")
        self.context, self.target = (self[name].float() / 255 for name in ("context", "target"))
        self.batch = Batch.of(torch.cat([self.context, self.target], dim=1), 4)

    @property
    def noise(self):
        """The recorded noise, (sample, batch, …)."""
        sizes = {"input_beta": (4, 2, 3), "pred_beta": (3, 2, 3)}
        sizes |= {"initial_pose": (2, 3), "content": (2, 6)}
        return Noise(
            1,
            3,
            replayed=[self[f"noise_{site}"].view(1, 3, *sizes[site]) for site in SITES],
        )

    def named(self, name):
        """Our tensor under its published name."""
        ours = {theirs: ours for ours, theirs in published_names(self.model).items()}
        return self.model.state_dict(keep_vars=True)[ours[name]]

    def check_gradients(self, prefix):
        for network in NETWORKS:
            names = self.config["parameter_order"][network]
            norms = [self.named(f"{network}/{name}").grad.norm() for name in names]
            # Of some, hundreds of summands cancel but for rounding.
            self.check(torch.stack(norms), f"{prefix}_grad_norms_{network}", rtol=1e-4, atol=1e-3)


@pytest.fixture
def golden():
    return GoldenDDPAE()


def small(spec=SPEC, **options):
    return DDPAE(spec, **(SMALL | options), generator=seeded())


def frames(batch=3, length=SPEC.length, spec=SPEC, seed=2):
    return torch.rand(batch, length, *spec.frame_shape, generator=seeded(seed))


# The published code


def test_spatial_transformers(golden):
    known = golden.expected
    pose = known["part_pose"]
    golden.check(inverse(pose), "part_pose_inverse")
    golden.check(matrices(pose), "part_matrix")
    golden.check(positions(pose), "part_positions")
    golden.check(crop(known["part_image"], pose, (6, 6)), "part_image_to_object_align_true")
    golden.check(paste(known["part_object"], pose, (12, 12)), "part_object_to_image_align_true")
    raw = known["part_raw_pose"]
    golden.check(constrain(raw, 2.0), "part_constrained_pose")
    golden.check(raw.cumsum(dim=1), "part_accumulated")


@torch.no_grad()
def test_inference_by_means(golden):
    model, context = golden.model, golden.context
    observed = model.infer(context)
    golden.check(observed.increments.mean, "eval_input_beta_mu")
    golden.check(observed.increments.std, "eval_input_beta_sigma")
    golden.check(observed.initial.mean, "eval_initial_mu")
    golden.check(observed.initial.std, "eval_initial_sigma")
    tracks, later = observed.tracks, []
    for _ in range(3):
        tracks = model.poses.advance(tracks)
        later.append(model.poses.increment(tracks.hidden))
    later = DiagonalGaussian.stack(later, dim=1)
    golden.check(later.mean, "eval_pred_beta_mu")
    golden.check(later.std, "eval_pred_beta_sigma")
    golden.check(model.content_of(context).code, "eval_content")


def test_forecast_and_decomposition(golden):
    found = golden.model.forecast(golden.context, 3).samples[0]
    golden.check(found, "forecast")
    parts = golden.model.decompose(golden.context, 3)
    golden.check(parts.poses, "eval_pose")
    golden.check(parts.objects, "eval_objects")
    golden.check(parts.components, "eval_components")
    golden.check(parts.frames, "eval_frames")
    torch.testing.assert_close(parts.frames[:, 4:], found)
    assert parts.times.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    error = (found - golden.target).square().mean() * found[0, 0].numel()
    golden.check(error, "metric_mse", rtol=1e-4)


@pytest.mark.parametrize("prefix", ["train", "train_prediction_only"])
def test_training(golden, prefix):
    model, known = golden.model.train(), golden.expected
    if prefix == "train_prediction_only":
        model.prediction_only_from = 7
        early = model.loss_terms(golden.batch, noise=golden.noise, step=6)
        golden.check(-3 * early["nll"], "train_log_p_obs")
        golden.model = model = GoldenDDPAE().model.train()
        model.prediction_only_from = 7
    terms = model.loss_terms(golden.batch, noise=golden.noise, step=7)
    for site in SITES:
        log_q, log_p = (known[f"{prefix}_log_{kind}_{site}"] for kind in "qp")
        torch.testing.assert_close(3 * terms[f"kl_{site}"], log_q - log_p, rtol=1e-5, atol=1e-4)
    golden.check(-3 * terms["nll"], f"{prefix}_log_p_obs")
    golden.check(3 * terms["total"], f"{prefix}_loss")
    pixels = golden.batch.values.numel()
    golden.check(3 * terms["total"] / pixels, f"{prefix}_displayed_loss")
    for name in known:
        if name.startswith("after_train_"):
            golden.check(golden.named(name.removeprefix("after_train_")), name)
    (3 * terms["total"]).backward()
    golden.check_gradients(prefix)
    assert sum(map(len, golden.config["parameter_order"].values())) == len(list(model.parameters()))


def test_a_step_of_adam(golden):
    model = golden.model.train()
    model.loss_terms(golden.batch, noise=golden.noise)["total"].backward()  # its scale drops out
    torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.999)).step()
    for name in golden.expected:
        if name.startswith("after_adam_"):
            golden.check(golden.named(name.removeprefix("after_adam_")).detach(), name)


@torch.no_grad()
def test_latents_of_the_training(golden):
    """The draws of the published code, from its noise, are where ours are."""
    model, known = golden.model.train(), golden.expected
    observed = model.infer(golden.context)
    for name, found, shape in (
        ("input_beta", observed.increments, (3, 4, 2, 3)),
        ("initial_pose", observed.initial, (3, 2, 3)),
    ):
        golden.check(found.mean, f"train_mu_{name}")
        golden.check(found.std, f"train_sigma_{name}")
        golden.check(found.at(known[f"noise_{name}"].view(shape)), f"train_sample_{name}")
    increments = known["train_sample_input_beta"].view(3, 4, 2, 3)
    path = known["train_sample_initial_pose"].view(3, 1, 2, 3) + increments.cumsum(dim=1)
    content = model.content_given(golden.context, path)
    golden.check(content.mean, "train_mu_content")
    golden.check(content.std, "train_sigma_content")


@torch.no_grad()
def test_independent_objects(golden):
    name = "pose_model/predict_rnn.weight_ih_l0"
    weights = golden.weights | {name: golden.weights[name][:, :7]}
    model = from_arrays("ddpae", weights, golden.config)
    assert model.poses.independent
    tracks, later = model.infer(golden.context).tracks, []
    for _ in range(3):
        tracks = model.poses.advance(tracks)
        later.append(model.poses.increment(tracks.hidden))
    later = DiagonalGaussian.stack(later, dim=1)
    golden.check(later.mean, "independent_pred_beta_mu")
    golden.check(later.std, "independent_pred_beta_sigma")


# Its parts


def test_cropping_undoes_pasting():
    objects = torch.rand(2, 1, 9, 9, generator=seeded())
    pose = torch.tensor([[2.0, 0.5, -0.25], [2.0, -1.0, 1.0]])
    images = paste(objects, pose, (17, 17))
    torch.testing.assert_close(crop(images, pose, (9, 9)), objects)
    found = (images[1, 0] > 0).nonzero().float().mean(dim=0).flip(0) / 16  # x, y of the centre
    torch.testing.assert_close(found, positions(pose)[1], atol=0.02, rtol=0)


def test_divergence_at_a_draw_averages_to_that_of_the_gaussians():
    shape = (4000, 3)
    posterior = DiagonalGaussian(torch.full(shape, 0.3), torch.full(shape, 0.5))
    drawn = posterior.at(torch.randn(shape, generator=seeded()))
    prior = DiagonalGaussian(torch.zeros(shape), torch.full(shape, 2.0))
    expected = posterior.divergence(prior).mean()
    torch.testing.assert_close(gap(drawn, posterior, 0.0, 2.0), expected, atol=0.05, rtol=0)


def test_a_batch_counts_as_its_copies_do():
    values = torch.randn(3, 2, 4, 4, generator=seeded())
    found, expected = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    with counted_as(found, 5):
        found(values)
    expected(values.repeat(5, 1, 1, 1))
    torch.testing.assert_close(found.running_var, expected.running_var)
    torch.testing.assert_close(found.running_mean, expected.running_mean)


# What is ours


def test_components_make_the_frames_and_the_forecast():
    model = small(objects=3)
    parts = model.decompose(frames(length=3), 4)
    assert parts.components.shape == (3, 7, 3, 1, 16, 24)
    assert parts.objects.shape == (3, 3, 1, 8, 12)
    expected = parts.components.sum(dim=2).clamp(max=1)
    torch.testing.assert_close(parts.frames, expected)
    forecast = model.forecast(frames(length=3), 4).samples[0]
    torch.testing.assert_close(parts.frames[:, 3:], forecast)
    assert float(parts.positions.min()) >= 0
    assert float(parts.positions.max()) <= 1


def test_samples_spread_as_the_square_root_of_time():
    """Increments of one standard deviation make a random walk of poses."""
    model = small(forecasts="samples", objects=1)
    with torch.no_grad():
        for head in (model.poses.increment, model.poses.initial_pose):
            for layer in (head.mean, head.std):
                layer.weight.zero_()
                layer.bias.zero_()
        model.poses.increment.std.bias.fill_(math.log(math.expm1(0.1)))
    state = model.observe(frames(batch=1, length=3), samples=4000, generator=seeded())
    path = model.advance(state, torch.arange(1.0, 7.0), generator=seeded(2))
    pose = model.split(path)[0][:, 0, :, 0]  # (sample, time, 3)
    start = math.log(2) ** 2 + 3 * 0.01  # softplus(0)², and three increments in the context
    expected = (start + 0.01 * torch.arange(1.0, 7.0)).sqrt()
    torch.testing.assert_close(pose.std(dim=0)[:, 1], expected, rtol=0.04, atol=0)


def test_means_are_one_future_and_samples_many():
    context = frames(length=3)
    one = small().forecast(context, 3, samples=2).samples
    assert torch.equal(one[0], one[1])
    many = small(forecasts="samples").forecast(context, 3, samples=2, generator=seeded()).samples
    assert not torch.equal(many[0], many[1])


def test_swapped_content_moves_as_before():
    model, context = small(), frames(length=3)
    other = frames(length=3, seed=5)
    found = model.forecast(context, 3, content_from=other).samples[0]
    own, others = (model.decompose(values, 3) for values in (context, other))
    components = model.components(others.objects, own.poses)
    torch.testing.assert_close(found, components.sum(dim=2).clamp(max=1)[:, 3:])


def test_dynamics_are_the_poses_of_the_last_observed_frame():
    model, context = small().eval(), frames(length=3)
    with torch.no_grad():
        codes = model.codes_of(Frames.context_of(context, model.spec.channels))
    poses = model.decompose(context, 2).poses[:, 2]
    torch.testing.assert_close(codes.dynamics, poses.flatten(1))
    assert codes.time == 0


def test_likelihoods_of_parts_of_the_target_add_up():
    model, values = small().eval(), frames()

    def misfit(*known):  # columns of the target that are known
        mask = torch.ones_like(values, dtype=torch.bool)
        mask[:, 3:] = False
        mask[:, 3:, :, :, slice(*known)] = True
        batch = Batch.of(values.masked_fill(~mask, torch.nan), 3, mask=mask)
        return model.loss(batch, generator=seeded())["nll"].detach()

    torch.testing.assert_close(misfit(0, 7) + misfit(7, 24), misfit(0, 24) + misfit(0, 0))
    whole = model.loss(Batch.of(values, 3), generator=seeded())["nll"].detach()
    torch.testing.assert_close(misfit(0, 24), whole)


def test_a_decomposition_needs_a_horizon():
    with pytest.raises(InputError, match="got horizon=0"):
        small().decompose(frames(length=3), 0)
