"""PKnl: the published code number by number, advection and diffusion, and motion in metres."""

import math

import numpy as np
import pytest
import torch
from helpers.golden import Golden
from helpers.seeds import seeded
from torch.nn import functional as F

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.io.fields.coordinates import Coordinates, Variable
from statecast.io.fields.distances import EARTH_RADIUS
from statecast.io.fields.time_steps import Step
from statecast.models.pknl.model import PKnl, corrected_divergence, published_divergence, smoothness
from statecast.models.pknl.motion import MotionField
from statecast.nn.warping import sampling_grid, warp_bilinear, warp_gaussian
from statecast.runs.official import from_arrays
from statecast.runs.official.pknl import published_names

TERMS = ("photometric", "smoothness", "divergence", "magnitude")
VARIANTS = {  # align_upsampling, align_sampling
    "current_defaults": (False, False),
    "torch10": (False, True),
    "torch03": (True, True),
}
SPEC = FrameSpec(channels=("a", "b"), space=(8, 12), context=3, horizon=2, value_range=(0.0, 1.0))


class GoldenPKnl(Golden):
    def __init__(self):
        super().__init__("pknl")
        self.context, self.target = (self[name].unsqueeze(2) for name in ("context", "target"))

    def named(self, name):
        """Our tensor under its published name."""
        ours = {theirs: ours for ours, theirs in published_names(self.model).items()}
        return self.model.state_dict(keep_vars=True)[ours[name]]


@pytest.fixture
def golden():
    return GoldenPKnl()


def small(spec=SPEC, **options):
    return PKnl(spec, **({"width": 4, "levels": 2} | options), generator=seeded())


def frames(batch=3, length=SPEC.length, seed=2):
    return torch.rand(batch, length, *SPEC.frame_shape, generator=seeded(seed))


# The published code


def test_warp(golden):
    motion, image = golden.expected["part_motion"], golden.expected["part_image"]
    golden.check(sampling_grid(motion), "part_sampling_grid")
    golden.check(warp_bilinear(image, motion), "part_warp_align_true")
    golden.check(warp_bilinear(image, motion, align_corners=False), "part_warp_align_false")
    golden.check(warp_bilinear(image, motion, padding="border"), "part_warp_align_true_border")
    column = torch.tensor([2 / 4, 0.0]).view(1, 2, 1, 1).expand(1, 2, 6, 5)
    golden.check(warp_bilinear(image[:1], column), "part_shift_one_column_right")


def test_kernel_of_the_paper(golden):
    motion, image = golden.expected["part_motion"], golden.expected["part_image"]
    golden.check(warp_gaussian(image, motion, 0.5), "own_gaussian_warp_DDt0.5")
    normalised = warp_gaussian(image, motion, 0.5, padding="border")
    golden.check(normalised, "own_gaussian_warp_normalised_DDt0.5")


def test_terms_of_a_motion(golden):
    motion = golden.expected["part_motion"]
    golden.check(smoothness(motion), "part_smoothness")
    golden.check(published_divergence(motion).square().mean(), "part_divergence")
    golden.check(corrected_divergence(motion).square().mean(), "own_true_divergence")
    golden.check(motion.square().mean(), "part_magnitude")


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_forecasts_of_each_time(golden, variant):
    model = golden.model
    upsampling, model.align_sampling = VARIANTS[variant]
    for layer in model.estimator.decoder:
        layer.align_corners = upsampling
    golden.check(model.forecast(golden.context, 3).samples[0, :, :, 0], f"forecast_{variant}")
    moves = model.moves(golden.context)
    motions = torch.stack([next(moves).motion for _ in range(3)], dim=1)
    golden.check(motions, f"eval_{variant}_motion")
    golden.check(model.loss_terms(golden.context, golden.target).T, f"eval_{variant}_terms")


