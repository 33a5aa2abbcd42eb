"""SRVP's noise in continuous time: clocks, causality, common paths, and its loss."""

import pytest
import torch
from helpers.seeds import seeded
from helpers.small_srvp import SPEC, frames, small

from statecast.data.base import seeded_generator, window_generators
from statecast.errors import InputError
from statecast.frames import Batch
from statecast.models.latent_space import infer_and_continue, interpolate_latents
from statecast.nn.random import normal_draws

KINDS = {
    "grid": {"renewal": "grid", "renewal_interval": 0.4},
    "slow grid": {"renewal": "grid", "renewal_interval": 2.5},
    "poisson": {"renewal": "poisson", "renewal_rate": 1.5},
    "adaptive": {"renewal": "adaptive", "renewal_threshold": 0.45},
    "white": {"noise": "white"},
    "constant": {"noise": "white", "diffusion": "constant", "solver": "reversible_heun"},
    "coloured": {"noise": "coloured", "correlation_time": 0.5, "substeps": 2},
    "coupling": {"renewal": "grid", "renewal_interval": 0.7, "transition": "coupling",
                 "latent_size": 6},
}  # fmt: skip


def made(kind, **options):
    return small(**(KINDS[kind] | {"transition_gain": 0.5} | options)).double().eval()


def observed(model, samples=2, generator=None):
    return model.observe(frames(length=4).double(), samples=samples, generator=generator)


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_to_advance_by_three_frames_is_to_advance_by_one_three_times(self, kind):
        model = made(kind)
        with torch.no_grad():
            state = observed(model, generator=seeded(7))
            whole = model.advance(state, torch.tensor([3.0]), generator=seeded(3))
            generator = seeded(3)
            for time in (1.0, 2.0, 3.0):
                latent = model.advance(state, torch.tensor([time]), generator=generator)[:, :, 0]
                state = state._replace(latent=latent, time=time)
        assert torch.equal(state.latent, whole[:, :, 0])

    def test_times_asked_for_do_not_change_others(self, kind):
        model = made(kind)
        context = frames(length=4)
        times = [0.2, 0.5, 1.0, 1.3, 2.0, 2.9]
        model = model.float()
        many = model.forecast(context, times=times, samples=2, generator=seeded(7))
        for index, time in enumerate(times):
            one = model.forecast(context, times=[time], samples=2, generator=seeded(7))
            torch.testing.assert_close(one.samples[:, :, 0], many.samples[:, :, index])

    def test_a_window_depends_on_no_batch_and_a_sample_on_no_number_of_samples(self, kind):
        model = made(kind).float()
        streams = window_generators(torch.tensor([5, 6, 7]), 1)
        together = model.forecast(frames(length=4), 3, samples=4, generator=streams).samples
        own = seeded_generator(1, 6)
        alone = model.forecast(frames(length=4)[1:2], 2, samples=2, generator=own).samples
        torch.testing.assert_close(together[:2, 1:2, :2], alone, atol=1e-6, rtol=1e-5)

    def test_a_latent_depends_on_no_later_frame(self, kind):
        model = made(kind)
        values = frames().double()
        changed = values.clone()
        changed[:, 5:] = 1 - changed[:, 5:]
        one, other = (
            model.infer(model.encode(v).code, generator=seeded(7)).latents
            for v in (values, changed)
        )
        assert torch.equal(one[:, :, :5], other[:, :, :5])
        assert not torch.equal(one[:, :, 5:], other[:, :, 5:])

    def test_every_weight_learns(self, kind):
        model = made(kind).float().train()
        losses = model.loss(Batch.of(frames(), SPEC.context), generator=seeded(7))
        losses["total"].backward()
        assert float(losses["divergence_noise"].detach()) > 0
        without = [name for name, p in model.named_parameters() if p.grad is None]
        assert without == []
        for name, weight in model.named_parameters():
            assert weight.grad.norm() > 0, name

    def test_latents_continued_are_the_forecast_and_run_again_the_same(self, kind):
        model = made(kind).float()
        context = frames(length=4)
        expected = model.forecast(context, 3, samples=2, generator=seeded(7))
        latents = infer_and_continue(model, context, 3, samples=2, generator=seeded(7))
        found = model.decode_latents(latents, expected.times)
        torch.testing.assert_close(found.samples, expected.samples)
        again = model.reintegrate_latents(latents)
        torch.testing.assert_close(again.states, latents.states, atol=1e-5, rtol=1e-4)
        with pytest.raises(InputError, match="that keys generate"):
            interpolate_latents(model, latents, latents, 0.5)

    def test_diagnostics_agree_with_the_loss(self, kind):
        model = made(kind).float()
        batch = Batch.of(frames(), SPEC.context)
        with torch.no_grad():
            found = model.diagnostics(batch, seeded(7))
            loss = model.loss(batch, generator=seeded(7))
        per_frame = found["divergence_noise_per_frame"].mean() * (SPEC.length - 1)
        torch.testing.assert_close(per_frame, loss["divergence_noise"])


