"""SAVP: it gives what the published code gave, and what it does by itself."""

from itertools import islice

import pytest
import torch
from helpers.golden import Golden

from statecast.frames import Batch, FrameSpec
from statecast.models.savp.cell import Resize
from statecast.models.savp.discriminator import SpectralWeight, VideoDiscriminator
from statecast.models.savp.model import SAVP, Draws, cut
from statecast.nn.conv_lstm import instance_norm
from statecast.nn.noise import Noise
from statecast.nn.pixel_motion import move_by_kernels, normalised_kernels
from statecast.runs.official.arrays import from_arrays
from statecast.runs.official.savp import savp_names
from statecast.runs.official.tensorflow import as_weight

RUNS = ("train_step75000", "train_step6122")
FRAMES = {"atol": 2e-5, "rtol": 0}
RELATIVE = {"rtol": 2e-5, "atol": 0}
GENERATOR = {
    "l1": "gen_l1_loss",
    "gan": "gen_video_sn_gan_loss",
    "vae_gan": "gen_video_sn_vae_gan_loss",
    "vae_gan_features": "gen_video_sn_vae_gan_feature_cdist_loss",
    "divergence": "gen_kl_loss",
}
DISCRIMINATOR = {"gan": "discrim_video_sn_gan_loss", "vae_gan": "discrim_video_sn_vae_gan_loss"}
PARTS = {
    "encoder": "generator/encoder",
    "cell": "generator/rnn",
    "discriminators.vae_gan": "discriminator/encoder",
    "discriminators.gan": "discriminator/video",
}
SPEC = FrameSpec(channels=("c",), space=(16, 16), context=2, horizon=3, value_range=(0.0, 1.0))
SMALL = {"width": 3, "encoder_width": 3, "discriminator_width": 2, "noise_size": 2}


def thinned(frames, stride=2):
    """Published layout of frames (…, channel, y, x), of which some pixels were kept."""
    return frames.movedim(-3, -1)[..., ::stride, ::stride, :]


class Published(Golden):
    def __init__(self):
        super().__init__("savp")
        self.model.train()
        self.batch = Batch.of((self["x_uint8"] / 255).permute(0, 1, 4, 2, 3), 2)
        self.frames = self.model.inputs(self.batch)

    def random(self, run, number):
        (key,) = (key for key in self.expected if key.startswith(f"{run}/random/{number:02d}_"))
        return self[key]

    def draws(self, run):
        """What was drawn; below a probability of 0.001 flags were drawn, and no truth was fed."""
        posterior = self.random(run, 0).transpose(0, 1)
        prior = self.random(run, 1).transpose(0, 1)
        prior = torch.cat([torch.zeros(2, 1, 3), prior], dim=1)  # that of the context is not used
        inside = torch.ones(2, 1, dtype=torch.bool)
        used = run == "train_step6122"
        flags = (self.random(run, number).bool() & used for number in (2, 3))
        passes = tuple(torch.cat([inside, each], dim=1) for each in flags)
        starts = torch.stack([self.random(run, number) for number in (7, 9, 11, 13)], dim=1)
        return Draws(posterior, prior, passes, starts.long())

    def norm(self, part):
        named = self.model.named_parameters()
        gradients = [weight.grad.norm() for name, weight in named if name.startswith(f"{part}.")]
        return torch.stack(gradients).norm()


@pytest.fixture(scope="module")
def published():
    return Published()


def test_forecasts(published):
    posterior = published.random("test", 0)[:1].transpose(0, 1)[None]
    prior = [noise[None] for noise in published.random("test", 1)]
    with torch.no_grad():
        noise = Noise(1, 2, replayed=[posterior, *prior])
        found = list(islice(published.model.roll_out(published.frames[:, :2], noise=noise), 4))
    expected = published["test/gen_images"][1:]
    torch.testing.assert_close(thinned(torch.stack(found)), expected, **FRAMES)


