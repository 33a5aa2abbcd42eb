"""The table of analyses: means over seeds, the better of what has a better, and who is left out."""

import csv
import io
import json

import pytest
from helpers.toy_data import TINY, Pendulum

from statecast.cli.main import main
from statecast.data import DATASETS
from statecast.errors import InputError
from statecast.evaluation.analyses_comparison import Finding, compare_analyses
from statecast.evaluation.comparability import Scored
from statecast.evaluation.comparison_formats import as_markdown, as_text
from statecast.evaluation.evaluation import Evaluation
from statecast.runs.create import create_run
from statecast.runs.run import training_of


def scores(*, latent=0.9, mse=0.04, **protocol):
    code = {"latent": {"r2": latent}, "content": {"r2": 0.2}}
    label = {"chance": 0.1, "latent": {"accuracy": 0.3}, "content": {"accuracy": 0.8}}
    swap = {"swapped": {"mse": {"value": mse}, "psnr": {"value": 14.0}}, "plain": {}, "held": {}}
    return {
        "protocol": {
            "split": "test", "context": 5, "horizon": 3, "samples": 1, "digest": "aa",
            "windows": 50, "metrics": {}, "data": {},
        } | protocol,
        "lead_times": [1.0, 2.0, 3.0],
        "forecasters": {"drnet": {}},
        "analyses": {
            "probes": {
                "quantities": {"position": code},
                "labels": {"label": label},
                "completeness": {"position": 0.5, "label": 0.7},
                "disentanglement": {"latent": 0.4, "content": None},
            },
            "content_swap": {"horizons": {"3": swap}},
        },
    }  # fmt: skip


def scored(label, folder, **options):
    return Scored(label, folder / label, Evaluation.from_json(scores(**options)))


def test_runs_of_several_seeds_are_their_mean_and_their_extremes(tmp_path):
    seeds = [scored(f"a{i}", tmp_path, latent=r2) for i, r2 in enumerate((0.5, 0.6, 1.0))]
    table = compare_analyses([seeds, [scored("b", tmp_path, latent=0.8)]])
    assert [row.label for row in table.rows] == ["drnet (a0, a1, a2)", "b"]
    found = table.rows[0].cells[Finding("position R²", "latent")]
    assert found.value == pytest.approx(0.7)
    assert found.extremes == (0.5, 1.0)
    assert table.rows[1].cells[Finding("position R²", "latent")].value == 0.8
    assert table.rows[1].cells[Finding("completeness", None)].value == pytest.approx(0.6)
    assert "0.70 (0.50 to 1.00)" in as_text(table)
    assert "lowest to highest" in as_text(table)


def test_there_is_a_best_swap_and_no_best_truth_in_a_code(tmp_path):
    table = compare_analyses([[scored("a", tmp_path)], [scored("b", tmp_path, mse=0.03)]])
    assert table.best[Finding("swap mse", "t+3")] == [1]
    assert table.best[Finding("swap psnr", "t+3")] == [0, 1]
    assert table.best[Finding("position R²", "latent")] == []
    assert table.best[Finding("disentanglement", "content")] == []  # undefined in both
    shown = as_markdown(table)
    assert "swap mse ↓ t+3" in shown
    assert "disentanglement ↑ latent" in shown
    assert "| position R² latent |" in shown


def test_runs_of_other_windows_or_without_analyses_are_refused(tmp_path):
    with pytest.raises(InputError, match="context: 5 in a, 4 in b"):
        compare_analyses([[scored("a", tmp_path)], [scored("b", tmp_path, context=4)]])
    bare = Scored("a", tmp_path, Evaluation.from_json({**scores(), "analyses": {}}))
    with pytest.raises(InputError, match="None of these runs has analyses"):
        compare_analyses([[bare]])


def test_the_verb_groups_runs_by_all_but_their_seed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(DATASETS, "pendulum", Pendulum)
    phases = "phases: [{name: first, steps: 8, frozen: [decoder]}, {name: last, steps: 4}]"
    (tmp_path / "tiny.yaml").write_text(TINY.replace("steps: 12", f"steps: 12, {phases}"))
    folders = []
    for name, option in (("a", "seed=1"), ("b", "seed=2"), ("c", "learning_rate=0.5")):
        run = create_run(str(tmp_path / "tiny.yaml"), tmp_path / name, [f"--train.{option}"])
        content = scores()
        content["protocol"]["training"] = training_of(run, 12)
        (run.folder / "scores.json").write_text(json.dumps(content))
        folders.append(str(run.folder))
    assert main(["compare", *folders, "--analyses", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert "position R².content" in rows[0]
    assert [row["forecaster"] for row in rows] == ["drnet (a, b)", "c"]


def test_an_exact_answer_gives_scores_as_multiples_of_the_law_s_and_errors_of_modes(tmp_path):
    def with_law(label, crps, error):
        law = {
            "scores": {"crps": {"model": {"value": crps}, "exact": {"value": 0.2}}},
            "modes": {"log_score": 0.6, "exact_log_score": 0.5, "probability_error": error},
        }
        content = {**scores(), "analyses": {"exact_answer": law}}
        return [Scored(label, tmp_path / label, Evaluation.from_json(content))]

    table = compare_analyses([with_law("a", 0.3, 0.1), with_law("b", 0.22, 0.2)])
    over = Finding("crps", "over exact")
    assert [row.cells[over].value for row in table.rows] == pytest.approx([1.5, 1.1])
    assert table.best[over] == [1]
    assert table.best[Finding("error of probabilities", None)] == [0]
    assert "crps ↓ over exact" in as_text(table)
