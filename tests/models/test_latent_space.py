"""Contents swapped, dynamics interpolated, time warped: against forecasts and Euler's steps."""

from dataclasses import replace

import pytest
import torch
from helpers.seeds import seeded

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.base import Forecaster
from statecast.models.baselines import Persistence
from statecast.models.latent_space import (
    change_speed,
    content_swap,
    freeze,
    infer_and_continue,
    interpolate,
    interpolate_latents,
    reverse,
    warp,
    with_content,
)
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.nn.blocks import initialise_normal
from statecast.nn.random import standard_normal

IMAGES = FrameSpec(
    channels=("u",), space=(16, 16), context=3, horizon=4, value_range=(250.0, 310.0)
)


def srvp(seed=0, **options):
    """With skips, frames that make a difference, and a latent that stays small."""
    defaults = {
        "width": 4, "code_size": 6, "latent_size": 4, "noise_size": 3, "inference_hidden": 8,
        "content_size": 8,
        "transition_hidden": 9, "transition_gain": 0.5, "skips": True,
    }  # fmt: skip
    model = SRVP(IMAGES, **(defaults | options), generator=seeded(seed))
    for codec in (model.encoder, model.decoder):
        initialise_normal(codec, 0.2, seeded(seed))
    return model


def separable(seed=0, **options):
    defaults = {
        "encoder_width": 4, "decoder_width": 4, "content_size": 5, "latent_size": 4,
        "dynamics_hidden": 9, "dynamics_gain": 0.5,
    }  # fmt: skip
    model = Separable(IMAGES, **(defaults | options), generator=seeded(seed))
    for codec in (model.content_encoder, model.dynamics_encoder, model.decoder):
        initialise_normal(codec, 0.2, seeded(seed))
    return model


def frames(batch=1, length=3, seed=1):
    return 250 + 60 * torch.rand(batch, length, 1, 16, 16, generator=seeded(seed))


MODELS = {"srvp": srvp, "srvp, 2 substeps": lambda: srvp(substeps=2), "separable": separable}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


class Painter(Forecaster):
    """The last frame of the content, moved by one number per frame, drawn for the dynamics."""

    supports_content_swap = stochastic = True

    def __init__(self, spec):
        super().__init__(spec)

    def loss(self, batch, *, step=0, generator=None):
        return {"total": torch.zeros(())}

    def predict(self, context, times, *, samples, substeps, solver, content_from, generator):
        content = context if content_from is None else content_from
        batch = len(context.values)
        drawn = standard_normal((samples, batch, len(times), 1, 1, 1), context.values, generator)
        return content.values[None, :, -1:] + context.values.mean() + drawn


def own_video(model, context, horizon=4, seed=7):
    """Reconstruction and forecast of a context."""
    return model.decode_latents(infer_and_continue(model, context, horizon, generator=seeded(seed)))


