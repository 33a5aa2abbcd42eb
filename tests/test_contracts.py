"""Facts that hold for every registered model, data set and metric."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.labelled_fields import sea_surface, write_field
from helpers.prepared_stores import CHOSEN, tiny_store
from helpers.sample_videos import noise, write_video
from helpers.seeds import seeded
from helpers.small_models import SPEC, build

from statecast.data import DATASETS
from statecast.data.base import SPLITS, seeded_generator, window_generators
from statecast.distributed import Part
from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models import MODELS
from statecast.models.base import evaluation_mode
from statecast.models.latent_space import infer_and_continue
from statecast.models.state_space import StateSpaceForecaster
from statecast.nn.random import PartGenerator

DATA = {
    "fields": {"path": "sst.nc", "variables": "sst", "context": 3, "horizon": 2, "test_horizon": 2},
    "bouncing_ball": {"test_videos": 6, "validation_videos": 4},
    "rolling_digits": {"test_videos": 6, "validation_videos": 4, "frame_size": 16},
    "forks": {"test_videos": 6, "validation_videos": 4},
    "oscillators": {"test_videos": 6, "validation_videos": 4},
    "moving_digits": {"test_videos": 6, "validation_videos": 4, "frame_size": 32},
    "moving_shapes": {"test_videos": 6, "validation_videos": 4, "frame_size": 24, "camera": 0.3},
    "sst": {"zones": 2, "days": 150, "land_zones": 1},
    "turntable": {"objects": 7, "frame_size": 16},
    "wave_equation": {"sequences": 10, "points": 6},
    "arrays": {"path": "array.npy", "context": 3, "horizon": 2},
    "videos": {"path": "videos", "size": 16, "context": 3, "horizon": 2},
    **CHOSEN,
}


def made(name, seed=0):
    model = build(name, seed=seed)
    if model.needs_statistics:
        model.fit_statistics([Batch.of(frames(4), SPEC.context)])
    return model


UNBOUNDED = replace(SPEC, value_range=None)


def frames(batch=3, length=SPEC.length, seed=1):
    return torch.rand(batch, length, 2, 16, 16, generator=seeded(seed))


@pytest.mark.parametrize("name", MODELS)
class TestModel:
    def test_a_forecast_has_the_shape_asked_for(self, name):
        forecast = made(name).forecast(frames(length=3), 6, samples=2, generator=seeded(7))
        assert forecast.samples.shape == (2, 3, 6, 2, 16, 16)
        assert forecast.channels == SPEC.channels
        assert torch.isfinite(forecast.samples).all()

    def test_same_seed_same_forecast(self, name):
        one, other = (
            made(name).forecast(frames(length=3), 3, samples=2, generator=seeded(7))
            for _ in range(2)
        )
        assert torch.equal(one.samples, other.samples)

    def test_stochastic_models_draw_and_others_do_not(self, name):
        model = made(name)
        one, other = (
            model.forecast(frames(length=3), 3, generator=seeded(s)).samples for s in (1, 2)
        )
        assert torch.equal(one, other) != model.stochastic

    def test_forecasting_leaves_the_model_as_it_was(self, name):
        model, modes = made(name).train(), set()
        before = {k: v.clone() for k, v in model.state_dict().items()}
        for part in model.modules():
            part.register_forward_pre_hook(lambda p, _: modes.add((p.training, model.training)))
        found = model.forecast(frames(length=3), 2, generator=seeded(7)).samples
        # While it forecasts as in evaluation, other threads find it in training.
        assert modes <= {(False, True)}
        assert all(part.training for part in model.modules())
        evaluated = made(name).eval().forecast(frames(length=3), 2, generator=seeded(7)).samples
        assert torch.equal(found, evaluated)
        assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())

    def test_a_saved_model_forecasts_the_same(self, name):
        model, other = made(name), made(name, seed=1)
        other.load_state_dict(model.state_dict())
        one, two = (m.forecast(frames(length=3), 3, generator=seeded(7)) for m in (model, other))
        assert torch.equal(one.samples, two.samples)

    def test_a_sequence_does_not_depend_on_its_batch(self, name):
        model = made(name)
        streams = window_generators(torch.tensor([5, 6, 7]), 1)
        together = model.forecast(frames(length=3), 3, samples=2, generator=streams).samples
        own = seeded_generator(1, 6)
        alone = model.forecast(frames(length=3)[1:2], 3, samples=2, generator=own).samples
        torch.testing.assert_close(together[:, 1:2], alone, atol=1e-6, rtol=1e-5)

    def test_the_first_samples_do_not_depend_on_how_many_are_drawn(self, name):
        model = made(name)
        few, many = (
            model.forecast(frames(length=3), 3, samples=samples, generator=seeded(7)).samples
            for samples in (2, 9)
        )
        torch.testing.assert_close(many[:2], few, atol=1e-6, rtol=1e-5)

    def test_a_longer_horizon_begins_with_the_shorter_one(self, name):
        model = made(name)
        short, long = (
            model.forecast(frames(length=3), horizon, generator=seeded(7)).samples
            for horizon in (2, 7)
        )
        torch.testing.assert_close(long[:, :, :2], short, atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize(
        "options", [{}, {"solver": "rk4", "substeps": 2}, {"solver": "reversible_heun"}]
    )
    def test_to_advance_by_two_frames_is_to_advance_by_one_twice(self, name, options):
        model = made(name).eval()
        if not isinstance(model, StateSpaceForecaster):
            pytest.skip("it carries no state")
        if options and not model.continuous:
            pytest.skip("it knows whole frames only")
        with torch.no_grad():
            generator = seeded(7)
            state = model.observe(frames(length=3), samples=2, generator=generator)
            start, generators = state.time, [generator.clone_state() for _ in range(2)]
            whole = model.advance(
                state, start + torch.tensor([2.0]), generator=generators[0], **options
            )
            for _ in range(2):
                one = model.advance(
                    state, state.time + torch.tensor([1.0]), generator=generators[1], **options
                )
                state = state._replace(latent=one[:, :, 0], time=state.time + 1)
        assert torch.equal(state.latent, whole[:, :, 0])

    def test_latents_inferred_continued_and_decoded_are_the_forecast(self, name):
        model = made(name)
        if not isinstance(model, StateSpaceForecaster):
            with pytest.raises(InputError, match="no latent space"):
                infer_and_continue(model, frames(length=3))
            return
        expected = model.forecast(frames(length=3), 4, samples=2, generator=seeded(7))
        latents = infer_and_continue(model, frames(length=3), 4, samples=2, generator=seeded(7))
        found = model.decode_latents(latents, expected.times).samples
        torch.testing.assert_close(found, expected.samples)
        assert torch.equal(model.reintegrate_latents(latents).states, latents.states)

    def test_the_loss_is_one_number_and_reaches_every_weight(self, name):
        model = made(name).train()
        terms = model.loss(Batch.of(frames(), SPEC.context), generator=seeded(7))
        assert all(term.shape == () for term in terms.values())
        if not list(model.parameters()):
            return
        terms["total"].backward()
        for weight, parameter in model.named_parameters():
            assert parameter.grad is not None, weight
            assert torch.isfinite(parameter.grad).all(), weight

    def test_what_lies_under_a_mask_changes_nothing(self, name):
        mask = torch.rand(frames().shape, generator=seeded(5)) > 0.2
        found = []
        for value in (torch.nan, 0.0, 1e6, torch.inf):
            batch = Batch.of(frames().masked_fill(~mask, torch.nan), SPEC.context, mask=mask)
            for part in (batch.context, batch.target):  # behind the door, where it is refused
                object.__setattr__(part, "values", part.values.masked_fill(~part.mask, value))
            model = build(name, UNBOUNDED)
            try:
                model.fit_statistics([batch])
                losses = model.loss(batch, generator=seeded(7))
            except InputError:
                pytest.skip("it refuses such a batch itself")
            weights = list(model.parameters())
            gradients = torch.autograd.grad(losses["total"], weights) if weights else ()
            with evaluation_mode(model), torch.no_grad():
                forecast = model.predict(
                    batch.context, batch.target.times, samples=1 + model.stochastic, substeps=None,
                    solver=None, content_from=None, generator=seeded(7),
                )  # fmt: skip
            found.append([*losses.values(), *gradients, forecast, *model.state_dict().values()])
        assert all(torch.isfinite(each).all() for each in found[0])
        for other in found[1:]:
            torch.testing.assert_close(other, found[0], rtol=0, atol=0)

    def test_a_mask_of_known_values_equals_none(self, name):
        found = []
        for mask in (None, torch.ones(frames().shape, dtype=torch.bool)):
            batch, model = Batch.of(frames(), SPEC.context, mask=mask), build(name, UNBOUNDED)
            model.fit_statistics([batch])
            loss = model.loss(batch, generator=seeded(7))["total"].detach()
            samples = model.forecast(batch.context, 3, generator=seeded(7)).samples
            found.append((loss, samples, model.normaliser.location))
        torch.testing.assert_close(*found, rtol=1e-6, atol=0)

    def test_parts_of_a_batch_that_processes_share_have_its_loss(self, name):
        model = made(name).train()
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.eval()  # on processors each process has statistics of its own
        whole = Batch.of(torch.cat([frames(), frames(seed=2)]), SPEC.context)
        count = len(whole)
        parts = [Part(0, count // 2, count), Part(count // 2, count, count)]
        found = [
            model.loss(whole.select(part.rows), generator=PartGenerator(seeded(7), part))
            for part in parts
        ]
        for term, value in model.loss(whole, generator=seeded(7)).items():
            mean_of_parts = sum(terms[term] for terms in found) / len(parts)
            torch.testing.assert_close(mean_of_parts, value, rtol=1e-5, atol=1e-6)

    def test_the_same_seed_gives_the_same_weights_and_loss(self, name):
        values = [
            made(name).loss(Batch.of(frames(), SPEC.context), generator=seeded(7))["total"].detach()
            for _ in range(2)
        ]
        assert torch.equal(*values)

    def test_frames_of_any_shape_and_unit_go_in_and_come_out(self, name):
        kelvin = FrameSpec(channels=("a", "b", "c"), space=(16, 32), context=3, horizon=2)
        model = build(name, kelvin)
        values = 280 + 5 * torch.rand(6, 5, 3, 16, 32, generator=seeded(1))
        model.fit_statistics([Batch.of(values, 3)])
        samples = model.forecast(values[:, :3], 2, samples=2, generator=seeded(7)).samples
        assert samples.shape == (2, 6, 2, 3, 16, 32)
        # Standardised values out of a sigmoid would begin half a standard deviation above 0.
        assert 250 < float(samples.min()) < float(values.mean()) + 0.2
        assert float(samples.max()) < 310

    def test_the_fewest_frames_of_a_context_are_enough(self, name):
        model = made(name)
        context = frames(length=model.minimum_context)
        assert torch.isfinite(model.forecast(context, 2, generator=seeded(7)).samples).all()
        with pytest.raises(InputError, match=r"at least|empty"):
            model.forecast(context[:, 1:], 2)

    def test_points_are_forecast_or_refused(self, name):
        spec = FrameSpec(channels=("u",), space=(16,), context=3, horizon=2)
        values = torch.rand(4, 5, 1, 16, generator=seeded(1))
        try:
            model = build(name, spec)
        except InputError:
            return
        model.fit_statistics([Batch.of(values, 3)])
        assert model.forecast(values[:, :3], 2).samples.shape == (1, 4, 2, 1, 16)

    def test_frames_between_frames_are_forecast_or_refused(self, name):
        model = made(name)
        whole = model.forecast(frames(length=3), 2, samples=2, generator=seeded(7)).samples
        try:
            found = model.forecast(
                frames(length=3), times=[0.5, 1.0, 1.5, 2.0], samples=2, generator=seeded(7)
            ).samples
        except InputError:
            pytest.skip("it knows whole frames only")
        torch.testing.assert_close(found[:, :, 1::2], whole)
        assert torch.isfinite(found).all()

    def test_arguments_that_do_not_fit_are_refused(self, name):
        model, context = made(name), frames(length=3)
        for given, options, message in (
            (context, {"horizon": 0}, "at least 1 frame"),
            (context, {"samples": 0}, "at least 1 sample"),
            (context, {"times": [2.0, 1.0]}, "increas"),
            (context, {"times": [1.0], "horizon": 1}, "not both"),
            (context[:, :, :1], {}, r"\(2, 16, 16\)"),
            (context / 0, {}, "finite"),
            (context.byte(), {}, "floating point"),
        ):
            with pytest.raises(InputError, match=message):
                model.forecast(given, **options)

    def test_diagnostics_are_of_each_window_or_of_units_of_each(self, name):
        model = made(name).eval()
        with torch.no_grad():
            found = model.diagnostics(Batch.of(frames(), SPEC.context), generator=seeded(7))
        assert all(value.ndim >= 1 and len(value) == 3 for value in found.values())
        assert all(torch.isfinite(value).all() for value in found.values())

    def test_a_reconstruction_is_of_the_context_s_own_frames(self, name):
        model, context = made(name), frames(length=3)
        if not getattr(model, "reconstructs", False):
            pytest.skip("it has no latents of context frames")
        one, other = (model.reconstruct(context, samples=2, generator=seeded(7)) for _ in range(2))
        assert one.shape == (2, 3, 3, 2, 16, 16)
        assert torch.equal(one, other)

    def test_a_model_with_content_takes_it_from_any_context(self, name):
        model, own, other = made(name), frames(length=3), frames(length=3, seed=2)
        if not model.supports_content_swap:
            with pytest.raises(InputError, match="no content to swap"):
                model.forecast(own, 2, content_from=other)
            return
        for weight in model.parameters():  # so large that content reaches the frames
            torch.nn.init.normal_(weight, std=0.3, generator=seeded(7))
        plain = model.forecast(own, 2, samples=2, generator=seeded(7)).samples
        same = model.forecast(own, 2, samples=2, content_from=own, generator=seeded(7)).samples
        torch.testing.assert_close(same, plain)
        swapped = model.forecast(own, 2, samples=2, content_from=other, generator=seeded(7)).samples
        assert not torch.equal(swapped, plain)

    def test_dynamics_and_content_are_a_vector_each_of_every_window(self, name):
        model, context = made(name).eval(), Frames.context_of(frames(length=3), SPEC.channels)
        if not model.supports_content_swap:
            with pytest.raises(InputError, match="does not tell content from dynamics"):
                model.codes_of(context)
            return
        with torch.no_grad():
            streams = window_generators(torch.tensor([5, 6, 7]), 1)
            whole = model.codes_of(context, generator=streams)
            one = model.codes_of(context.select(slice(1, 2)), generator=seeded_generator(1, 6))
        assert whole.dynamics.shape[0] == whole.content.shape[0] == 3
        assert whole.dynamics.ndim == whole.content.ndim == 2
        assert whole.time in (0, 1)
        for codes, alone in zip(whole[:2], one[:2], strict=True):
            torch.testing.assert_close(codes[1:2], alone, atol=1e-6, rtol=1e-5)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder of the files that data sets read; what they make themselves is kept there."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    np.save(folder / "array.npy", generator.integers(0, 256, (10, 8, 2, 4, 6), dtype=np.uint8))
    write_field(folder / "sst.nc", sea_surface())
    (folder / "videos").mkdir()
    for number in range(5):
        write_video(folder / "videos" / f"{number}.mkv", noise(8, seed=number))
    for name in CHOSEN:
        tiny_store(name, folder / name)
    return folder


@pytest.mark.parametrize("name", DATASETS)
class TestDataSet:
    @pytest.fixture(autouse=True)
    def folder(self, files, monkeypatch):
        monkeypatch.setenv("STATECAST_CACHE", str(files))
        monkeypatch.chdir(files)

    def test_windows_fit_the_spec_in_every_split(self, name):
        data = DATASETS[name](**DATA[name])
        for split in SPLITS:
            batch = data.windows(split).batch(torch.arange(2))
            assert batch.values.shape[2:] == data.spec.frame_shape
            assert len(batch.context) == data.spec.context
            assert batch.context.channels == data.spec.channels
            known = batch.values if batch.mask is None else batch.values[batch.mask]
            assert torch.isfinite(known).all()
            low, high = data.spec.value_range or (-torch.inf, torch.inf)
            assert low <= known.min() <= known.max() <= high
        assert len(data.windows("train").training_batch(0, 2, seed=1).target) == data.spec.horizon

    def test_splits_share_no_frame(self, name):
        data = DATASETS[name](**DATA[name])
        seen = []
        for split in SPLITS:
            windows = data.windows(split)
            count = min(len(windows), 40)
            batch = windows.batch(torch.arange(count))
            # There are few black-and-white frames of a ball: of these, no window is shared.
            frames = batch.values if name == "bouncing_ball" else batch.values.flatten(0, 1)
            # Nor does a frame without contrast, as of a membrane at rest, tell a sequence.
            there = [f for f in frames if not f.isnan().all() and f.amin() != f.amax()]
            seen.append({frame.numpy().tobytes() for frame in there})
        assert not seen[0] & seen[2]
        assert not seen[1] & seen[2]

    def test_opened_again_it_is_the_same(self, name):
        one, other = DATASETS[name](**DATA[name]), DATASETS[name](**DATA[name])
        assert one.card == other.card
        for split in SPLITS:
            left, right = one.windows(split), other.windows(split)
            assert left.digest == right.digest
            drawn = [windows.training_batch(3, 2, seed=1).values for windows in (left, right)]
            torch.testing.assert_close(*drawn, rtol=0, atol=0, equal_nan=True)

    def test_a_window_does_not_depend_on_its_batch(self, name):
        windows = DATASETS[name](**DATA[name]).windows("test")
        together, alone = windows.batch(torch.tensor([1, 0])), windows.batch(torch.tensor([0]))
        exact = {"rtol": 0, "atol": 0, "equal_nan": True}
        torch.testing.assert_close(together.values[1:], alone.values, **exact)
        for latent, value in (alone.latents or {}).items():
            torch.testing.assert_close(together.latents[latent][1:], value, **exact)

    def test_other_seeds_steps_and_splits_have_other_windows(self, name):
        data = DATASETS[name](**DATA[name])
        windows = data.windows("train")
        drawn = [
            windows.training_batch(step, 4, seed=seed) for step, seed in ((3, 1), (4, 1), (3, 2))
        ]
        assert len({batch.values.numpy().tobytes() for batch in drawn}) == 3
        assert len({data.windows(split).digest for split in SPLITS}) == 3

    def test_parts_of_a_batch_that_processes_share_are_the_batch(self, name):
        windows = DATASETS[name](**DATA[name]).windows("train")
        parts = [
            windows.training_batch_part(3, 2, Part(i, i + 1, 2), seed=1).values for i in range(2)
        ]
        whole = windows.training_batch(3, 2, seed=1).values
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0, equal_nan=True)

    def test_the_numbers_of_a_training_batch_are_those_of_its_windows(self, name):
        windows = DATASETS[name](**DATA[name]).windows("train")
        batch, numbers = (
            windows.training_batch(3, 2, seed=1),
            windows.training_indices(3, 2, seed=1),
        )
        if numbers is None:  # fresh ones, which have no numbers
            return
        again = windows.batch(numbers)
        torch.testing.assert_close(again.values, batch.values, rtol=0, atol=0, equal_nan=True)

    def test_its_card_is_json_and_names_it(self, name):
        import json

        card = DATASETS[name](**DATA[name]).card
        assert json.loads(json.dumps(card)) == card
        assert card["name"] == name
        assert card["licence"]
