"""SVG: it gives what the published code gave, number by number, and what it does by itself."""

from itertools import islice

import pytest
import torch
from helpers.golden import Golden
from helpers.recorded_noise import RecordedNoise

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.svg.model import SVG
from statecast.nn.activation_checkpointing import recompute_stages
from statecast.nn.noise import Noise
from statecast.runs.official.svg import svg_names

NAMES = ("svg_lp", "svg_lp_vgg", "svg_fp")
FRAMES = {"atol": 1e-4, "rtol": 0}
TERMS = {"atol": 0, "rtol": 1e-5}
CODES = {"atol": 1e-5, "rtol": 1e-5}
GRADIENT = 1e-3  # relative error of a norm
# Normalised by two videos, rounding grows from frame to frame: float64 differs as much.
BATCH_FRAMES = {"svg_lp_vgg": {"atol": 3e-3, "rtol": 0}}
MODULES = {  # published: ours
    "encoder": "encoder",
    "decoder": "decoder",
    "frame_predictor": "predictor",
    "posterior": "posterior",
    "prior": "prior",
}
STATISTICS = {"eval": "running", "train": "batch"}
SPEC = FrameSpec(channels=("c",), space=(32, 32), context=3, horizon=2, value_range=(0.0, 1.0))
SMALL = {"width": 3, "code_size": 5, "noise_size": 4, "recurrent_size": 6}


class Published(Golden):
    def __init__(self, name):
        super().__init__(name)
        self.name = name
        self.videos = (self["x_uint8"] / 255).transpose(0, 1)
        self.past = self.config["n_past"]
        self.learned = self.config["system"] == "SVG-LP"

    @property
    def frame_tolerance(self):
        batch = self.model.forecast_statistics == "batch"
        return BATCH_FRAMES.get(self.name, FRAMES) if batch else FRAMES

    def noise(self):
        """The noise of a forecast; what the published code drew and did not use is left out."""
        prior, skipped = self["forecast/eps_prior"], self.past - 1 if self.learned else 0
        drawn = list(prior.unbind(1)[skipped:])
        if self.learned:
            drawn.insert(0, self["forecast/eps_posterior"].transpose(1, 2))
        return Noise(self.config["samples"], self.config["batch_size"], replayed=drawn)

    def forecast(self):
        """Forecast frames (time, sample, batch, …)."""
        samples, batch = self.config["samples"], self.config["batch_size"]
        frames = self.model.roll_out(self.videos[:, : self.past], noise=self.noise())
        with torch.no_grad():
            rows = torch.stack(list(islice(frames, self.config["n_eval"] - self.past)))
        return rows.unflatten(1, (batch, samples)).transpose(1, 2)

    def training_videos(self):
        return self.videos[:, : self.past + self.config["n_future"]]

    def inferred(self):
        """The inferred states of the training videos under the published noise."""
        drawn = self["train/eps_posterior"].transpose(0, 1).unsqueeze(0)
        noise = Noise(1, self.config["batch_size"], replayed=[drawn])
        return self.model.infer(self.training_videos(), self.past, noise=noise)


@pytest.fixture(params=NAMES)
def published(request):
    return Published(request.param)


def thinned(frames):
    """Every second pixel of each side."""
    return frames[..., ::2, ::2]


@pytest.mark.parametrize("mode", STATISTICS)
def test_codes_skips_and_decoder(published, mode):
    model = published.model
    model.forecast_statistics = STATISTICS[mode]
    with torch.no_grad():
        codes, skips = model.encode(published.videos[:, :1])
        maps = model.decoder.convolve_skips(tuple(part[:, 0] for part in skips))
        decoded = model.decode(maps, codes)[:1, 0]
    torch.testing.assert_close(codes[:, 0], published[f"code/{mode}/h"], **CODES)
    torch.testing.assert_close(decoded, published[f"code/{mode}/decoded"], **FRAMES)
    for stage, part in enumerate(reversed(skips)):
        if mode == "eval":
            expected = published[f"code/eval/skip{stage}"]
            stride = part.shape[-1] // expected.shape[-1]
            torch.testing.assert_close(part[:1, 0, :, ::stride, ::stride], expected, **CODES)


@pytest.mark.parametrize("mode", STATISTICS)
def test_forecasts(published, mode):
    published.model.forecast_statistics = STATISTICS[mode]
    frames = published.forecast()
    expected = published[f"forecast/{mode}/frames"][0]
    tolerance = published.frame_tolerance
    torch.testing.assert_close(frames[-len(expected) :, 0], expected, **tolerance)
    last = published[f"forecast/{mode}/last_frame_all_samples_stride2"]
    torch.testing.assert_close(thinned(frames[-1]), last, **tolerance)


