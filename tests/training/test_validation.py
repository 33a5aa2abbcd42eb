"""Validation protocols: held against a twin that loops, and refused where they cannot be."""

import math

import numpy as np
import pytest
import torch
from helpers.small_models import build_points

from statecast.data.base import seeded_generator
from statecast.data.user.arrays import Arrays
from statecast.errors import InputError
from statecast.models.baselines import Persistence
from statecast.runs.create import create_run
from statecast.runs.run import train_run
from statecast.solvers.solvers import Solver
from statecast.training.options import TrainingOptions
from statecast.training.train import train
from statecast.training.validation import validation_score


def srvp(data, **options):
    model = build_points("srvp", data.spec, inference_frames=2, **options)
    with torch.no_grad():  # so that samples differ, and frames of a sample do
        for weight in model.decoder.parameters():
            weight.mul_(20)
    return model


def separable(data, **options):
    return build_points("separable", data.spec, **options)


def score(model, data, **options):
    asked = {"metric": "psnr", "reduction": "best", "samples": 6, "batch_size": 7, "seed": 3}
    return validation_score(model, data.windows("validation"), **asked | options).value


def twin(model, data, samples, *, seed, past_counts):
    """Best of N window by window, sample by sample, frame by frame."""
    scores, chosen = [], []
    for number in range(40):
        batch = data.windows("validation").batch(torch.tensor([number]))
        context, target = batch.context.values, batch.target.values
        with torch.no_grad():
            model.eval()
            codes = model.encode(context)
            generator = seeded_generator(seed, number)
            latents = model.infer(codes.code, samples=samples, generator=generator).latents
            content = model.content_of_last_frames(codes)
            latent, future = latents[:, :, -1], []
            for _ in range(target.shape[1]):
                noise = model.noise_prior(latent).draw(generator)
                latent = model.transition.step(latent, noise, solver=Solver(), fractions=[1.0])[0]
                future.append(latent)
            path = torch.cat([latents, torch.stack(future, dim=2)], dim=2)
            frames = torch.stack([model.decode(content, p) for p in path])
        for window in range(len(context)):
            best = None
            truth = torch.cat([context, target], dim=1)[window]
            for index, sample in enumerate(frames[:, window]):
                decibels = [
                    -10 * math.log10(float((a - b).square().mean()))
                    for a, b in zip(sample, truth, strict=True)
                ]
                future_only = decibels[context.shape[1] :]
                seen = decibels if past_counts else future_only
                key = sum(seen) / len(seen)
                if best is None or key > best[0]:
                    best = (key, sum(future_only) / len(future_only), index)
            scores.append(best[1])
            chosen.append(best[2])
    return sum(scores) / len(scores), chosen


def test_both_protocols_agree_with_a_twin_and_differ(data):
    model = srvp(data)
    paper, by_all = twin(model, data, 6, seed=3, past_counts=True)
    future, by_future = twin(model, data, 6, seed=3, past_counts=False)
    assert by_all != by_future
    assert score(model, data, ranking="paper") == pytest.approx(paper, rel=1e-5)
    assert score(model, data, ranking="future") == pytest.approx(future, rel=1e-5)
    assert paper < future  # chosen by the future alone, the future is better


def test_a_metric_that_is_better_when_lower(data):
    model = srvp(data)
    future, paper = (score(model, data, metric="mse", ranking=p) for p in ("future", "paper"))
    mean = score(model, data, metric="mse", reduction="mean")
    assert future < paper < mean


def test_of_a_single_sample_both_are_the_same(data):
    for model in (srvp(data), separable(data)):
        one, other = (score(model, data, samples=1, ranking=p) for p in ("future", "paper"))
        assert one == pytest.approx(other, rel=1e-6)


@pytest.mark.parametrize("options", [{}, {"substeps": 3}, {"transition": "gru"}])
def test_what_is_reconstructed_is_the_past_of_what_is_forecast(data, options):
    model = srvp(data, **options)
    context = data.windows("test").batch(torch.arange(5)).context
    observed = model.normaliser.normalise(context.values)
    with torch.no_grad():
        state = model.eval().observe(observed, samples=4, generator=seeded_generator(8))
        latents = model.infer_latents(context, samples=4, generator=seeded_generator(8)).states
    torch.testing.assert_close(latents[:, :, -1], state.latent)
    frames = model.reconstruct(context, samples=4, generator=seeded_generator(8))
    assert frames.shape == (4, 5, 4, 1, 6)
    torch.testing.assert_close(
        frames[:, :, -1], model.decode_all(state.content, state.latent[:, :, None])[:, :, 0]
    )


