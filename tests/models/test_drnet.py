"""DrNet: it gives what the published code gave, number by number, and what it does by itself."""

import pytest
import torch
from helpers import published_drnet
from helpers.golden import Golden, settings_of, tensors_of

from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.drnet.model import DrNet
from statecast.runs.official.arrays import from_arrays
from statecast.training.loop import Trainer
from statecast.training.options import Phase, TrainingOptions

CONFIG = settings_of("drnet")
CLOSE = {"atol": CONFIG["tolerance"]["absolute"], "rtol": 1e-5}
PAST = CONFIG["n_past"]
MODES = {"eval_bn": "running", "train_bn": "batch"}
NETWORKS = {"netEC": "content_encoder", "netEP": "pose_encoder", "netD": "decoder"}
SPEC = FrameSpec(channels=("c",), space=(32, 32), context=3, horizon=2, value_range=(0.0, 1.0))
SMALL = {
    "width": 3, "content_size": 5, "pose_size": 4, "discriminator_hidden": 6, "recurrent_size": 7,
}  # fmt: skip


@pytest.fixture
def expected():
    return tensors_of("drnet")


@pytest.fixture
def frames(expected):
    return expected["frames"] / 255


@pytest.fixture
def model():
    return Golden("drnet").model


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, **CLOSE)


def thinned(frames):
    """Every second pixel of each side."""
    return frames[..., ::2, ::2]


def norms(module):
    return torch.stack([weight.grad.norm() for weight in module.parameters()])


# Held against the published code


def test_networks(model, expected, frames):
    model.forecast_statistics = "running"
    with torch.no_grad():
        content = model.content_of(frames[:, :1])
        poses = model.poses_of(frames[:, 1:3])
        decoded = model.decode(content, poses[:, :1])[:, 0]
        scene = model.discriminator(poses[:, 0], poses[:, 1]).sigmoid()
    assert_close(content.code, expected["eval_content"].flatten(1))
    assert_close(poses[:, 0], expected["eval_pose"].flatten(1))
    assert_close(decoded, expected["eval_decoded"])
    assert_close(scene, expected["eval_scene_probability"][:, 0])
    for level, skip in enumerate(reversed(content.skips)):
        assert_close(skip.mean(dim=1), expected[f"eval_skip{level}_mean_over_channels"])


def test_a_step_of_the_first_phase(model, expected, frames):
    """The discriminator first, then encoders and decoder, whose loss sees its new weights."""
    model.train()
    rates = {"lr": CONFIG["lr"], "betas": (CONFIG["beta1"], 0.999)}
    updates = {update.name: update for update in model.updates}
    optimizers = {
        name: torch.optim.Adam(
            [w for key, w in model.named_parameters() if key.startswith(update.parameters)], **rates
        )
        for name, update in updates.items()
    }
    assert updates["autoencoder"].adam_betas == updates["discriminator"].adam_betas == (0.5, 0.999)
    found = model.discriminator_terms(frames[:, 0], frames[:, 1], expected["stage1_permutation"])
    found["total"].backward()
    assert_close(found["scene"], expected["stage1_disc_bce"])
    assert_close(found["scene_accuracy"], expected["stage1_disc_accuracy"])
    optimizers["discriminator"].step()
    model.zero_grad()
    terms = model.autoencoder_terms(frames[:, :4])
    terms["total"].backward()
    for ours, theirs in {
        "similarity": "similarity",
        "reconstruction": "reconstruction_mse",
        "confusion": "confusion_bce",
        "total": "total",
    }.items():
        assert_close(terms[ours], expected[f"stage1_{theirs}"])
    for theirs, ours in NETWORKS.items():
        assert_close(norms(getattr(model, ours)), expected[f"stage1_grad_norms_{theirs}"])
    optimizers["autoencoder"].step()
    norm = model.pose_encoder.network.stages[0][0].norm
    for name in ("running_mean", "running_var"):
        after = expected[f"stage1_after_netEP_main.0.main.1.{name}"]
        assert_close(norm.get_buffer(name), after)
    assert_close(
        model.discriminator.layers[0].weight.detach(), expected["stage1_after_netC_main.0.weight"]
    )
    bias = model.decoder.stages[-1][-1].convolution.bias
    assert_close(bias.detach(), expected["stage1_after_netD_upc5.0.bias"])