def test_images_masks_and_posterior(published):
    run, model = "train_step75000", published.model
    with torch.no_grad():
        posterior = model.encoder(published.frames)
        latents = posterior.at(published.draws(run).posterior)
        first = published.frames[:, 0]
        images, masks, _ = model.cell.layers(first, latents[:, 0], model.cell.start(first))
    mean = posterior.mean.transpose(0, 1)
    torch.testing.assert_close(mean, published[f"{run}/zs_mu_enc"], **FRAMES)
    logarithm = 2 * posterior.std.log().transpose(0, 1)
    torch.testing.assert_close(logarithm, published[f"{run}/zs_log_sigma_sq_enc"], **FRAMES)
    expected = published[f"{run}/transformed_enc_first_step"].movedim(-1, 1)
    torch.testing.assert_close(thinned(images, 4), expected, **FRAMES)
    expected = published[f"{run}/masks_enc_first_step"].movedim(-1, 1)
    torch.testing.assert_close(thinned(masks.unsqueeze(2), 4), expected, **FRAMES)


@pytest.mark.parametrize("run", RUNS)
def test_generator(published, run):
    model, draws = published.model, published.draws(run)
    step = int(run.removeprefix("train_step"))
    assert model.kl_weight_at(step) == pytest.approx(float(published[f"{run}/kl_weight"]))
    generated = model.generate(published.batch, draws)
    by_time = thinned(generated.posterior.transpose(0, 1))
    expected = published[f"{run}/gen_images_enc"]
    found = by_time if expected.ndim == 5 else by_time[-1]
    torch.testing.assert_close(found, expected, **FRAMES)
    last = thinned(generated.prior[:, -1])
    torch.testing.assert_close(last, published[f"{run}/gen_images"], **FRAMES)
    model.zero_grad()
    terms = model.generator_terms(published.batch, generated, draws, step)
    terms["total"].backward()
    torch.testing.assert_close(terms["total"], published[f"{run}/g_total"], **RELATIVE)
    for ours, theirs in GENERATOR.items():
        torch.testing.assert_close(terms[ours], published[f"{run}/g_loss/{theirs}"], **RELATIVE)
    for part in ("encoder", "cell"):
        expected = published[f"{run}/grad_norm/{PARTS[part]}"]
        torch.testing.assert_close(published.norm(part), expected, **RELATIVE)
    check_gradients(published, run, "generator")


@pytest.mark.parametrize("run", RUNS)
def test_discriminators(published, run):
    model, draws = published.model, published.draws(run)
    generated = model.generate(published.batch, draws)
    if run == "train_step75000":
        for name, infix in (("gan", ""), ("vae_gan", "enc_")):
            real, fake = model.judge(name, published.frames, generated, draws)
            for kind, found in (("real", real), ("fake", fake)):
                expected = published[f"{run}/discrim_video_sn_logits_{infix}{kind}"][0]
                torch.testing.assert_close(found.logits, expected, **FRAMES)
    model.zero_grad()
    terms = model.discriminator_terms(published.frames, generated, draws)
    terms["total"].backward()
    torch.testing.assert_close(terms["total"], published[f"{run}/d_total"], **RELATIVE)
    for ours, theirs in DISCRIMINATOR.items():
        torch.testing.assert_close(terms[ours], published[f"{run}/d_loss/{theirs}"], **RELATIVE)
    for part in ("discriminators.vae_gan", "discriminators.gan"):
        expected = published[f"{run}/grad_norm/{PARTS[part]}"]
        torch.testing.assert_close(published.norm(part), expected, **RELATIVE)
    check_gradients(published, run, "discriminator")


def check_gradients(published, run, beginning):
    weights = dict(published.model.named_parameters())
    ours = {theirs: name for name, theirs in savp_names(published.model).items()}
    keys = [key for key in published.expected if key.startswith(f"{run}/grad/{beginning}")]
    assert keys
    for key in keys:
        gradient = weights[ours[key.removeprefix(f"{run}/grad/")]].grad
        expected = as_weight(published[key].numpy())
        # A bias before normalisation has no gradient but rounding.
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=2e-5)