def test_training(golden):
    model, known = golden.model.train(), golden.expected
    batch = Batch.of(torch.cat([golden.context, golden.target], dim=1), 4)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    moves = model.moves(golden.context)
    moved = [next(moves) for _ in range(3)]
    golden.check(torch.stack([one.motion for one in moved], dim=1), "train_torch10_motion")
    found = torch.stack([one.frame for one in moved], dim=1)[:, :, 0]
    golden.check(found, "train_torch10_predictions")
    for name in known:
        if name.startswith("after_train_forward_"):
            golden.check(golden.named(name.removeprefix("after_train_forward_")), name)
    golden.check(model.loss_terms(golden.context, golden.target).T, "train_torch10_terms")
    model.load_state_dict(state)
    terms = model.loss(batch)
    golden.check(torch.stack([terms[name] for name in TERMS]), "train_torch10_mean_terms")
    golden.check(terms["total"], "train_torch10_total")
    terms["total"].backward()
    names = golden.config["parameter_order"]
    norms = torch.stack([golden.named(name).grad.norm() for name in names])
    golden.check(norms, "train_torch10_grad_norms")
    assert len(names) == len(list(model.parameters()))
    torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=4e-4).step()
    for name in known:
        if name.startswith("after_adam_"):
            weight = golden.named(name.removeprefix("after_adam_"))
            torch.testing.assert_close(weight.detach(), known[name], atol=2e-4, rtol=0)


@pytest.mark.parametrize("version", [2018, 2019])
@pytest.mark.parametrize(
    ("upsample", "ours"),
    [("bilinear", "bilinear"), ("nearest", "nearest"), ("deconv", "transposed")],
)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_published_weights_of_all_variants(version, upsample, ours, batch_norm):
    options = {"upsampling": ours, "batch_norm": batch_norm, "divergence": "published"}
    model = small(version=version, normalise="none", **options)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=seeded())
    own = model.state_dict()
    arrays = {theirs: own[name].numpy() for name, theirs in published_names(model).items()}
    config = {"frame_size": SPEC.space, "context": 3, "horizon": 2, "upsample": upsample}
    commit = {2018: "75e868b", 2019: "f7007c5"}[version]
    config |= {"batch_norm": batch_norm, "system": f"emited/flow@{commit}"}
    found = from_arrays("pknl", arrays, config)
    motion = found.motion(frames(length=3)).pixels
    torch.testing.assert_close(motion, model.motion(frames(length=3)).pixels)
    if upsample == "bilinear":
        assert found.estimator.decoder[0].align_corners == (version == 2018)


def twin_of_2018(arrays, x):
    """The estimator of 2018 layer by layer, under its published names, in float64."""
    w = {name: torch.from_numpy(array).double() for name, array in arrays.items()}

    def leaky(maps):
        return torch.where(maps > 0, maps, 0.1 * maps)

    def conv(name, maps, stride):
        maps = F.conv2d(maps, w[f"{name}.0.weight"], stride=stride, padding=1)
        mean, var = w[f"{name}.1.running_mean"], w[f"{name}.1.running_var"]
        scale = w[f"{name}.1.weight"] / (var + 1e-5).sqrt()
        shift = w[f"{name}.1.bias"] - mean * scale
        return leaky(maps * scale[:, None, None] + shift[:, None, None])

    def deconv(name, maps):
        maps = F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=True)
        return leaky(F.conv2d(maps, w[f"{name}.1.weight"], w[f"{name}.1.bias"], padding=1))

    conv1 = conv("conv1", x.double(), 2)
    conv2 = conv("conv2", conv1, 2)
    conv3 = conv("conv3_1", conv("conv3", conv2, 2), 1)
    conv4 = conv("conv4_1", conv("conv4", conv3, 2), 1)
    found = deconv("deconv4", conv("conv5_1", conv("conv5", conv4, 2), 1))
    for number, skip in ((3, conv4), (2, conv3), (1, conv2), (0, conv1)):
        found = deconv(f"deconv{number}", torch.cat([skip, found], dim=1))
    joined = torch.cat([x.double(), found], dim=1)
    return F.conv2d(joined, w["predict_flow0.weight"], padding=1).float()


@torch.no_grad()
def test_the_version_of_2018_is_its_twin(golden):
    generator = np.random.default_rng(0)
    biases = {
        f"deconv{number}.1.bias": generator.normal(
            size=len(golden.weights[f"deconv{number}.1.weight"])
        )
        for number in range(5)
    }
    arrays = golden.weights | {name: bias.astype(np.float32) for name, bias in biases.items()}
    model = from_arrays("pknl", arrays, golden.config)
    motion = next(model.moves(golden.context)).motion
    expected = twin_of_2018(arrays, golden.context[:, :, 0])
    torch.testing.assert_close(motion, expected, atol=1e-5, rtol=1e-5)


