"""MCnet: the published code number by number, and what ours adds to it."""

import numpy as np
import pytest
import torch
from helpers.golden import Golden, tensors_of
from helpers.seeds import seeded

from statecast.data.user.arrays import Arrays
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.mcnet.discriminator import padded
from statecast.models.mcnet.model import GENERATOR, MCnet, cross_entropy, gradient_difference
from statecast.models.mcnet.networks import unpool
from statecast.runs.official import from_arrays
from statecast.training.loop import Trainer
from statecast.training.options import TrainingOptions

COLOURS = ("red", "green", "blue")
SPEC = FrameSpec(channels=("a",), space=(8, 16), context=3, horizon=2, value_range=(0.0, 1.0))


class GoldenMCnet(Golden):
    """The model for frames of some channels."""

    def __init__(self, channels):
        super().__init__("mcnet", channels=channels)
        self.frames = (self.of_sequence("frames") + 1) / 2
        self.differences = self.of_sequence("differences")

    def __getitem__(self, name):
        return self.expected[f"channels_{self.config['channels']}/{name}"]

    def check(self, found, name):
        torch.testing.assert_close(found, self[name].view_as(found), atol=1e-6, rtol=1e-5)

    def of_sequence(self, name):
        """An array (batch, y, x, time, channel) as (batch, time, channel, y, x)."""
        return self[name].permute(0, 3, 4, 1, 2)

    def forecast(self):
        """The forecast from the recorded differences, which those of colours are no others of."""
        frame, state = self.model.forecast_next(self.differences, self.frames[:, 3], None)
        found = [frame]
        while len(found) < 3:
            frame, state = self.model.step(frame, state, noise=None)
            found.append(frame)
        return torch.stack(found, dim=1)


@pytest.fixture(params=[1, 3])
def golden(request):
    return GoldenMCnet(request.param)


def small(spec=SPEC, **options):
    return MCnet(spec, **({"width": 4} | options), generator=seeded())


def frames(batch=3, length=SPEC.length, spec=SPEC, seed=2):
    return torch.rand(batch, length, *spec.frame_shape, generator=seeded(seed))


def norm(loss, weights):
    gradients = torch.autograd.grad(loss, weights, retain_graph=True)
    return torch.stack([gradient.norm() for gradient in gradients]).norm()


# The published code


def test_forecast_losses_and_gradients(golden):
    model, context, target = golden.model, golden.frames[:, :4], golden.frames[:, 4:]
    forecast = golden.forecast()
    torch.testing.assert_close(
        2 * forecast - 1, golden.of_sequence("forecast"), atol=1e-6, rtol=1e-5
    )
    error = 4 * (forecast - target).square().mean()
    gradient = gradient_difference(forecast, target)
    golden.check(error, "L_p")
    golden.check(gradient, "L_gdl")
    golden.check(error + gradient, "L_img")
    real, generated = model.logits(context, target), model.logits(context, forecast)
    golden.check(real, "logits_real")
    golden.check(generated, "logits_fake")
    deception = cross_entropy(generated, truth=True)
    golden.check(deception, "L_GAN")
    named = dict(model.named_parameters())
    weights = [weight for name, weight in named.items() if name.startswith(GENERATOR)]
    found = norm(error + gradient + model.adversary_weight * deception, weights)
    golden.check(found, "grad_norm_generator")
    losses = cross_entropy(real, truth=True), cross_entropy(generated, truth=False)
    golden.check(losses[0], "d_loss_real")
    golden.check(losses[1], "d_loss_fake")
    found = norm(sum(losses), list(model.discriminator.parameters()))
    golden.check(found, "grad_norm_discriminator")
    assert len(weights) + len(list(model.discriminator.parameters())) == len(named)