def test_outputs_of_the_first_phase(model, expected, frames):
    model.train()
    with torch.no_grad():
        poses = model.pose_encoder(frames[:, 0]), model.pose_encoder(frames[:, 1])
        permutation = expected["stage1_permutation"]
        others = torch.cat([poses[1][permutation], poses[1][2:]])
        outputs = model.discriminator(poses[0], others).sigmoid()
        content = model.content_of_frame(frames[:, 0])
        decoded = model.decode(content, model.pose_encoder(frames[:, 2])[:, None])[:, 0]
    assert_close(outputs, expected["stage1_disc_outputs"][:, 0])
    assert_close(thinned(decoded), expected["stage1_reconstruction"])


@pytest.mark.parametrize("mode", MODES)
def test_the_second_phase(model, expected, frames, mode):
    model.train()
    if mode == "eval_bn":
        for part in ("content_encoder", "pose_encoder", "decoder"):
            model.get_submodule(part).eval()
    errors = model.pose_errors(frames, PAST)
    errors.sum().backward()
    assert_close(errors, expected[f"stage2_{mode}_terms"])
    assert_close(norms(model.predictor), expected[f"stage2_{mode}_grad_norms"])
    with torch.no_grad():
        total = model.update_loss("predictor", Batch.of(frames, PAST))["total"]
    assert_close(total, expected[f"stage2_{mode}_total"])
    # The published code, run as it stands, compares every pose with that of every other video.
    assert abs(float(total - expected[f"stage2_{mode}_total_if_broadcast"])) > 0.05


@pytest.mark.parametrize("mode", MODES)
def test_forecasts(model, expected, frames, mode):
    model.forecast_statistics = MODES[mode]
    with torch.no_grad():
        poses, content = model.poses_of(frames), model.content_of(frames[:, :PAST])
        taught = model.predict_poses(poses[:, :-1], content.code)[:, PAST - 1 :]
    assert_close(poses, expected[f"stage2_{mode}_poses"])
    assert_close(content.code, expected[f"stage2_{mode}_content"])
    assert_close(taught, expected[f"teacher_forced_{mode}_poses"])
    forecast = model.forecast(frames[:, :PAST], 3).samples[0]
    assert_close(thinned(forecast), expected[f"forecast_{mode}"])
    latents = model.infer_latents(frames[:, :PAST])
    states = model.continue_latents(latents, 3).states[0, :, 1:]
    assert_close(model.dynamics_code(states), expected[f"forecast_{mode}_poses"])


@pytest.mark.parametrize("variant", ["vgg", "dcgan"])
def test_variants(variant, frames):
    """Held against a twin: a ResNet for poses, and codecs with VGG's skips or without any."""
    kind = {
        "vgg": (published_drnet.VGGEncoder, published_drnet.VGGDecoder),
        "dcgan": (published_drnet.DCGANEncoder, published_drnet.DCGANDecoder),
    }[variant]
    generator = torch.Generator().manual_seed(3)
    twins = {
        f"{variant}_EC": kind[0](2, 3, CONFIG["content_dim"]),
        f"{variant}_D": kind[1](2, 3, CONFIG["content_dim"] + CONFIG["pose_dim"]),
        "resnet_EP": published_drnet.ResNetPose(2, 3, CONFIG["pose_dim"]),
    }
    for twin in twins.values():
        published_drnet.shuffled(twin, generator)
    arrays = {
        f"{name}.{key}": value.numpy()
        for name, twin in twins.items()
        for key, value in twin.state_dict().items()
    }
    if variant == "dcgan":  # beside another variant, which the settings do not choose
        other = published_drnet.VGGEncoder(2, 2, 6).state_dict()
        arrays = {f"vgg_EC.{key}": value.numpy() for key, value in other.items()} | arrays
    model = from_arrays("drnet_variants", arrays, CONFIG | {"variant": variant})
    model.forecast_statistics = "running"
    with torch.no_grad():
        code, skips = twins[f"{variant}_EC"](frames[:, 0])
        pose = twins["resnet_EP"](frames[:, 1])
        decoded = twins[f"{variant}_D"](torch.cat([code, pose], dim=1), skips)
        content, found = model.content_of(frames[:, :1]), model.poses_of(frames[:, 1:2])
        assert_close(content.code, code.flatten(1))
        assert_close(found[:, 0], pose.flatten(1))
        assert_close(model.decode(content, found)[:, 0], decoded)