def test_a_grid_of_one_frame_is_the_published_noise():
    published = small(transition_gain=0.5).double().eval()
    grid = made("grid", renewal_interval=1.0)
    grid.load_state_dict(published.state_dict())
    times = torch.arange(1.0, 5.0)
    with torch.no_grad():
        state = observed(published, generator=seeded(7))
        expected = published.advance(state, times, generator=seeded(3))
        carried = torch.zeros(2, 3, 3, dtype=torch.float64)
        state = state._replace(latent=torch.cat([state.latent, carried], dim=-1))
        found = grid.advance(state, times, generator=seeded(3))
        torch.testing.assert_close(found[..., :5], expected, atol=1e-12, rtol=0)
        # The noise that the grid carries, held on frames by the published roll-out.
        inferred = grid.infer(grid.encode(frames().double()).code, generator=seeded(7))
        noise = inferred.latents[:, :, 1:, 5:]
        first = inferred.latents[:, :, 0, :5]
        again = published.roll_out(first, (published.choose_solver(),) * 6, noise=noise)
        torch.testing.assert_close(again.states, inferred.latents[..., :5], atol=1e-12, rtol=0)
        torch.testing.assert_close(inferred.increments, again.states.diff(dim=2))
        divergence = inferred.posterior.divergence(inferred.prior)
        torch.testing.assert_close(inferred.divergence, divergence)


def test_white_noise_in_one_step_is_the_published_update_with_a_linear_noise():
    model = made("white")
    with torch.no_grad():
        state = observed(model, generator=seeded(7))
        found = model.advance(state, torch.arange(1.0, 4.0), generator=seeded(3))
        latent = state.latent
        draws = normal_draws(3, (2, 3, 3), latent, seeded(3))
        for index in range(3):
            prior = model.noise_prior(latent)
            noise = prior.mean + prior.std * draws[index]
            latent = latent + model.transition.velocity(latent) + model.noise_model.mixing(noise)
            torch.testing.assert_close(found[:, :, index], latent, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("kind", "solver"), [("constant", "heun"), ("coloured", "euler"),
                                              ("white", "euler")])  # fmt: skip
def test_smaller_steps_follow_the_same_path(kind, solver):
    model = made(kind, solver=solver)
    with torch.no_grad():
        state = observed(model, samples=20, generator=seeded(7))
        paths = [
            model.advance(state, torch.tensor([2.0]), substeps=n, generator=seeded(3))
            for n in (2, 8, 32, 128)
        ]
    errors = [float((path - paths[-1]).square().mean().sqrt()) for path in paths[:-1]]
    factor = 1.6 if kind == "white" else 2.5  # orders ½ and 1, over four times as many steps
    assert errors[0] > factor * errors[1] > factor**2 * errors[2] > 0
    assert errors[2] < 0.1 * float(paths[-1].std())


def test_the_penalty_of_white_noise_is_of_its_drift_and_does_not_grow_with_the_steps():
    penalties = []
    for substeps in (8, 64):
        model = made("white", substeps=substeps)
        with torch.no_grad():
            found = model.infer(model.encode(frames().double()).code, generator=seeded(7))
        penalties.append(float(found.increments.norm(dim=-1).sum(dim=-1).mean()))
        moved = found.latents[..., :5].diff(dim=2)
        noise = moved - found.increments.unflatten(2, (-1, substeps)).sum(dim=3)
        assert float(noise.std()) > 0.1
    assert penalties[0] == pytest.approx(penalties[1], rel=0.1)


def test_the_adaptive_clock_renews_where_the_posterior_disagrees_alone():
    codes = frames().double()
    with torch.no_grad():
        for threshold in (0.0, 0.45, 1e9):
            model = made("adaptive", renewal_threshold=threshold)
            found = model.infer(model.encode(codes).code, generator=seeded(7))
            noise = found.latents[0, :, 1:, 5:]
            moved = noise.diff(dim=1).abs().amax(dim=-1) > 0  # after the first interval
            above = found.posterior.divergence(found.prior)[0, :, 1:] > threshold
            assert torch.equal(moved, above)
            assert bool(above.all()) == (threshold == 0)
            assert bool(above.any()) == (threshold < 1)


def test_the_posterior_of_adaptive_noise_pays_for_what_the_learned_clock_does_not_expect():
    model = made("adaptive")
    with torch.no_grad():
        found = model.infer(model.encode(frames().double()).code, generator=seeded(7))
        divergence = found.posterior.divergence(found.prior)
        rate = model.noise_model.rate(model.prior(found.latents[:, :, :-1, :5]))
    renewed = divergence > 0.45
    chance = torch.distributions.Bernoulli(1 - torch.exp(-rate))
    expected = renewed * divergence - chance.log_prob(renewed.double())
    expected[..., 0] = divergence[..., 0]
    torch.testing.assert_close(found.divergence, expected)


def test_rates_of_renewal_begin_with_the_option_and_stay_below_the_largest():
    states = 1e4 * torch.randn(2, 3, 7, 8, generator=seeded(7), dtype=torch.float64)
    model = made("poisson", renewal_rate=0.25, largest_rate=2.0)
    with torch.no_grad():
        rates = model.renewal_rates(states)
        assert rates.shape == (2, 3, 7)
        assert 0 <= float(rates.min()) <= float(rates.max()) <= 2
        for weight in list(model.prior.parameters())[-2:]:  # of its last layer
            weight.zero_()
        rates = model.renewal_rates(states)
        torch.testing.assert_close(rates, torch.full_like(rates, 0.25))
    with pytest.raises(InputError, match="renewal: poisson and renewal: adaptive"):
        made("grid").renewal_rates(states)


def test_a_state_between_frames_and_a_compiled_clock_are_refused():
    model = made("poisson")
    state = observed(model, generator=seeded(7))._replace(time=0.5)
    with pytest.raises(InputError, match="whole frames after their start"):
        model.advance(state, torch.tensor([1.0]))
    with pytest.raises(InputError, match="cannot be compiled"):
        model.compile_rollout("default")