def test_settings_and_weights_of_another_kind_are_refused(golden):
    weights, config = golden.weights, golden.config
    with pytest.raises(InputError, match=r"upsample is bilinear, .* got 'cubic'"):
        from_arrays("pknl", weights, config | {"upsample": "cubic"})
    with pytest.raises(InputError, match="not weights of PKnl"):
        from_arrays("pknl", {}, config)


# Advection and diffusion


def test_diffusion_adds_its_variance_to_a_gaussian():
    """The heat equation spreads a Gaussian of variance s² to s² + 2 D."""
    y, x = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")

    def blob(variance, row=20.0, column=20.0):
        distance = (y - row).square() + (x - column).square()
        return (torch.exp(-distance / (2 * variance)) / (2 * math.pi * variance))[None, None]

    motion = torch.tensor([2.5, -1.25]).view(1, 2, 1, 1).expand(1, 2, 41, 41) * 2 / 40
    for padding in ("zeros", "border"):
        found = warp_gaussian(blob(4.0), motion, 0.75, padding=padding)
        torch.testing.assert_close(found, blob(5.5, 18.75, 22.5), atol=2e-6, rtol=0)


@pytest.mark.parametrize("warp", ["bilinear", "gaussian"])
def test_a_motion_that_is_known_is_returned_in_pixels(warp):
    model = small(warp=warp, padding="border", diffusion=0.3)
    torch.nn.init.zeros_(model.estimator.head.weight)
    context = frames(length=3)
    still = model.motion(context, 2)
    torch.testing.assert_close(still.pixels, torch.zeros(3, 2, 2, 8, 12), atol=1e-5, rtol=0)
    if warp == "bilinear":  # then the forecast is persistence
        found = model.forecast(context, 2).samples[0]
        torch.testing.assert_close(found, context[:, -1:].expand_as(found))
    shift = torch.tensor([3.0, -2.0])  # pixels to the right and down
    halves = shift * 2 / torch.tensor([11.0, 7.0])
    pixels = model.in_pixels(halves.view(1, 2, 1, 1).expand(1, 2, 8, 12))
    torch.testing.assert_close(pixels, shift.view(1, 2, 1, 1).expand(1, 2, 8, 12))


def test_a_pixel_at_rest_is_one_that_the_warp_leaves_in_its_place():
    model = small(align_sampling=False)
    zeros = torch.zeros(1, 2, 8, 12)
    image = torch.arange(12.0).expand(1, 1, 8, 12)  # its value is its column
    found = warp_bilinear(image, zeros, padding="border", align_corners=False)
    inner = (image - found)[0, 0, :, 1:-1]
    torch.testing.assert_close(model.in_pixels(zeros)[0, 0, :, 1:-1], inner)
    assert inner.abs().max() > 0.3


def labels(**changes):
    axes = {
        "lat": Variable(("lat",), np.linspace(46, 39, 8), {"units": "degrees_north"}),
        "lon": Variable(("lon",), np.arange(175, 187) % 360 - 360.0, {"units": "degrees_east"}),
    }
    known = {
        "space": ("lat", "lon"),
        "variables": axes,
        "channels": {},
        "times": np.array(["2001-01-01"], "datetime64[ns]"),
        "step": Step(86400.0, "seconds"),
    }
    return Coordinates(**(known | changes))


