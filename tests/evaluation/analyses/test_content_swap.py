"""Content swap: a perfect model scores perfectly, a blind one as if nothing were swapped."""

import itertools

import numpy as np
import pytest
import torch

from statecast.data.synthetic.digit_images import embedded_glyphs
from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.data.synthetic.moving_mnist_file import write_test_set
from statecast.data.synthetic.rendering import render
from statecast.data.synthetic.turntable import Turntable
from statecast.data.synthetic.waves import WaveEquation
from statecast.evaluation.analyses.base import AnalysisPlan
from statecast.evaluation.analyses.content_swap import ContentSwap
from statecast.evaluation.evaluate import evaluate
from statecast.models.base import Forecaster
from statecast.models.baselines import Persistence
from statecast.models.separable import Separable

DIGITS = {
    "digits": 2, "frame_size": 32, "test_videos": 14, "validation_videos": 4, "horizon": 3,
    "test_horizon": 12, "context": 2,
}  # fmt: skip


def digits(**options):
    return MovingDigits(**(DIGITS | options))


class Oracle(Forecaster):
    """Knows every target by its context, and every swapped one by both contexts."""

    supports_content_swap = True

    def __init__(self, data, *, seed, assignment=0, blind=False):
        super().__init__(data.spec)
        windows = data.windows("test")
        indices = torch.arange(len(windows))
        batch, swapped = windows.batch(indices), windows.swap_content(indices, seed=seed)
        self.known = {}
        for row in range(len(windows)):
            own = batch.context.values[row].numpy().tobytes()
            other = swapped.content.values[row].numpy().tobytes()
            self.known[own, None] = batch.target.values[row]
            truth = batch.target if blind else swapped.truths[assignment]
            self.known[own, other] = truth.values[row]

    def loss(self, batch, *, step=0, generator=None):
        return {"total": torch.zeros(())}

    def predict(self, context, times, *, samples, substeps, solver, content_from, generator):
        rows = []
        for row, own in enumerate(context.values):
            other = None if content_from is None else content_from.values[row].numpy().tobytes()
            rows.append(self.known[own.numpy().tobytes(), other][: len(times)])
        return torch.stack(rows)[None]


def made(model, data, *, seed=3, windows=None, batch_size=5):
    return ContentSwap().run(model, AnalysisPlan(data, "test", windows, batch_size, seed))


def value(result, row, metric, horizon="12"):
    return result["horizons"][horizon][row][metric]["value"]


@pytest.mark.parametrize("assignment", [0, 1])
def test_a_model_that_swaps_perfectly_has_no_error(assignment):
    data = digits()
    result = made(Oracle(data, seed=3, assignment=assignment), data)
    for horizon in ("10", "12"):
        assert value(result, "swapped", "mse", horizon) == 0
        assert value(result, "swapped", "psnr", horizon) == 100
        assert value(result, "swapped", "ssim", horizon) == pytest.approx(1)
        assert value(result, "plain", "mse", horizon) > 0.01
        assert value(result, "held", "mse", horizon) > 0.01
    assert (result["truths"], result["windows"]) == (2, 14)


def test_a_model_that_ignores_content_scores_as_if_nothing_were_swapped():
    data = digits()
    result = made(Oracle(data, seed=3, blind=True), data)
    for horizon in ("10", "12"):
        rows = result["horizons"][horizon]
        assert rows["swapped"] == rows["plain"]
        assert rows["swapped"]["mse"]["value"] > 0.01


def test_the_best_assignment_is_that_of_brute_force():
    data = digits(digits=3, test_videos=5, stochastic=False)  # positions are whole numbers
    windows, glyphs = data.windows("test"), embedded_glyphs("test", side=14)
    model = Oracle(data, seed=3, blind=True)  # forecasts the own digits
    result = made(model, data)
    indices = torch.arange(5)
    swapped = windows.swap_content(indices, seed=3)
    assert len(swapped.truths) == 6
    batch = windows.batch(indices)
    # The new digits, found by rendering all on the trajectories of the content.
    order = torch.randperm(len(glyphs.images), generator=_stream()).numpy()[:15].reshape(5, 3)
    content = windows.batch(4 - indices)
    position = content.latents["position"].transpose(0, 1).numpy()
    expected = render(glyphs.images[order], position, 32)[:, :2]
    assert np.array_equal(swapped.content.values[:, :, 0].mul(255).round().numpy(), expected)
    best = []
    position = batch.latents["position"].transpose(0, 1).numpy()
    for window in range(5):
        errors = []
        for permutation in itertools.permutations(range(3)):
            ink = glyphs.images[order[window, list(permutation)]][None]
            truth = render(ink, position[:, window : window + 1], 32)[0, 2:] / 255
            own = batch.target.values[window, :, 0].double().numpy()
            errors.append(((truth - own) ** 2).mean())
        best.append(min(errors))
    assert value(result, "swapped", "mse") == pytest.approx(np.mean(best), rel=1e-5)
    spread = 1.96 * np.std(best, ddof=1) / np.sqrt(5)
    found = result["horizons"]["12"]["swapped"]["mse"]["half_width"]
    assert found == pytest.approx(spread, rel=1e-4)