def test_separable_reconstructs_from_its_first_frame_on(data):
    model = separable(data)
    batch = data.windows("test").batch(torch.arange(5))
    with torch.no_grad():
        model.eval()
        latents = model.path_from(model.dynamics_of(batch.context.values), 4)
        frames = model.decode(model.content_of(batch.context.values), latents)
    torch.testing.assert_close(model.reconstruct(batch.context)[0], frames)


def test_a_sample_that_is_not_a_number_does_not_hide(data):
    model = srvp(data)
    decode = model.decode

    def broken(content, latents):
        frames = decode(content, latents).clone()
        frames[0, 0] = torch.nan
        return frames

    model.decode = broken
    assert math.isnan(score(model, data, ranking="paper"))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("target", {}, "Separable does not"),
        ("persistence", {}, "Persistence does not"),
        ("srvp", {"validation_reduction": "mean"}, "validation_reduction: best"),
        ("srvp", {"validation_metric": "crps"}, "crps combines samples by ensemble"),
        ("srvp", {"validation_ranking": "published"}, "future or paper"),
        ("srvp", {"validation_metric": "accuracy"}, "no metric 'accuracy'"),
        (
            "target",
            {
                "validation_metric": "spread_skill",
                "validation_ranking": "future",
                "validation_reduction": None,
            },
            "no spread to judge. .* crps or mse",
        ),
    ],
)
def test_what_cannot_be_validated_so_is_refused_before_training(
    data, tmp_path, kind, options, message
):
    made = {
        "target": lambda: separable(data, rollout_from="target"),
        "persistence": lambda: Persistence(data.spec),
        "srvp": lambda: srvp(data),
    }[kind]()
    asked = {"validation_ranking": "paper", "validation_metric": "psnr",
             "validation_reduction": "best"}  # fmt: skip
    with pytest.raises(InputError, match=message):
        train(made, data, tmp_path, TrainingOptions(steps=1, batch_size=4, **asked | options))
    assert not list(tmp_path.iterdir())
    if kind == "target":
        with pytest.raises(InputError, match="does not reconstruct"):
            made.reconstruct(torch.zeros(1, 4, 1, 6))


def test_a_recipe_asks_for_it(recipe, tmp_path):
    options = ["--train.validation_metric", "psnr", "--train.validation_reduction", "best"]
    run = create_run(recipe, tmp_path / "run", [*options, "--train.validation_ranking", "paper"])
    result = train_run(run)
    model = run.load()
    expected = validation_score(
        model, run.data().windows("validation"), metric="psnr", reduction="best",
        ranking="paper", samples=2, batch_size=5, count=7, seed=1,
    )  # fmt: skip
    assert result.best == pytest.approx(expected.value, rel=1e-5)
    with pytest.raises(InputError, match="papers"):
        create_run(recipe, tmp_path / "other", ["--train.validation_ranking", "papers"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train.validation_ranking": "paper"}, "validation_reduction: best"),
        ({"train.validation_metric": "crps", "train.validation_samples": "1"}, "needs at least 2"),
        ({"model.reference": "persistence", "train.validate_every": "0"}, "Set validate_every"),
    ],
)
def test_a_run_that_could_not_be_trained_is_not_made(recipe, tmp_path, options, message):
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with pytest.raises(InputError, match=message):
        create_run(recipe, tmp_path / "run", words)
    assert not (tmp_path / "run").exists()


class TestDataWithoutRange:
    """A metric that the data cannot have is replaced before the first step, and said so."""

    @pytest.fixture
    def path(self, tmp_path):
        np.save(tmp_path / "a.npy", np.random.default_rng(0).random((20, 8, 1, 6)) * 255)
        return str(tmp_path / "a.npy")

    @pytest.mark.parametrize(
        ("samples", "expected"), [("3", ("crps", "ensemble")), ("1", ("mse", "mean"))]
    )
    def test_the_recipe_for_videos_ends_with_a_best_checkpoint(
        self, path, recipe, tmp_path, samples, expected
    ):
        options = {"data.name": "arrays", "data.path": path, "data.context": "3",
                   "data.horizon": "2", "train.validation_metric": "psnr",
                   "train.validation_samples": samples, "train.validate_every": "6",
                   "train.validation_reduction": "best"}  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        run = create_run(recipe, tmp_path / "run", words)
        chosen = run.tables["train"]
        assert (chosen["validation_metric"], chosen["validation_reduction"]) == expected
        assert any("the range of the data is not known" in c.chosen for c in run.inferred_options)
        train_run(run)
        run.load("best")

    def test_a_training_from_python_is_refused_before_its_first_step(self, path, tmp_path):
        data = Arrays(path=path, context=3, horizon=2)
        options = TrainingOptions(steps=2, validation_metric="psnr")
        with pytest.raises(InputError, match=r"cannot score psnr: the range .* crps or mse"):
            train(srvp(data), data, tmp_path, options)
        assert list(tmp_path.iterdir()) == [tmp_path / "a.npy"]