def test_velocity_on_a_sphere_points_east_and_north():
    pixels = torch.tensor([2.0, -1.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 8, 12)
    field = MotionField(pixels=pixels, times=torch.tensor([1.0]), coordinates=labels())
    degree = EARTH_RADIUS * math.pi / 180
    east, north = field.velocity()[0, 0]
    latitude = torch.linspace(46, 39, 8)
    expected = 2 * degree * torch.cos(torch.deg2rad(latitude)) / 86400
    torch.testing.assert_close(east, expected[:, None].expand(8, 12))
    torch.testing.assert_close(north, torch.full((8, 12), degree / 86400))  # rows go southwards


def test_velocity_on_a_turned_grid_of_two_dimensional_coordinates():
    rows, columns = np.meshgrid(np.arange(8.0), np.arange(12.0), indexing="ij")
    turned = {  # rows go east, columns north, by a tenth of a degree round the equator
        "lat": Variable(("j", "i"), (columns - 5.5) / 10, {"units": "degrees_north"}),
        "lon": Variable(("j", "i"), rows / 10, {"units": "degrees_east"}),
    }
    pixels = torch.tensor([2.0, 3.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 8, 12)
    field = MotionField(
        pixels=pixels,
        times=torch.tensor([1.0]),
        coordinates=labels(space=("j", "i"), variables=turned),
    )
    tenth = EARTH_RADIUS * math.pi / 1800 / 86400
    east, north = field.velocity()[0, 0]
    torch.testing.assert_close(north, torch.full((8, 12), 2 * tenth))
    torch.testing.assert_close(east, torch.full((8, 12), 3 * tenth), rtol=1e-4, atol=0)


def test_velocity_of_projected_and_of_bare_fields():
    pixels = torch.ones(1, 1, 2, 8, 12)
    plane = {
        "y": Variable(("y",), 2.0 * np.arange(8), {"units": "km"}),
        "x": Variable(("x",), 5000.0 * np.arange(12), {"units": "m"}),
    }
    hourly = labels(space=("y", "x"), variables=plane, step=Step(3600.0, "seconds"))
    found = MotionField(pixels=pixels, times=torch.ones(1), coordinates=hourly).velocity()
    torch.testing.assert_close(found[0, 0, :, 3, 3], torch.tensor([5000.0, 2000.0]) / 3600)
    bare = MotionField(pixels=pixels, times=torch.ones(1))
    assert float(bare.velocity(500.0, 100.0).mean()) == 5
    with pytest.raises(InputError, match="labelled frames, or"):
        bare.velocity()
    mixed = labels().variables | {"lat": plane["y"]._replace(dims=("lat",))}
    for changes, message in (
        ({"variables": {}}, "Distances along lat need .* got none"),
        ({"step": Step(1.0, "numbers")}, "dates, got numbers without a unit"),
        ({"variables": mixed}, "in degrees, and the other one is a length"),
    ):
        field = MotionField(pixels=pixels, times=torch.ones(1), coordinates=labels(**changes))
        with pytest.raises(InputError, match=message):
            field.velocity()


def test_motion_is_unknown_where_nothing_was_observed_and_leaves_added_points_out():
    model, values = small(), frames(length=3)
    mask = torch.ones_like(values, dtype=torch.bool)
    mask[..., 2, 3] = False
    mask[..., -1, :] = False
    variables = labels().variables
    narrow = variables | {"lat": variables["lat"]._replace(values=variables["lat"].values[:7])}
    context = Frames(
        values=values.masked_fill(~mask, torch.nan),
        times=torch.arange(-2.0, 1.0),
        channels=SPEC.channels,
        mask=mask,
        coordinates=labels(variables=narrow),
    )
    field = model.motion(context)
    assert field.pixels.shape == (3, 2, 2, 7, 12)
    assert torch.equal(field.pixels.isnan().all(dim=2), ~mask[:, :2, 0, :7])
    assert field.velocity().isnan().sum() == 3 * 2 * 2


# What is ours


def test_errors_are_means_over_known_values_of_all_times():
    mask = torch.rand(3, 5, *SPEC.frame_shape, generator=seeded(3)) > 0.2
    mask[:, 4, :, 2:] = False
    model = small()
    batch = Batch.of(frames().masked_fill(~mask, torch.nan), 3, mask=mask)
    context, target = model.inputs(batch.context), model.inputs(batch.target)
    moves = model.moves(context)
    found = torch.stack([next(moves).frame for _ in range(2)], dim=1)
    expected = (found - target).square()[mask[:, 3:]].mean()
    torch.testing.assert_close(model.loss(batch)["photometric"], expected)


def test_weights_make_the_total():
    options = {"smoothness_weight": 2.0, "divergence_weight": 3.0, "magnitude_weight": 5.0}
    model = small(**options)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=seeded())
    terms = model.loss(Batch.of(frames(), 3))
    weights = torch.tensor([1.0, 2.0, 3.0, 5.0])
    expected = (weights * torch.stack([terms[name] for name in TERMS])).sum()
    torch.testing.assert_close(terms["total"], expected)


def test_a_motion_needs_a_horizon():
    with pytest.raises(InputError, match="horizon of 1 to"):
        small().motion(frames(length=3), 0)