def test_singular_vectors_after_a_step():
    published = Published()
    published.model.update_loss("generator", published.batch)
    before = {name: buffer.clone() for name, buffer in published.model.named_buffers()}
    published.model.update_loss("discriminator", published.batch)
    ours = {theirs: name for name, theirs in savp_names(published.model).items()}
    buffers = dict(published.model.named_buffers())
    for key in (key for key in published.expected if "/u_after/" in key):
        name = ours[key.partition("/u_after/")[2]]
        torch.testing.assert_close(buffers[name].T, published[key], atol=1e-5, rtol=0)
        if buffers[name].numel() > 1:
            assert not torch.equal(buffers[name], before[name])


def test_operators(published):
    x = published["op/x"].permute(0, 3, 1, 2)
    for kernel, direction, expected in (
        ("op/k3", "down", "op/conv_pool2d_k3"),
        ("op/k5", "down", "op/conv_pool2d_k5"),
        ("op/k3", "up", "op/upsample_conv2d_k3"),
    ):
        weight = as_weight(published[kernel].numpy())
        layer = Resize(3, 4, direction=direction, kernel=weight.shape[2], epsilon=1e-6)
        layer.convolution.load_state_dict({"weight": weight, "bias": published["op/bias"]})
        torch.testing.assert_close(thinned(layer.resized(x), 1), published[expected], **FRAMES)
    norm = instance_norm(3, 1e-6)(1e-3 * x)
    torch.testing.assert_close(
        thinned(norm, 1), published["op/instance_norm_of_x_times_1e-3"], **FRAMES
    )
    raw = published["op/cdna/raw_kernels"].permute(0, 3, 1, 2)
    identity = torch.zeros(5, 5)
    identity[2, 2] = 1
    kernels = normalised_kernels(raw + identity)
    expected = published["op/cdna/kernels"].permute(0, 3, 1, 2)
    torch.testing.assert_close(kernels, expected, **FRAMES)
    moved = move_by_kernels(thinned_back(published["op/cdna/image"]), kernels, padding="edge")
    torch.testing.assert_close(
        thinned(moved.transpose(0, 1), 1), published["op/cdna/transformed"], **FRAMES
    )


def thinned_back(frames):
    return frames.movedim(-1, -3)


def test_arrays_of_a_generator_alone_forecast_the_same(published):
    generator = {k: v for k, v in published.weights.items() if k.startswith("generator/")}
    model = from_arrays("savp", generator, published.config)
    assert model.updates[0].name == "model"
    one, other = (
        each.forecast(published.batch.context, 3, generator=torch.Generator().manual_seed(1))
        for each in (model, published.model)
    )
    torch.testing.assert_close(one.samples, other.samples)


def test_variances_of_weights_from_before_tensorflow_2():
    model = Golden("savp", tensorflow="1.12.0").model
    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.GroupNorm)]
    assert {layer.eps for layer in norms} == {1.001e-5}


# What it does by itself


def small(spec=SPEC, **options):
    return SAVP(spec, **SMALL | options, generator=torch.Generator().manual_seed(0))


def videos(spec=SPEC, batch=3):
    shape = (batch, spec.length, *spec.frame_shape)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("space", "halvings"), [((16, 32), 2), ((32, 36), 2), ((72, 64), 3), ((128, 144), 4)]
)
def test_frames_of_any_size_that_halves(space, halvings):
    spec = FrameSpec(channels=("u", "v"), space=space, context=2, horizon=3)
    model = small(spec, normalise="none", gan_weight=0.0, vae_gan_weight=0.0,
                  vae_gan_feature_weight=0.0)  # fmt: skip
    assert len(model.cell.stages_down) == halvings
    values = 10 * videos(spec, 1)[:, :2] - 5
    forecast = model.forecast(values, 1, samples=2, generator=torch.Generator().manual_seed(3))
    assert forecast.samples.shape == (2, 1, 1, 2, *space)
    assert float(forecast.samples.min()) < 0  # no sigmoid where values are unbounded