def test_losses_of_grey_frames_are_those_of_the_updates():
    golden = GoldenMCnet(1)
    model, batch = golden.model, Batch.of(golden.frames, 4, channels=("intensity",))
    torch.testing.assert_close(
        model.motion_image(golden.frames[:, :4]).diff(dim=1), golden.differences
    )
    terms = model.update_loss("model", batch)
    golden.check(terms["error"], "L_p")
    golden.check(terms["gradient"], "L_gdl")
    golden.check(terms["deception"], "L_GAN")
    expected = golden["L_img"] + 0.02 * golden["L_GAN"]
    torch.testing.assert_close(terms["total"].detach(), expected)
    terms = model.update_loss("adversary", batch)
    golden.check(terms["true"], "d_loss_real")
    golden.check(terms["forecast"], "d_loss_fake")
    torch.testing.assert_close(terms["total"], terms["true"] + terms["forecast"])
    found = model.forecast(golden.frames[:, :4], 3).samples[0]
    torch.testing.assert_close(2 * found - 1, golden.of_sequence("forecast"), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("power", [1, 2])
def test_gradient_difference(power):
    known = tensors_of("mcnet")
    a, b = (known[f"gdl/{name}"].permute(0, 3, 1, 2) for name in "ab")
    found = gradient_difference(a, b, power=power)
    assert float(found) == pytest.approx(float(known[f"gdl/alpha_{power}"]), abs=1e-6)
    assert float(found) == pytest.approx(float(known[f"gdl/twin_alpha_{power}"]), abs=1e-6)


def test_the_released_weights_lack_a_discriminator():
    golden = GoldenMCnet(1)
    generator = {k: v for k, v in golden.weights.items() if "/DIS/" not in k}
    assert from_arrays("mcnet", generator, golden.config).discriminator is None


# Its parts


def test_unpooling_puts_values_at_the_top_left():
    maps = torch.arange(1.0, 5.0).view(1, 1, 2, 2)
    expected = [[1.0, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    assert unpool(maps)[0, 0].tolist() == expected


@pytest.mark.parametrize(("side", "before", "after"), [(8, 1, 2), (5, 2, 2)])
def test_padding_of_strided_convolutions_is_tensorflow_s(side, before, after):
    found = padded(torch.ones(1, 1, side, side))[0, 0, side // 2 + before]
    assert found.tolist() == [0.0] * before + [1.0] * side + [0.0] * after


def test_gradient_difference_sees_a_shift_at_the_border_alone():
    image = frames()[:, 0]
    assert float(gradient_difference(image, image)) == 0
    rows, columns = SPEC.space
    found = float(gradient_difference(image + 0.5, image))
    assert found == pytest.approx(0.5 * (1 / rows + 1 / columns), rel=1e-5)


def test_a_context_at_rest_has_no_motion():
    model, context = small(), frames(length=1).expand(-1, 3, -1, -1, -1)
    seen = []
    model.motion_encoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs))
    model.forecast(context, 1)
    assert float(seen[0][0].abs().max()) == 0


def test_differences_of_colours_are_grey_whatever_their_order():
    spec = FrameSpec(channels=COLOURS, space=(8, 16), context=3, horizon=2, value_range=(0.0, 1.0))
    turned = FrameSpec(
        channels=COLOURS[::-1], space=(8, 16), context=3, horizon=2, value_range=(0.0, 1.0)
    )
    image = frames(spec=spec)
    found = small(spec).motion_image(image)
    assert found.shape == (3, 5, 1, 8, 16)
    torch.testing.assert_close(found, small(turned).motion_image(image.flip(2)))
    expected = 0.2989 * image[:, :, 0] + 0.587 * image[:, :, 1] + 0.114 * image[:, :, 2]
    torch.testing.assert_close(found[:, :, 0], expected)


# Training


def test_terms_are_means_over_known_values_and_known_neighbours():
    mask = torch.rand(3, 5, *SPEC.frame_shape, generator=seeded(3)) > 0.2
    model = small(gradient_weight=3.0)
    batch = Batch.of(frames().masked_fill(~mask, torch.nan), 3, mask=mask)
    target = model.inputs(batch.target)
    forecast = model.training_forecast(model.inputs(batch.context), 2)
    terms = model.loss(batch)
    error = 4 * (forecast - target).square()[mask[:, 3:]].mean()
    torch.testing.assert_close(terms["error"], error)
    known, expected = mask[:, 3:], 0.0
    for axis in (3, 4):
        gone = [
            torch.cat([v, torch.zeros_like(v.narrow(axis, 0, 1))], axis).diff(dim=axis).abs()
            for v in (forecast, target)
        ]
        both = known & torch.cat([known, torch.ones_like(known.narrow(axis, 0, 1))], axis).narrow(
            axis, 1, known.shape[axis]
        )
        expected = expected + (gone[0] - gone[1]).abs()[both].mean()
    torch.testing.assert_close(terms["gradient"], expected)
    torch.testing.assert_close(terms["total"], error + 3 * expected)


@pytest.mark.parametrize(
    ("before", "entropies", "after"),
    [
        ([True, True], [0.5, 0.6], [True, True]),
        ([True, True], [0.2, 0.6], [False, True]),  # it is too good, and rests
        ([False, True], [0.5, 0.6], [False, True]),  # from then on
        ([False, True], [0.5, 0.8], [True, True]),  # until the model would rest as well
        ([True, True], [0.2, 0.8], [True, True]),
        ([True, True], [0.5, 0.8], [True, False]),
    ],
)
def test_gates(before, entropies, after):
    model = small(adversary=True)
    model.gates.copy_(torch.tensor(before))
    model.set_gates(torch.tensor(entropies))
    assert model.gates.tolist() == after
    assert [model.takes_update(name) for name in ("adversary", "model")] == after
    model.adversary_gates = False
    assert model.takes_update("adversary")
    assert model.takes_update("model")


@pytest.mark.parametrize("resting", ["adversary", "model"])
def test_weights_that_rest_do_not_change(resting, tmp_path):
    np.save(tmp_path / "frames.npy", frames(batch=20).numpy())
    data = Arrays(path=str(tmp_path / "frames.npy"), context=3, horizon=2, value_range=(0.0, 1.0))
    model = small(data.spec, adversary=True)
    model.gates.copy_(torch.tensor([resting != "adversary", resting != "model"]))
    options = TrainingOptions(
        steps=1, batch_size=4, validate_every=0, device="cpu", precision="float32"
    )
    trainer = Trainer(model, data, tmp_path, options)
    before = {name: value.clone() for name, value in model.named_parameters()}
    values = trainer.training_step(data.windows("train").batch(torch.arange(4)))
    changed = {name for name, value in model.named_parameters() if not value.equal(before[name])}
    adversary = {name for name in before if name.startswith("discriminator")}
    assert changed == (set(before) - adversary if resting == "adversary" else adversary)
    assert {"true", "forecast", "model_error", "model_deception"} <= values.keys()


# What is ours


def test_frames_of_any_units():
    spec = FrameSpec(channels=("u", "v"), space=(16, 8), context=2, horizon=2)
    model, values = small(spec), 280 + 5 * torch.randn(4, 4, 2, 16, 8, generator=seeded())
    model.fit_statistics([Batch.of(values, 2, channels=spec.channels)])
    with torch.no_grad():  # the last layer, so that it asks for more than a sigmoid has
        model.decoder.stages[-1][-1].bias.fill_(-8.0)
    assert float(model.forecast(values[:, :2], 3).samples.mean()) == pytest.approx(262, abs=3)


def test_published_outputs_are_bounded():
    model = small(output="sigmoid")
    with torch.no_grad():
        model.decoder.stages[-1][-1].bias.fill_(1.0)
    found = model.forecast(frames(length=3), 2).samples
    assert 0.7 < float(found.mean()) < float(found.max()) < 1


def test_differences_of_one_context_move_the_last_frame_of_another():
    model, own, other = small().eval(), frames(length=3), frames(length=3, seed=5)
    found = model.forecast(own, 2, content_from=other).samples[0]
    with torch.no_grad():
        first, state = model.forecast_next(own.diff(dim=1), other[:, -1], None)
        moved = (first - other[:, -1]).unsqueeze(1)
        second, _ = model.forecast_next(moved, first, state.memory)
    torch.testing.assert_close(found, torch.stack([first, second], dim=1))


def test_brighter_frames_have_the_same_motion_and_other_content():
    model, context = small().eval(), frames(length=3)
    with torch.no_grad():
        one, other = (
            model.codes_of(Frames.context_of(values, SPEC.channels))
            for values in (context, context + 0.25)
        )
    torch.testing.assert_close(one.dynamics, other.dynamics)
    assert not torch.allclose(one.content, other.content)