# What it does by itself


def small(spec=SPEC, **options):
    return DrNet(spec, **SMALL, **options, generator=torch.Generator().manual_seed(0))


def videos(spec=SPEC, batch=4, length=None, seed=1):
    shape = (batch, length or spec.length, *spec.frame_shape)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("options", [
    {}, {"skips": False}, {"backbone": "vgg"}, {"pose_backbone": "resnet", "normalise_pose": True},
])  # fmt: skip
@pytest.mark.parametrize("space", [(16, 48), (128, 160)])
def test_frames_of_any_size_that_can_be_halved(options, space):
    spec = FrameSpec(channels=("u", "v"), space=space, context=2, horizon=1)
    model = small(spec, normalise="none", **options)
    forecast = model.forecast(10 * videos(spec, 1, 2) - 5, 2, samples=2).samples
    assert forecast.shape == (2, 1, 2, 2, *space)
    assert float(forecast.min()) < 0  # no sigmoid where values are unbounded
    assert torch.equal(forecast[0], forecast[1])  # one future


def test_poses_give_the_motion_and_content_gives_the_rest():
    model = small().eval()
    moving, shown = videos(length=3), videos(length=3, seed=2)
    swapped = model.forecast(moving, 3, content_from=shown).samples[0]
    latents = model.continue_latents(model.infer_latents(moving), 3)
    poses = model.dynamics_code(latents.states)[0, :, 1:]
    with torch.no_grad():
        expected = model.decode(model.content_of(shown), poses)
    torch.testing.assert_close(swapped, expected)
    own = model.forecast(moving, 3).samples[0]
    assert float((swapped - own).abs().max()) > 1e-4


def test_pairs_of_two_videos_are_of_two_videos():
    partner = small().partners(5, None)
    assert len(partner) == 2
    assert not (partner == torch.arange(2)).any()


CODECS = ("content_encoder", "pose_encoder", "decoder")


@pytest.mark.parametrize("batch_norm", ["eval", "train"])
def test_the_published_training_has_two_phases(tmp_path, batch_norm):
    data = MovingDigits(context=3, horizon=2, frame_size=32, digits=1, test_videos=4)
    model = DrNet(data.spec, **SMALL, published=True, generator=torch.Generator().manual_seed(0))
    phases = (
        Phase("autoencoder", 1, ("predictor",)),
        Phase("poses", 1, (*CODECS, "discriminator"), batch_norm),
    )
    options = TrainingOptions(steps=2, phases=phases, batch_size=4, learning_rate=1e-3)
    trainer = Trainer(model, data, tmp_path, options)
    changed = []
    for trainer.step in range(2):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        trainer.training_step(data.windows("train").training_batch(trainer.step, 4, seed=1))
        after = model.state_dict()
        moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
        changed.append({name.split(".")[0] for name in moved})
    assert changed[0] == {*CODECS, "discriminator"}
    # Statistics of a frozen encoder go on where batch normalisation is left in training mode.
    drifting = {"content_encoder", "pose_encoder"} if batch_norm == "train" else set()
    assert changed[1] == {"predictor"} | drifting


def test_what_is_compared_or_normalised_in_a_batch_needs_one():
    with pytest.raises(InputError, match="at least 2, got 1"):
        small().update_loss("discriminator", Batch.of(videos(batch=1), 3))
    model = small(published=True)
    with pytest.raises(InputError, match="forecast_statistics: running"):
        model.forecast(videos(batch=1, length=3), 2)
    assert small(published=True, forecast_statistics="running").forecast(videos(batch=1, length=3))