def test_forecasts_with_skips_of_the_frame_before(published):
    published.model.forecast_statistics = "running"
    published.model.skip_frame = "previous"
    found = thinned(published.forecast()[-1, :1])
    expected = published["forecast/eval_last_frame_skip/last_frame_stride2"]
    torch.testing.assert_close(found, expected, **FRAMES)


@pytest.mark.parametrize("mode", STATISTICS)
def test_roll_out_with_posterior_means(published, mode):
    """With z of the true future, and all frames but the context's the model's own."""
    model, past, videos = published.model, published.past, published.videos
    model.forecast_statistics = STATISTICS[mode]
    noise = Noise(1, len(videos))
    with torch.no_grad():
        codes, skips = model.encode(videos)
        means = model.posterior(codes[:, 1:])[0].mean
        maps = model.decoder.convolve_skips(tuple(part[:, past - 2] for part in skips))
        _, predictor = model.predictor(codes[:, : past - 1], means[:, : past - 1])
        state = model.observe(videos[:, :past], noise=noise)[1]
        state = state._replace(predictor=predictor, skips=maps)
        code = codes[:, past - 1]
        for mean in means[:, past - 1 :].unbind(1):
            frame, state = model.forecast_with(code, mean, state, noise=noise)
            code = model.encode(frame.unsqueeze(1)).code[:, 0]
    expected = published[f"forecast/{mode}/posterior_mean_rollout_last_frame_stride2"]
    torch.testing.assert_close(thinned(frame), expected, **published.frame_tolerance)


def test_training_step(published):
    model, expected = published.model.train(), published.expected
    inferred = published.inferred()
    by_time = inferred.decoded.transpose(0, 1)
    assert_gaussian(inferred.posterior, expected, "train/mu", "train/logvar")
    if published.learned:
        assert_gaussian(inferred.prior, expected, "train/mu_p", "train/logvar_p")
    torch.testing.assert_close(inferred.codes.transpose(0, 1), expected["train/h_pred"], **CODES)
    ends = thinned(by_time[[0, -1]])
    torch.testing.assert_close(ends, expected["train/x_pred_first_last"], **FRAMES)
    true = published.training_videos().transpose(0, 1)[1:]
    errors = (by_time - true).square().flatten(1).mean(dim=1)
    torch.testing.assert_close(errors, expected["train/mse_per_step"], **TERMS)
    norm = model.encoder.stages[0][0].norm
    for name in ("mean", "var"):
        after = expected[f"train/after/encoder_first_bn_running_{name}"]
        torch.testing.assert_close(norm.get_buffer(f"running_{name}"), after, **TERMS)


def assert_gaussian(found, expected, mean, log_variance):
    torch.testing.assert_close(found.mean.transpose(0, 1), expected[mean], **CODES)
    logarithm = 2 * found.std.log().transpose(0, 1)
    torch.testing.assert_close(logarithm, expected[log_variance], **CODES)


def test_loss_gradients_and_a_step_of_adam(published):
    model, config = published.model.train(), published.config
    batch = Batch.of(published.training_videos(), published.past)
    terms = model.loss_of(batch, published.inferred())
    terms["total"].backward()
    torch.testing.assert_close(terms["total"], published["train/total"], **TERMS)
    for ours, theirs in {"reconstruction": "mse", "divergence": "kld"}.items():
        torch.testing.assert_close(terms[ours], published[f"train/{theirs}_sum"], **TERMS)
        reported = published[f"train/{theirs}_reported"]  # divided by frames, not by terms
        torch.testing.assert_close(terms[ours] / batch.values.shape[1], reported, **TERMS)
    ours = {theirs: name for name, theirs in svg_names(model).items()}
    weights = dict(model.named_parameters())
    for key, value in published.expected.items():
        if key.startswith("train/grad/"):
            gradient = weights[ours[key.removeprefix("train/grad/")]].grad
            assert (gradient - value).norm() < GRADIENT * value.norm(), key
        if key.startswith("train/grad_norm/"):
            found = norm_of(w.grad for w in part(model, key).parameters())
            assert abs(found - value) < GRADIENT * value, key
    torch.optim.Adam(model.parameters(), lr=config["lr"], betas=config["betas"]).step()
    for key, value in published.expected.items():
        if key.startswith("train/after_adam/"):
            torch.testing.assert_close(norm_of(part(model, key).parameters()), value, **TERMS)


def part(model, key):
    return getattr(model, MODULES[key.rpartition("/")[2]])