class TestContentSwap:
    def test_a_model_without_latents_shows_its_forecasts(self):
        """With random numbers in common, so that a row differs from the next by content alone."""
        contents, dynamics = frames(3, seed=1), frames(2, seed=2)
        made = content_swap(Painter(IMAGES), contents, dynamics, 4, samples=2, generator=seeded(7))
        assert made.samples.shape == (2, 3, 2, 4, 1, 16, 16)
        assert made.times.tolist() == [1, 2, 3, 4]
        last = contents[:, None, -1:]  # (content, dynamics, time, …)
        motion = made.samples - last
        torch.testing.assert_close(motion[:, :1].expand_as(motion), motion)
        assert float(motion.std(dim=0).min()) > 0  # samples differ
        with pytest.raises(InputError, match="Persistence has no content to swap"):
            content_swap(Persistence(IMAGES), contents, dynamics)

    def test_every_cell_is_the_forecast_with_that_content(self, model):
        contents, dynamics = frames(3, seed=1), frames(2, seed=2)
        made = content_swap(model, contents, dynamics, 4, samples=2, generator=seeded(7))
        assert made.samples.shape == (2, 3, 2, 7, 1, 16, 16)
        assert made.times.tolist() == list(range(-2, 5))
        for row in range(3):
            content = contents[row : row + 1]
            expected = model.forecast(
                dynamics, 4, samples=2, content_from=content, generator=seeded(7)
            )
            found = made.of_content(row)
            torch.testing.assert_close(found.samples[:, :, 3:], expected.samples)
        assert float(made.samples.std(dim=1).mean()) > 0.1  # contents differ
        assert float(made.samples.std(dim=2).mean()) > 0.1  # and so do dynamics

    def test_a_video_with_its_own_content_is_itself(self, model):
        videos = frames(3)
        made = content_swap(model, videos, videos, 4, generator=seeded(7))
        own = own_video(model, videos)
        diagonal = torch.stack([made.samples[:, i, i] for i in range(3)], dim=1)
        torch.testing.assert_close(diagonal, own.samples)

    def test_contents_cost_no_chance(self, model):
        dynamics = frames(2, seed=2)
        few = content_swap(model, frames(1), dynamics, 2, generator=seeded(7))
        many = content_swap(model, frames(3), dynamics, 2, generator=seeded(7))
        assert few.samples.shape[1] == 1
        assert many.samples.shape[1] == 3
        own = infer_and_continue(model, dynamics, 2, generator=seeded(7))
        given = model.infer_latents(frames(3)[2:3])
        expected = model.decode_latents(with_content(own, given))
        torch.testing.assert_close(many.samples[:, 2], expected.samples)

    def test_skips_come_with_the_content(self):
        model = srvp()
        own, other = (model.infer_latents(frames(seed=s), generator=seeded(7)) for s in (1, 2))
        swapped = with_content(own, other)
        assert swapped.content.skips
        for mine, theirs in zip(swapped.content.skips, other.content.skips, strict=True):
            assert torch.equal(mine, theirs)
        assert torch.equal(swapped.states, own.states)

    def test_what_does_not_fit_is_refused(self, model):
        latents = model.infer_latents(frames(3))
        with pytest.raises(InputError, match="of one model"):
            with_content(latents, srvp(seed=3).infer_latents(frames()))
        with pytest.raises(InputError, match="1 sequence or from 3"):
            with_content(latents, model.infer_latents(frames(2)))
        with pytest.raises(InputError, match=r"Those of the contents are \(1, 8, 8\)"):
            content_swap(model, torch.zeros(1, 3, 1, 8, 8), frames())
        with pytest.raises(InputError, match="at least 3 frame"):
            content_swap(model, frames(length=2), frames())
        with pytest.raises(InputError, match="at least 1 sample"):
            content_swap(model, frames(), frames(), samples=0)