def test_a_short_window_is_enough_without_discriminators():
    spec = FrameSpec(channels=("c",), space=(16, 16), context=1, horizon=1)
    weights = dict.fromkeys(("gan_weight", "vae_gan_weight", "vae_gan_feature_weight"), 0.0)
    model = small(spec, **weights)
    terms = model.loss(Batch.of(videos(spec), 1))
    assert set(terms) == {"total", "l1", "l2", "divergence"}
    assert model.forecast(videos(spec)[:, :1], 2).samples.shape[2] == 2


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, {"vae_gan", "gan"}),
        ({"vae_gan_weight": 0.0, "vae_gan_feature_weight": 0.0}, {"gan"}),
        ({"gan_weight": 0.0}, {"vae_gan"}),
        ({"noise_size": 0, "gan_weight": 0.0}, {"vae_gan"}),
    ],
)
def test_parts_without_weight_are_not_there(options, names):
    model = small(**options)
    assert set(model.discriminators) == names
    terms = model.update_loss("generator", Batch.of(videos(), 2))
    assert ("divergence" in terms) == (model.noise_size > 0)
    assert names == {name for name in terms if name in ("gan", "vae_gan")}


def test_each_update_reaches_its_own_weights():
    model = small().train()
    batch = Batch.of(videos(), 2)
    discriminator, generator = model.updates
    model.update_loss("discriminator", batch)["total"].backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is not None) == name.startswith(discriminator.parameters), name
    model.zero_grad()
    model.update_loss("generator", batch)["total"].backward()
    for name, weight in model.named_parameters():
        if name.startswith(generator.parameters):
            assert weight.grad is not None, name


def test_the_power_method_finds_the_largest_singular_value():
    layer = SpectralWeight(4, 3, 2, 2, 2)
    generator = torch.Generator().manual_seed(2)
    torch.nn.init.normal_(layer.weight, generator=generator)
    torch.nn.init.normal_(layer.u, generator=generator)
    for _ in range(200):
        layer.advance()
    largest = torch.linalg.matrix_norm(layer.normalised().detach().flatten(1), 2)
    torch.testing.assert_close(largest, torch.tensor(1.0), atol=1e-4, rtol=0)


def test_a_discriminator_does_not_mix_clips():
    generator = torch.Generator().manual_seed(3)
    judge = VideoDiscriminator((1, 16, 16), 5, 2)
    for weight in [*judge.parameters(), *judge.buffers()]:
        torch.nn.init.normal_(weight, generator=generator)
    clips = torch.rand(3, 5, 1, 16, 16, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(judge(clips).logits[1:2], judge(clips[1:2]).logits)


def test_clips_are_cut_from_their_own_starts():
    frames = torch.arange(12.0).view(2, 6, 1, 1, 1)
    found = cut(frames, torch.tensor([0, 3]), 3).flatten(1)
    assert found.tolist() == [[0, 1, 2], [9, 10, 11]]


def test_starts_of_clips_reach_both_ends():
    spec = FrameSpec(channels=("c",), space=(16, 16), context=2, horizon=6)
    model = small(spec, clip_length=5)
    batch = Batch.of(videos(spec, 200), 2)
    starts = model.draw(batch, 0, torch.Generator().manual_seed(4)).starts
    assert set(starts.flatten().tolist()) == {0, 1, 2}


def test_no_true_frame_is_fed_in_once_the_probability_is_below_a_thousandth():
    model, batch = small(), Batch.of(videos(batch=5000), 2)
    early = model.draw(batch, 12_000, torch.Generator().manual_seed(5)).true_frames[0]
    late = model.draw(batch, 12_400, torch.Generator().manual_seed(5)).true_frames[0]
    assert early[:, 0].all()
    assert late[:, 0].all()
    assert early[:, 1:].any()
    assert not late[:, 1:].any()


def test_a_deterministic_model_has_one_future():
    model = small(noise_size=0)
    found = model.forecast(videos()[:, :2], 3, samples=3).samples
    assert torch.equal(found[0], found[2])
    assert not model.stochastic