def norm_of(tensors):
    return torch.stack([tensor.detach().norm() for tensor in tensors]).norm()


# What it does by itself


def small(spec=SPEC, **options):
    return SVG(spec, **SMALL, **options, generator=torch.Generator().manual_seed(0))


def videos(spec=SPEC, batch=3, length=None):
    shape = (batch, length or spec.length, *spec.frame_shape)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backbone", ["dcgan", "vgg"])
@pytest.mark.parametrize("space", [(16, 48), (64, 32), (128, 160)])
def test_frames_of_any_size_that_can_be_halved(backbone, space):
    spec = FrameSpec(channels=("u", "v"), space=space, context=2, horizon=1)
    model = small(spec, backbone=backbone, normalise="none")
    forecast = model.forecast(10 * videos(spec, 1, 2) - 5, 2, samples=2).samples
    assert forecast.shape == (2, 1, 2, 2, *space)
    assert float(forecast.min()) < 0  # no sigmoid where values are unbounded


@pytest.mark.parametrize(("published", "index"), [(False, -1), (True, -2)])
def test_skips_come_from_the_last_observed_frame_or_as_published_from_the_one_before(
    published, index
):
    model = small(published=published, forecast_statistics="running").eval()
    with torch.no_grad():
        _, state = model.observe(videos(), noise=Noise(2, 3))
        skips = model.encoder(videos()[:, index]).skips
        expected = model.decoder.convolve_skips(skips)
    for found, map_ in zip(state.skips, expected, strict=True):
        torch.testing.assert_close(found, map_)


@pytest.mark.parametrize("prior", ["learned", "fixed"])
def test_time_steps_apart_or_together_give_the_same_with_stored_statistics(prior):
    """What the published code computes step by step, training computes at once."""
    losses = {}
    for published in (False, True):
        model = small(prior=prior, published=published, skip_frame="previous").train()
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.eval()
        generator = torch.Generator().manual_seed(2)
        losses[published] = model.loss(Batch.of(videos(), 3), generator=generator)
    torch.testing.assert_close(losses[True], losses[False])


@pytest.mark.parametrize("skip_frame", ["last", "previous"])
def test_samples_that_are_normalised_by_the_batch_do_not_see_each_other(skip_frame):
    model = small(published=True, skip_frame=skip_frame).eval()
    assert model.forecast_statistics == "batch"
    drawn = RecordedNoise(3, 4, torch.Generator().manual_seed(3))
    context = videos(batch=4, length=3)
    with torch.no_grad():
        together = list(islice(model.roll_out(context, noise=drawn), 3))
        one = Noise(1, 4, replayed=[values[1:2] for values in drawn.recorded])
        alone = list(islice(model.roll_out(context, noise=one), 3))
    torch.testing.assert_close(torch.stack(together)[:, 1::3], torch.stack(alone))


def test_a_single_sequence_cannot_be_normalised_by_itself():
    model = small(published=True)
    with pytest.raises(InputError, match="forecast_statistics: running"):
        model.forecast(videos(batch=1, length=3), 2)
    with pytest.raises(InputError, match="at least 2 sequences"):
        model.train().loss(Batch.of(videos(batch=1), 3))
    assert small(published=True, forecast_statistics="running").forecast(videos(batch=1, length=3))


def test_stages_computed_again_give_the_same_gradients_and_statistics():
    results = []
    for again in (False, True):
        model = small(published=True).train()
        recompute_stages(model, again)
        generator = torch.Generator().manual_seed(4)
        model.loss(Batch.of(videos(), 3), generator=generator)["total"].backward()
        results.append([w.grad for w in model.parameters()] + list(model.buffers()))
    torch.testing.assert_close(*results)


def test_weights_start_as_published():
    model = SVG(SPEC, width=16, generator=torch.Generator().manual_seed(0))
    kernel = model.encoder.stages[2][0].convolution
    assert abs(float(kernel.weight.detach().std()) - 0.02) < 1e-3
    assert not kernel.bias.detach().any()
    recurrent = model.predictor.lstm.weight_hh_l1.detach()
    assert float(recurrent.abs().max()) <= 1 / 16
    assert abs(float(recurrent.std()) - 1 / 16 / 3**0.5) < 1e-3


def test_one_frame_is_context_enough_but_for_the_published_skips():
    short = FrameSpec(channels=("c",), space=(32, 32), context=1, horizon=2)
    with pytest.raises(InputError, match="at least 2 frame"):
        small(published=True).forecast(videos(length=1), 1)
    assert small(short).forecast(videos(length=1), 2).samples.shape[2] == 2