class TestInterpolation:
    def test_ends_are_the_two_videos_to_the_last_bit(self, model):
        first, second = frames(2, seed=1), frames(2, seed=2)
        start, _, end = interpolate(model, first, second, (0, 0.5, 1), 4, generator=seeded(7))
        assert torch.equal(start.samples, own_video(model, first).samples)
        moving = infer_and_continue(model, second, 4, generator=seeded(7))
        content = model.infer_latents(first)
        assert torch.equal(end.samples, model.decode_latents(with_content(moving, content)).samples)
        forecast = model.forecast(second, 4, content_from=first, generator=seeded(7))
        torch.testing.assert_close(end.samples[:, :, 3:], forecast.samples)

    def test_between_two_equal_videos_there_is_nothing_else(self, model):
        video = frames(seed=1)
        for made in interpolate(model, video, video, (0, 0.3, 1), 4, generator=seeded(7)):
            torch.testing.assert_close(made.samples, own_video(model, video).samples)

    def test_first_state_and_noise_are_linear_and_the_rest_follows(self):
        model = srvp(transition_gain=1.4)
        one, other = (model.infer_latents(frames(seed=s), generator=seeded(s)) for s in (1, 2))
        mixed = interpolate_latents(model, one, other, 0.25)
        torch.testing.assert_close(mixed.noise, 0.75 * one.noise + 0.25 * other.noise)
        state = 0.75 * one.states[:, :, 0] + 0.25 * other.states[:, :, 0]
        for index in range(3):
            torch.testing.assert_close(mixed.states[:, :, index], state)
            if index < 2:
                joined = torch.cat([state, mixed.noise[:, :, index]], dim=-1)
                state = state + model.transition.velocity(joined).detach()
        # The transition is not linear, so that this is no interpolation of states.
        linear = torch.lerp(one.states[:, :, -1], other.states[:, :, -1], 0.25)
        assert not torch.allclose(mixed.states[:, :, -1], linear, rtol=1e-4)

    def test_separable_interpolates_its_dynamics_code(self):
        model = separable()
        one, other = (model.infer_latents(frames(seed=s)) for s in (1, 2))
        mixed = interpolate_latents(model, one, other, 0.5)
        start = 0.5 * (one.states[0, :, 0] + other.states[0, :, 0])
        torch.testing.assert_close(mixed.states[0], model.path_from(start, 3).detach())

    def test_chance_is_common_to_all_weights(self):
        """With a prior that ignores the state, all weights have the same noise in the future."""
        model = srvp()
        with torch.no_grad():
            for name, parameter in model.prior.named_parameters():
                if name.endswith("weight"):
                    parameter.zero_()
        one, other = (model.infer_latents(frames(seed=s), generator=seeded(7)) for s in (1, 2))
        weights = (0, 0.4, 0.8)
        made = interpolate(model, frames(seed=1), frames(seed=2), weights, 4, generator=seeded(7))
        generator = seeded(7)
        model.infer_latents(frames(seed=1), generator=generator)
        state = generator.get_state()
        noises = []
        for weight, forecast in zip(weights, made, strict=True):
            generator.set_state(state)
            mixed = interpolate_latents(model, one, other, weight)
            longer = model.continue_latents(mixed, 4, generator=generator)
            torch.testing.assert_close(model.decode_latents(longer).samples, forecast.samples)
            noises.append(longer.noise[:, :, 2:])
        torch.testing.assert_close(noises[0], noises[1])
        torch.testing.assert_close(noises[0], noises[2])

    @pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan"), float("inf")])
    def test_weights_outside_0_and_1_are_refused(self, weight):
        with pytest.raises(InputError, match=r"lie in \[0, 1\]"):
            interpolate(srvp(), frames(), frames(), [0.0, weight])

    @pytest.mark.parametrize(
        ("second", "message"),
        [
            (frames(length=5), "same shape"),
            (frames(2), "same shape"),
            (torch.zeros(1, 3, 1, 8, 8), r"\(1, 16, 16\)"),
        ],
    )
    def test_videos_that_do_not_fit_are_refused(self, model, second, message):
        if message == "same shape" and second.shape[0] == 1 and isinstance(model, Separable):
            pytest.skip("a longer context is cut to its last frames")
        with pytest.raises(InputError, match=message):
            interpolate(model, frames(), second, [0.5])

    def test_paths_that_do_not_fit_are_refused(self):
        model = srvp()
        one = model.infer_latents(frames())
        with pytest.raises(InputError, match="same model"):
            interpolate_latents(model, one, srvp(seed=2).infer_latents(frames()), 0.5)
        with pytest.raises(InputError, match="same times"):
            interpolate_latents(model, one, replace(one, times=one.times + 1), 0.5)
        with pytest.raises(InputError, match="same solvers"):
            interpolate_latents(model, one, model.infer_latents(frames(), substeps=3), 0.5)
        with pytest.raises(InputError, match="lie in"):
            interpolate(model, frames(), frames(), [])