def _stream():
    from statecast.data.base import seeded_generator
    from statecast.data.synthetic.moving_digits import EXCHANGED

    return seeded_generator(3, EXCHANGED)


def test_each_metric_chooses_for_itself_and_a_horizon_too():
    data = digits()
    windows = data.windows("test")
    batch = windows.batch(torch.arange(14))
    swapped = windows.swap_content(torch.arange(14), seed=3)
    result = made(Oracle(data, seed=3, blind=True), data)
    for horizon in (10, 12):
        errors = torch.stack([
            (truth.values - batch.target.values)[:, :horizon].square().flatten(1).mean(dim=1)
            for truth in swapped.truths
        ])  # fmt: skip
        expected = float(errors.amin(dim=0).mean())
        assert value(result, "plain", "mse", str(horizon)) == pytest.approx(expected, rel=1e-5)


def test_held_is_the_last_frame_of_the_content():
    data = digits(digits=1)
    windows = data.windows("test")
    swapped = windows.swap_content(torch.arange(14), seed=3)
    error = swapped.content.values[:, -1:] - swapped.truths[0].values
    result = made(Oracle(data, seed=3), data)
    assert value(result, "held", "mse") == pytest.approx(float(error.square().mean()), rel=1e-5)


def test_scores_do_not_depend_on_batches():
    data = digits()
    model = separable(data)
    one, other = (made(model, data, batch_size=size) for size in (14, 3))
    for metric in ("mse", "psnr", "ssim"):
        assert value(one, "swapped", metric) == pytest.approx(
            value(other, "swapped", metric), rel=1e-5
        )


def separable(data):
    return Separable(
        data.spec, encoder_width=4, decoder_width=4, content_size=5, latent_size=4,
        dynamics_hidden=9, generator=torch.Generator().manual_seed(1),
    )  # fmt: skip


def test_it_is_made_by_evaluate_and_shown(cache):
    data = Turntable(objects=13, frame_size=16, context=2, horizon=3, test_horizon=3)
    scores = evaluate(
        separable(data), data, metrics=("mse",), max_windows=6, analyses=("content_swap",)
    )
    result = scores.analyses["content_swap"]
    assert list(result["horizons"]) == ["3"]
    assert (result["truths"], result["windows"]) == (1, 6)
    lines = ContentSwap().lines(result)
    assert len(lines) == 4
    assert "mse ↓" in lines[0]
    assert "own content" in "\n".join(lines)
    assert "±" in lines[1]


def test_turning_objects_are_swapped_perfectly_by_an_oracle(cache):
    data = Turntable(objects=13, frame_size=8, context=2, horizon=3, test_horizon=3)
    result = made(Oracle(data, seed=3), data, windows=9)
    assert value(result, "swapped", "mse", "3") == 0
    assert value(result, "plain", "mse", "3") > 0


def test_where_it_does_not_apply_it_says_why(tmp_path, cache):
    data = digits()
    assert "Persistence" in ContentSwap.why_not_applicable(Persistence(data.spec), data)
    path = write_test_set(data.windows("test"), tmp_path / "test.npz")
    stored = digits(test_file=str(path))
    assert "StoredDigits" in ContentSwap.why_not_applicable(separable(stored), stored)
    waves = WaveEquation(sequences=10, points=6)
    points = Separable(
        waves.spec, architecture="mlp", encoder_width=4, decoder_width=4, content_size=5,
        latent_size=4,
    )  # fmt: skip
    assert "SequenceWindows" in ContentSwap.why_not_applicable(points, waves)
    assert ContentSwap.why_not_applicable(separable(data), data) is None
