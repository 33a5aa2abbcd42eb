"""Evaluation: protocol beside the numbers, persistence beside the model, no trace of batching."""

import json

import numpy as np
import pytest
import torch
from helpers.labelled_fields import sea_surface, write_field
from helpers.small_models import build_points

from statecast.data.base import seeded_generator
from statecast.data.user.arrays import Arrays
from statecast.data.user.fields import Fields
from statecast.errors import InputError
from statecast.evaluation.evaluate import evaluate
from statecast.evaluation.scoring import score_windows
from statecast.models.baselines import Persistence


def model(data):
    return build_points("srvp", data.spec)


METRICS = ("mse", "psnr", "ssim", "crps", "energy", "spread_skill", "rank_histogram")


def test_scores_hold_the_protocol_and_persistence(data, tmp_path):
    scores = evaluate(model(data), data, name="srvp", metrics=METRICS, samples=4)
    protocol = scores.protocol
    assert (protocol["context"], protocol["horizon"], protocol["windows"]) == (4, 5, 40)
    assert protocol["samples"] == 4
    assert protocol["digest"] == data.windows("test").digest
    assert set(protocol["metrics"]) == set(METRICS)
    assert scores.not_computed.keys() == {
        "ssim",
        "rank_histogram of persistence",
        "spread_skill of persistence",
    }
    assert set(scores.forecasters) == {"srvp", "persistence"}
    assert len(scores.forecasters["srvp"]["mse"]["best"].per_lead_time) == 5
    assert len(scores.details["srvp"]["mse"]["best_of_n"]) == 4
    again = json.loads(scores.save(tmp_path).read_text())
    assert again["protocol"]["digest"] == protocol["digest"]
    lines = scores.table()
    assert "persistence" in lines
    assert "mse ↓ best" in lines


def test_a_baseline_that_cannot_be_fitted_is_left_out_with_the_reason(tmp_path):
    values = np.random.default_rng(1).standard_normal((20, 12, 6)).astype(np.float32)
    np.save(tmp_path / "short.npy", values)
    data = Arrays(path=str(tmp_path / "short.npy"), axes="ntx", context=1, horizon=3)
    scores = evaluate(model(data), data, metrics=("mse",), samples=2, baselines=("linear", "dmd"))
    assert set(scores.forecasters) == {"model", "persistence", "dmd"}
    assert "at least 2 frame" in scores.not_computed["linear"]


def test_dmd_on_a_field_with_land_does_not_end_the_evaluation(tmp_path):
    made = sea_surface(frames=60, height=6, width=6)
    made["sst"][:, :2] = np.nan
    data = Fields(path=write_field(tmp_path / "sea.nc", made), context=3, horizon=2, test_horizon=2)
    assert data.windows("train").batch(torch.arange(2)).mask is not None
    names = ("dmd", "damped_persistence", "analogue", "climatology")
    scores = evaluate(Persistence(data.spec), data, metrics=("mse",), baselines=names)
    assert set(scores.forecasters) == {"model", *names[1:]}
    assert "without NaN" in scores.not_computed["dmd"]


def test_baselines_asked_for_are_scored_beside_persistence(data):
    asked = ("dmd", "climatology", "linear", "dmd")
    scores = evaluate(model(data), data, metrics=("mse",), samples=2, baselines=asked)
    assert list(scores.forecasters) == ["model", "persistence", "dmd", "climatology", "linear"]
    values = {k: v["mse"]["mean"].value for k, v in scores.forecasters.items()}
    # Swings of one frequency each are nearly linear from one frame to the next.
    assert values["dmd"] < 0.1 * min(values[k] for k in ("persistence", "climatology", "linear"))
    assert scores.table().splitlines()[0].split()[-3:] == ["dmd", "climatology", "linear"]
    again = evaluate(model(data), data, metrics=("mse",), samples=2, baselines=asked)
    assert again.to_json()["forecasters"] == scores.to_json()["forecasters"]
    alone = evaluate(Persistence(data.spec), data, name="persistence", metrics=("mse",))
    assert list(alone.forecasters) == ["persistence"]
    with pytest.raises(InputError, match="no baseline 'srvp'; choose from persistence"):
        evaluate(model(data), data, baselines=("srvp",))


def test_a_table_says_how_many_frames_count_100_db(tmp_path):
    values = np.zeros((10, 5, 8, 8), dtype=np.uint8)
    values[:, 4] = 100  # one of the two frames to forecast differs from the last observed one
    np.save(tmp_path / "still.npy", values)
    data = Arrays(path=str(tmp_path / "still.npy"), axes="ntyx", context=3, horizon=2)
    scores = evaluate(Persistence(data.spec), data, name="persistence", metrics=("psnr",))
    windows = scores.protocol["windows"]
    assert f"{windows} of {2 * windows} frames are exact and count 100 dB" in scores.table()