class TestTime:
    def test_reversed_twice_it_is_the_video(self, model):
        latents = infer_and_continue(model, frames(2), 4, generator=seeded(7))
        video, back = model.decode_latents(latents), reverse(model, latents)
        torch.testing.assert_close(back.samples.flip(2), video.samples)
        assert torch.equal(back.times, video.times)

    def test_frozen_it_stays(self, model):
        latents = infer_and_continue(model, frames(2), 4, generator=seeded(7))
        video, frozen = model.decode_latents(latents), freeze(model, latents, 1.0, 5)
        assert frozen.times.tolist() == list(range(-2, 7))
        torch.testing.assert_close(frozen.samples[:, :, :4], video.samples[:, :, :4])
        stay = video.samples[:, :, 3:4].expand(-1, -1, 6, -1, -1, -1)
        torch.testing.assert_close(frozen.samples[:, :, 3:], stay)
        between = freeze(model, latents, 0.5, 1)
        torch.testing.assert_close(
            between.samples[:, :, 3], model.decode_latents(latents, [0.5]).samples[:, :, 0]
        )

    def test_slowed_down_it_shows_the_sub_states_of_euler(self):
        model = srvp(substeps=2).eval()
        latents = infer_and_continue(model, frames(2), 4, generator=seeded(7))
        slow = change_speed(model, latents, 0.5)
        assert slow.times.tolist() == list(range(-2, 11))
        torch.testing.assert_close(slow.samples[:, :, ::2], model.decode_latents(latents).samples)
        halves = []
        for index in range(6):
            joined = torch.cat([latents.states[:, :, index], latents.noise[:, :, index]], dim=-1)
            change = model.transition.velocity(joined).detach()
            halves.append(latents.states[:, :, index] + 0.5 * change)
        decoded = model.decode_all(latents.content, torch.stack(halves, dim=2)).detach()
        found = model.normaliser.normalise(slow.samples[:, :, 1::2], axis=3)
        torch.testing.assert_close(found, decoded, atol=1e-5, rtol=1e-4)

    def test_played_at_twice_the_speed_every_other_frame_is_left(self, model):
        latents = infer_and_continue(model, frames(2), 4, generator=seeded(7))
        fast = change_speed(model, latents, 2)
        torch.testing.assert_close(fast.samples, model.decode_latents(latents).samples[:, :, ::2])
        assert fast.times.tolist() == [-2, -1, 0, 1]

    def test_finer_steps_run_the_same_path_again(self):
        model = srvp()
        latents = infer_and_continue(model, frames(2), 4, generator=seeded(7))
        fine = model.reintegrate_latents(latents, substeps=4)
        assert torch.equal(fine.noise, latents.noise)
        slow = change_speed(model, latents, 0.25, substeps=4)
        torch.testing.assert_close(slow.samples, change_speed(model, fine, 0.25).samples)
        torch.testing.assert_close(slow.samples[:, :, ::4], model.decode_latents(fine).samples)
        assert not torch.equal(fine.states[:, :, 1:], latents.states[:, :, 1:])

    def test_any_list_of_times(self, model):
        latents = infer_and_continue(model, frames(2), 4, generator=seeded(7))
        times = [0.5, 4, -2, -2, 1.25]
        found = warp(model, latents, times)
        for index, time in enumerate(times):
            alone = model.decode_latents(latents, [time]).samples[:, :, 0]
            torch.testing.assert_close(found.samples[:, :, index], alone)

    @pytest.mark.parametrize(
        ("act", "message"),
        [
            (lambda m, path: warp(m, path, [-3.0]), "from time -2 to 2, got a time of -3"),
            (lambda m, path: warp(m, path, [2.5]), "got a time of 2.5"),
            (lambda m, path: warp(m, path, []), "list of finite numbers"),
            (lambda m, path: warp(m, path, [float("nan")]), "list of finite numbers"),
            (lambda m, path: freeze(m, path, 3.0, 2), "got a time of 3"),
            (lambda m, path: freeze(m, path, 0.0, -1), "0 to 100000 frames, got -1"),
            (lambda m, path: freeze(m, path, 0.0, 2**31), "0 to 100000 frames, got 2147483648"),
            (lambda m, path: change_speed(m, path, 0.0), "positive and finite, got 0"),
            (lambda m, path: change_speed(m, path, -1.0), "positive and finite"),
            (lambda m, path: change_speed(m, path, float("inf")), "positive and finite"),
            (lambda m, path: change_speed(m, path, 1e-9), "more than 100000"),
            (lambda m, path: change_speed(m, path, 0.5, substeps=0), "at least 1 step"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, model, act, message):
        latents = infer_and_continue(model, frames(), 2, generator=seeded(7))
        with pytest.raises(InputError, match=message):
            act(model, latents)


@pytest.mark.parametrize(
    "act",
    [
        lambda m, path: infer_and_continue(m, frames()),
        lambda m, path: interpolate(m, frames(), frames(), [0.5]),
        lambda m, path: interpolate_latents(m, path, path, 0.5),
        reverse,
        lambda m, path: freeze(m, path, 0.0, 1),
        lambda m, path: change_speed(m, path, 2.0, substeps=1),
    ],
)
def test_a_model_without_latents_is_refused(act):
    path = srvp().infer_latents(frames())
    with pytest.raises(InputError, match="Persistence has no latent space"):
        act(Persistence(IMAGES), path)
