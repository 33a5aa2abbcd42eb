"""Skill against baselines, and which differences between runs are significant."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from statecast.data.user.arrays import Arrays
from statecast.errors import CorruptionError
from statecast.evaluation.comparability import Scored, read_scores
from statecast.evaluation.comparison import Column, compare
from statecast.evaluation.comparison_formats import as_text
from statecast.evaluation.evaluate import evaluate
from statecast.evaluation.evaluation import Evaluation
from statecast.evaluation.significance import Difference, students_t
from statecast.evaluation.skill import Estimate, Skill, skill_lines, verdict
from statecast.evaluation.window_scores import FILE_NAME
from statecast.models.baselines import Persistence
from statecast.runs.verify import check_window_scores


class Offset(Persistence):
    """Persistence, and something more."""

    offset = 0.0

    def extrapolate(self, values, times):
        return super().extrapolate(values, times) + self.offset


def offset(spec, by):
    model = Offset(spec)
    model.offset = by
    return model


@pytest.fixture
def ramps(tmp_path):
    """Sequences that rise by about one a frame, each at its own pace."""
    generator = np.random.default_rng(1)
    pace = 1 + 0.2 * generator.standard_normal((100, 1, 1, 1))
    values = pace * np.arange(9)[None, :, None, None] + np.zeros((1, 1, 1, 4))
    np.save(tmp_path / "ramps.npy", values.astype(np.float32))
    return Arrays(
        path=str(tmp_path / "ramps.npy"), axes="ntcx", context=2, horizon=2, value_range=(0.0, 20.0)
    )


def scored(model, data, **options):
    return evaluate(model, data, metrics=("mse", "rmse", "psnr", "mae"), samples=1, **options)


def test_skill_is_the_share_of_error_that_is_gone(ramps):
    model = offset(ramps.spec, 0.5)
    found = scored(model, ramps)
    for metric in ("mse", "rmse", "mae"):
        skill = found.skill["persistence"][metric]["mean"]
        own, still = (found.forecasters[f][metric]["mean"] for f in ("model", "persistence"))
        assert skill.difference.value == pytest.approx(own.value - still.value)
        assert skill.skill.value == pytest.approx(1 - own.value / still.value)
        expected = 1 - own.per_lead_time / still.per_lead_time
        assert skill.skill.per_lead_time == pytest.approx(expected.tolist())
        assert skill.difference.low < skill.difference.value < skill.difference.high < 0
    decibels = found.skill["persistence"]["psnr"]["mean"]
    assert decibels.skill is None  # a perfect forecast has no finite one
    assert decibels.difference.low > 0


def test_the_interval_of_a_difference_is_paired(ramps):
    # Errors of persistence differ much between sequences; what the offset takes away does not.
    found = scored(offset(ramps.spec, 0.5), ramps).skill["persistence"]["mae"]["mean"].difference
    assert found.value == pytest.approx(-0.5, abs=1e-5)
    assert found.high - found.low < 1e-5


def test_equal_forecasts_have_no_difference_however_scores_are_rounded(ramps):
    for skill in scored(offset(ramps.spec, 0.0), ramps).skill["persistence"].values():
        assert skill["mean"].difference[:3] == (0, 0, 0)
        assert "*" not in skill["mean"].shown()


def test_where_both_are_perfect_no_skill_is_told(tmp_path):
    np.save(tmp_path / "still.npy", np.ones((100, 9, 1, 4), np.float32))
    still = Arrays(path=str(tmp_path / "still.npy"), axes="ntcx", context=2, horizon=2)
    found = evaluate(offset(still.spec, 0.0), still, metrics=("mse",), samples=1)
    assert found.skill["persistence"]["mse"]["mean"].shown() == "0 [0, 0]"


def test_json_and_back_keeps_everything(ramps, tmp_path):
    found = scored(offset(ramps.spec, 0.5), ramps)
    found.save(tmp_path)
    again = read_scores(tmp_path)
    assert json.dumps(again.to_json()) == json.dumps(found.to_json())
    assert torch.equal(again.windows.numbers, found.windows.numbers)
    assert again.windows.values.keys() == found.windows.values.keys()
    for name, values in found.windows.values.items():
        torch.testing.assert_close(again.windows.values[name], values.float())
    averages = again.windows.values["model/mae/mean"]
    assert float(averages.mean()) == pytest.approx(found.forecasters["model"]["mae"]["mean"].value)
    assert len(again.windows.sequences.unique()) < len(averages)  # several windows of each
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptionError, match="Score the run again"):
        read_scores(tmp_path)
    with pytest.raises(CorruptionError):
        check_window_scores(tmp_path, None)


def test_runs_differ_or_not_beyond_chance(ramps, tmp_path):
    runs = [
        Scored(label, tmp_path / label, scored(offset(ramps.spec, by), ramps))
        for label, by in (("half", 0.5), ("same", 0.5), ("none", 0.0))
    ]
    table = compare(runs, metrics=["rmse.mean", "psnr.mean"])
    found = {(d.metric, d.one, d.other): d for d in table.differences}
    assert not found["rmse", "half", "same"].significant
    assert found["rmse", "half", "same"].value == 0
    better = found["rmse", "half", "none"]
    assert better.significant
    assert str(better).endswith("half is better")
    assert str(found["psnr", "half", "none"]).endswith("half is better")  # higher is better
    assert found["rmse", "none", "persistence"].p_value == 1.0
    own = [run.scores.forecasters["model"]["rmse"]["mean"].value for run in runs]
    assert better.value == pytest.approx(own[0] - own[2])
    text = as_text(table)
    assert "Holm" in text
    assert str(better) in text


def trained(label, data, by, **training):
    found = scored(offset(data.spec, by), data)
    found.protocol["training"] = {"recipe": label[0], "steps": 6, "planned_steps": 6} | training
    return Scored(label, Path(label), found)


def test_models_of_several_seeds_are_tested_over_seeds(ramps):
    runs = [
        trained(f"{recipe}{seed}", ramps, by + shift, seed=seed)
        for recipe, by in (("a", 0.5), ("b", 0.52), ("c", 0.1))
        for seed, shift in enumerate((-0.05, 0.0, 0.05))
    ]
    table = compare(runs, metrics=["mae"])
    between = {(d.one[7], d.other[7]): d for d in table.differences if d.seeds == (3, 3)}
    assert set(between) == {("a", "b"), ("a", "c"), ("b", "c")}
    assert not between["a", "b"].significant  # although the windows alone tell them apart
    assert between["a", "c"].significant
    # Welch's test of the scores of the seeds, and something for the windows.
    scores = [run.scores.forecasters["model"]["mae"]["mean"].value for run in runs]
    welch = stats.ttest_ind(scores[:3], scores[3:6], equal_var=False)
    assert between["a", "b"].value == pytest.approx(np.mean(scores[:3]) - np.mean(scores[3:6]))
    assert between["a", "b"].p_value >= welch.pvalue > 0.5
    low, high = stats.ttest_ind(scores[:3], scores[6:], equal_var=False).confidence_interval()
    found = between["a", "c"]
    assert high - low < found.high - found.low < 1.2 * (high - low)
    pooled = [row for row in table.rows if row.kind == "seeds"]
    assert [row.label for row in pooled] == [f"model ({x}0, {x}1, {x}2)" for x in "abc"]
    cell = pooled[0].cells[Column("mae", "mean")]
    assert cell.extremes == (min(scores[:3]), max(scores[:3]))
    assert "spread over seeds" in as_text(table)


def test_seeds_of_one_recipe_are_never_better_than_each_other(ramps):
    runs = [trained("a1", ramps, 0.1, seed=1), trained("a2", ramps, 0.5, seed=2)]
    assert {d.other for d in compare(runs).differences} == {"persistence"}
    again = [trained("a1", ramps, 0.1, seed=1), trained("a2", ramps, 0.5, seed=1)]
    assert all(row.kind != "seeds" for row in compare(again).rows)


def test_one_training_against_several_has_no_interval_and_two_have_a_warning(ramps):
    runs = [trained(f"a{seed}", ramps, 0.1 * seed, seed=seed) for seed in (1, 2)]
    other = trained("b1", ramps, 0.6, seed=1)
    (first, *_) = compare([*runs, other], metrics=["mae"]).differences
    assert str(first).endswith("too few seeds for an interval")
    assert "another seed" in as_text(compare([runs[0], other]))
    assert "another seed" not in as_text(compare([runs[0]]))


def test_a_training_that_was_stopped_is_named(ramps):
    stopped = trained("a1", ramps, 0.1, seed=1, steps=132, planned_steps=6000)
    remark = "a1 had trained 132 of 6000 steps when it was scored."
    assert compare([stopped, trained("b1", ramps, 0.1)]).remarks == [remark]


def test_selections_of_a_single_forecast_count_once(ramps):
    (found,) = compare([trained("a1", ramps, 0.1)], metrics=["mae"]).differences
    several = trained("a1", ramps, 0.1)
    assert len(several.scores.forecasters["model"]["mae"]) > 1
    assert (found.metric, found.selection, found.other) == ("mae", "mean", "persistence")


@pytest.mark.parametrize("freedom", [1.0, 1.7, 4.0, 300.0])
def test_students_t_has_its_tails(freedom):
    sizes, tails = students_t(freedom)
    for size in (0.3, 2.0, 12.0):
        expected = 2 * stats.t.sf(size, freedom)
        assert np.interp(size, sizes, tails) == pytest.approx(expected, abs=1e-6)


def test_only_windows_that_both_were_scored_on_are_compared(ramps, tmp_path):
    every, some = (scored(offset(ramps.spec, 0.5), ramps, max_windows=n) for n in (None, 9))
    runs = [Scored("every", tmp_path, every), Scored("some", tmp_path, some)]
    (between, *_) = compare(runs, metrics=["mae.mean"]).differences
    assert between.windows == 9
    assert between.value == pytest.approx(0, abs=1e-6)


def test_scores_without_windows_are_compared_without_statements(ramps, tmp_path):
    found = replace(scored(offset(ramps.spec, 0.5), ramps), windows=None)
    assert compare([Scored("a", tmp_path, found)]).differences == []


def test_a_score_that_is_nan_is_no_unknown_window(ramps):
    found = scored(offset(ramps.spec, math.nan), ramps)
    assert math.isnan(found.forecasters["model"]["mae"]["mean"].value)
    assert "model/mae/mean" not in found.windows.values
    assert isinstance(found, Evaluation)


@pytest.mark.parametrize(
    ("share", "words"),
    [(-0.0004, "the same as c's, to 0.05 %"), (-0.004, "0.4 % ABOVE c's"), (0.2, "20.0 % below")],
)
def test_a_difference_that_rounds_to_nothing_is_told_as_none(share, words):
    unknown = (math.nan, math.nan, [], [], [])
    found = Skill(Estimate(-share, *unknown), Estimate(share, *unknown))
    assert verdict(found, "c's").startswith(words)
    assert "-0.00" not in Skill(found.difference, Estimate(-0.0004, *unknown)).shown().split()


def test_the_error_of_the_mean_is_told_beside_the_crps():
    unknown = (math.nan, math.nan, [], [], [])
    same, better = (Skill(Estimate(v, *unknown), Estimate(-v, *unknown)) for v in (0.0, -0.3))
    scored = {"rmse": {"ensemble_mean": same}, "crps": {"ensemble": better}}
    mean, crps, note = skill_lines({"persistence": scored})
    assert mean == "error of the mean (rmse): the same as persistence's"
    assert crps.startswith("CRPS: 30.0 % below persistence's mean absolute error")
    assert "spread alone" in note
    # A reference has a spread of its own.
    assert "absolute" not in " ".join(skill_lines({"reference": scored}))
    (fair,) = skill_lines({"persistence": {"fair_mse": {"ensemble": better}, **scored}})[:1]
    assert fair.startswith("error of the mean (fair_mse): 30.0 % below persistence's")


def test_a_difference_without_an_interval_says_so():
    found = Difference("mse", "mean", "a", "b", 0.25, *[math.nan] * 3, windows=3)
    assert str(found) == "mse ↓ mean: a minus b = 0.25; too few sequences for an interval"
    known = found._replace(low=0.1, high=0.4, p_value=0.01)
    assert str(known) == "mse ↓ mean: a minus b = 0.25 [0.10, 0.40], p = 0.01: b is better"