def test_persistence_scores_what_it_must(data):
    scores = evaluate(Persistence(data.spec), data, name="persistence", metrics=("mse", "crps"))
    windows = data.windows("test").batch(torch.arange(40))
    error = windows.context.values[:, -1:] - windows.target.values
    found = scores.forecasters["persistence"]
    expected = error.square().mean(dim=(0, 2, 3)).double()
    torch.testing.assert_close(found["mse"]["mean"].per_lead_time, expected)
    # Of a forecast without spread the CRPS is the absolute error.
    assert found["crps"]["ensemble"].value == pytest.approx(float(error.abs().mean()), rel=1e-5)


def test_a_deterministic_model_is_scored_alike_for_any_samples_and_batches(data):
    separable = build_points("separable", data.spec)
    values = [
        evaluate(separable, data, metrics=("mse", "psnr"), samples=samples, batch_size=size)
        for samples, size in ((1, 40), (7, 3))
    ]
    for metric in ("mse", "psnr"):
        one, other = (v.forecasters["model"][metric]["mean"].value for v in values)
        assert one == pytest.approx(other, rel=1e-6)


def test_same_seed_same_scores_and_others_differ(data):
    def scored(seed):
        windows = data.windows("test")
        return score_windows(model(data), windows, metrics=["mse"], samples=2, seed=seed)

    assert scored(1).of("mse", "best").value == scored(1).of("mse", "best").value
    assert scored(1).of("mse", "best").value != scored(2).of("mse", "best").value


def test_the_protocol_records_the_seed_and_the_solver_that_were_used(data):
    used = {"seed": 5, "substeps": 3, "solver": "midpoint"}
    found = evaluate(model(data), data, metrics=("mse",), samples=2, **used)
    assert {name: found.protocol[name] for name in used} == used

    def best(**options):
        windows = data.windows("test")
        scores = score_windows(model(data), windows, metrics=["mse"], samples=2, **options)
        return scores.of("mse", "best").value

    assert found.forecasters["model"]["mse"]["best"].value == best(**used)
    for other in ({"seed": 1}, {"substeps": 1}, {"solver": "euler"}):
        assert best(**used | other) != best(**used)


def test_batch_size_and_memory_change_no_score(data):
    def scored(**options):
        windows, names = data.windows("test"), [name for name in METRICS if name != "ssim"]
        return score_windows(model(data), windows, metrics=names, samples=3, **options)

    plain = scored(batch_size=16)
    frames = 4 * 6 * 5  # bytes of one future
    little = scored(batch_size=16, max_memory_gib=5.5 * (2 * 3 + 16) * frames / 2**30)
    least = scored(batch_size=7, max_memory_gib=1e-9)
    for other in (little, least, scored(batch_size=40)):
        for metric, selections in plain.by_metric.items():
            for selection, score in selections.items():
                found = other.by_metric[metric][selection]
                torch.testing.assert_close(found.per_lead_time, score.per_lead_time)


def test_a_window_is_forecast_alike_whatever_others_are_scored(data):
    def scored(count):
        windows = data.windows("test")
        return score_windows(model(data), windows, metrics=["mse"], samples=2, count=count)

    drawn = [
        model(data).forecast(
            data.windows("test").batch(torch.tensor([number])).context,
            samples=2,
            generator=seeded_generator(1, number),
        ).samples - data.windows("test").batch(torch.tensor([number])).target.values
        for number in (0, 20)
    ]  # fmt: skip
    expected = float(torch.cat(drawn, dim=1).square().mean())
    assert scored(2).of("mse", "mean").value == pytest.approx(expected, rel=1e-5)


def test_best_of_more_samples_is_better(data):
    def best(samples):
        windows = data.windows("test")
        scores = score_windows(model(data), windows, metrics=["mse"], samples=samples)
        return scores.of("mse", "best").value

    assert best(30) < best(3) < best(1)


def test_only_the_first_windows_where_asked(data):
    scores = score_windows(model(data), data.windows("test"), metrics=["mse"], count=7)
    assert scores.windows == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ("accuracy",)}, "'accuracy'; choose from mse"),
        ({"samples": 0}, "at least 1"),
        ({"max_windows": 0}, "at least 1"),
        ({"max_memory_gib": 0.0}, "max_memory_gib must be positive, got 0.0"),
    ],
)
def test_options_that_do_not_fit_are_refused(data, options, message):
    with pytest.raises(InputError, match=message):
        evaluate(model(data), data, **options)


def test_a_score_that_was_not_computed_is_no_zero(data):
    scores = score_windows(model(data), data.windows("test"), metrics=["mse", "ssim"])
    with pytest.raises(InputError, match="11×11"):
        scores.of("ssim", "mean")
    with pytest.raises(InputError, match="it has mean, best"):
        scores.of("mse", "ensemble")
