"""Exact answer: a model that knows the law has its scores, and one that does not is found out."""

import json

import pytest
import torch

from statecast.data.base import seeded_generator
from statecast.data.synthetic.forks import Forks
from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.data.synthetic.oscillators import Oscillators
from statecast.evaluation.analyses.base import AnalysisPlan
from statecast.evaluation.analyses.exact_answer import (
    SAMPLES,
    ExactAnswer,
    Modes,
    calibration,
    compare_modes,
)
from statecast.evaluation.evaluate import evaluate
from statecast.models.base import Forecaster
from statecast.models.baselines import Persistence


def run(model, data):
    return ExactAnswer().run(model, AnalysisPlan(data, "test", None, batch_size=40, seed=1))


class Law(Forecaster):
    """Draws from the exact law of windows that it knows by their contexts."""

    stochastic = True

    def __init__(self, data, *, always=False):
        super().__init__(data.spec, normalise="none")
        self.windows, self.always = data.windows("test"), always
        context = self.windows.batch(torch.arange(len(self.windows))).context.values
        self.numbers = {row.numpy().tobytes(): index for index, row in enumerate(context)}

    def loss(self, batch, *, step=0, generator=None):
        return {"total": torch.zeros(())}

    def predict(self, context, times, *, samples, generator, **_):
        rows = [self.numbers[row.numpy().tobytes()] for row in context.values]
        indices = torch.tensor(rows)
        if self.always:  # right, whatever was seen
            return self.windows.futures(indices)[1].expand(samples, -1, -1, -1, -1, -1)
        own = seeded_generator(9, rows[0])
        return self.windows.exact_forecast(indices, samples=samples, generator=own).samples


@pytest.mark.parametrize(
    "data",
    [
        Forks(test_videos=200, frame_size=16, horizon=5, test_horizon=5),
        Oscillators(test_videos=200, frame_size=6, test_horizon=5),
    ],
    ids=["forks", "oscillators"],
)
def test_a_model_that_knows_the_law_scores_as_the_law_does(data):
    result = run(Law(data), data)
    for found in result["scores"].values():
        model, exact = found["model"], found["exact"]
        assert abs(model["value"] - exact["value"]) < 0.1 * exact["value"]
    expected = sum(result["expected_crps"]) / 5
    exact = result["scores"]["crps"]["exact"]
    assert abs(exact["value"] - expected) < 2 * exact["half_width"]
    assert json.loads(json.dumps(result)) == result
    if "modes" in result:
        modes = result["modes"]
        assert modes["exact_log_score"] <= modes["log_score"] < modes["exact_log_score"] + 0.03
        assert modes["probability_error"] < 0.02
        assert all(abs(b["forecast"] - b["exact"]) < 0.1 for b in modes["calibration"])


def test_a_model_that_always_goes_right_is_found_out():
    data = Forks(test_videos=60, frame_size=16, horizon=5, test_horizon=5)
    found = run(Law(data, always=True), data)
    modes, crps = found["modes"], found["scores"]["crps"]
    probability = data.windows("test").mode_probabilities(torch.arange(60))[:, 1].double()
    error = (1 - probability).square().mean().sqrt()
    assert modes["probability_error"] == pytest.approx(float(error), rel=1e-6)
    (only,) = modes["calibration"]
    assert only["forecast"] == 1
    assert only["exact"] == pytest.approx(float(probability.mean()), rel=1e-6)
    assert crps["model"]["value"] > 1.5 * crps["exact"]["value"]
    lines = "\n".join(ExactAnswer().lines(found))
    assert f"{modes['log_score']:.4g}" in lines


def test_the_log_score_is_lowest_at_the_true_probabilities():
    exact = torch.tensor([[0.3, 0.7]], dtype=torch.float64).expand(4, 2)
    scores = {}
    for share in (0.1, 0.3, 0.5):
        forecast = torch.tensor([[share, 1 - share]], dtype=torch.float64).expand(4, 2)
        scores[share] = compare_modes(Modes(forecast, exact))
    assert min(scores, key=lambda share: scores[share]["log_score"]) == 0.3
    counting = 0.5 * 0.5 / (SAMPLES - 1)
    assert scores[0.5]["probability_error"] == pytest.approx((0.04 - counting) ** 0.5)


def test_calibration_counts_every_window_once():
    forecast = torch.tensor([0.0, 0.05, 0.5, 1.0])
    found = calibration(forecast, forecast / 2)
    assert [part["windows"] for part in found] == [2, 1, 1]
    assert [part["exact"] for part in found] == pytest.approx([0.0125, 0.25, 0.5])


def test_it_says_why_it_does_not_apply():
    forks = Forks(test_videos=2, validation_videos=2, frame_size=16, horizon=4, test_horizon=4)
    digits = MovingDigits(frame_size=32, test_videos=2, validation_videos=2)
    for data, reason in ((forks, "one future"), (digits, "does not know the law")):
        result = evaluate(
            Persistence(data.spec), data, metrics=("mse",), samples=1, analyses=("exact_answer",)
        )
        assert reason in result.not_computed["exact_answer"]
