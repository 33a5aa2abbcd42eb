"""Comparisons: what may stand side by side, what may not and why, and which value is best."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest

from statecast.cli.main import MISTAKE, main
from statecast.errors import CorruptionError, FileError, InputError
from statecast.evaluation.comparability import Scored, differences, read_runs, short_labels
from statecast.evaluation.comparison import Column, compare
from statecast.evaluation.comparison_formats import (
    as_csv,
    as_json,
    as_latex,
    as_markdown,
    as_text,
)
from statecast.evaluation.evaluation import Evaluation, score_from
from statecast.evaluation.text_tables import with_interval


def of(value):
    return score_from(score(value))


def score(value, half_width=0.5, count=3):
    return {"per_lead_time": [value] * count, "value": value, "half_width": half_width}


def scores(*, psnr=17.0, name="smmnist-5-20", model="srvp", **protocol):
    selections = {"mean": score(psnr - 4), "best": score(psnr)}
    return {
        "protocol": {
            "name": name, "split": "test", "context": 5, "horizon": 3, "samples": 100,
            "deterministic": False, "digest": "aa", "windows": 50, "seed": 1, "notes": [],
            "metrics": {"psnr": "1", "crps": "1"}, "data": {"name": "digits", "digits": 2},
        } | protocol,
        "lead_times": [1.0, 2.0, 3.0],
        "forecasters": {
            model: {"psnr": selections, "crps": {"ensemble": score(0.1)}},
            "persistence": {
                "psnr": {"mean": score(12.0), "best": score(12.0)},
                "crps": {"ensemble": score(0.2)},
            },
        },
    }  # fmt: skip


def scored(label, folder, **options):
    return Scored(label, folder / label, Evaluation.from_json(scores(**options)))


@pytest.fixture
def folders(tmp_path):
    paths = []
    for name, options in {"a": {"psnr": 17.0}, "b": {"psnr": 16.0, "seed": 2}}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.json").write_text(json.dumps(scores(**options)))
        paths.append(str(tmp_path / name))
    return paths


@pytest.mark.parametrize(
    ("changed", "phrase"),
    [
        ({"context": 4}, "context: 5 in a, 4 in b"),
        ({"horizon": 9}, "horizon: 3 in a, 9 in b"),
        ({"split": "validation"}, "split: test in a, validation in b"),
        ({"area_weights": True}, "area_weights: null in a, true in b"),
        ({"digest": "bb"}, "digest of the windows: aa… in a, bb… in b"),
        ({"metrics": {"psnr": "2", "crps": "1"}}, "version of psnr: 1 in a, 2 in b"),
    ],
)
def test_a_field_that_differs_is_named_with_both_values(tmp_path, changed, phrase):
    runs = [scored("a", tmp_path), scored("b", tmp_path, **changed)]
    assert differences(runs) == [phrase]
    with pytest.raises(InputError, match="cannot be compared"):
        compare(runs)


def test_all_fields_that_differ_are_named_at_once_and_entries_of_the_data(tmp_path):
    other = {"samples": 20, "digest": "bb", "data": {"name": "digits", "digits": 3}}
    runs = [scored("a", tmp_path), scored("b", tmp_path, **other), scored("c", tmp_path)]
    assert differences(runs) == [
        "digest of the windows: aa… in a and c, bb… in b",
        "data.digits: 2 in a and c, 3 in b",
    ]


def test_lead_times_must_be_the_same(tmp_path):
    runs = [scored("a", tmp_path), scored("b", tmp_path)]
    other = replace(runs[1].scores, lead_times=[0.5, 1.0, 1.5])
    runs[1] = runs[1]._replace(scores=other)
    assert differences(runs) == ["lead times: [1.0, 2.0, 3.0] in a, [0.5, 1.0, 1.5] in b"]


def test_a_deterministic_model_needs_no_samples(tmp_path):
    one = scored("b", tmp_path, samples=1, deterministic=True)
    assert differences([scored("a", tmp_path), one]) == []


def test_windows_simulated_on_another_machine_are_a_remark(tmp_path):
    runs = [
        scored(label, tmp_path, name="wave-5-40-paper", digest=digest)
        for label, digest in (("a", "aa"), ("b", "bb"))
    ]
    assert differences(runs) == []
    assert any("last bits" in remark for remark in compare(runs).remarks)


def test_of_other_numbers_of_samples_only_fair_scores_are_shown(tmp_path):
    runs = [scored("a", tmp_path), scored("b", tmp_path, samples=20)]
    assert differences(runs) == []
    table = compare(runs)
    assert table.columns == [Column("psnr", "mean"), Column("crps", "ensemble")]
    assert any(remark.startswith("samples: 100 in a, 20 in b;") for remark in table.remarks)
    with pytest.raises(InputError, match=r"no score 'psnr\.best'"):
        compare(runs, metrics=["psnr.best"])


def test_what_may_differ_is_said(tmp_path):
    runs = [scored("a", tmp_path), scored("b", tmp_path, seed=3, windows=20, solver="rk4")]
    remarks = compare(runs).remarks
    told = {"seed: 1 in a, 3 in b", "windows: 50 in a, 20 in b", "solver: null in a, rk4 in b"}
    assert told <= set(remarks)


def test_rows_are_runs_then_one_persistence_then_published(tmp_path):
    table = compare([scored("a", tmp_path), scored("b", tmp_path, psnr=16.0)])
    labels = [(row.label, row.kind) for row in table.rows]
    assert labels[:3] == [("a", "run"), ("b", "run"), ("persistence", "baseline")]
    assert ("SRVP", "published") in labels[3:]
    best = Column("psnr", "best")
    assert table.columns[0] == best
    assert Column("psnr", "mean") not in table.columns  # the protocol names its selection
    assert [table.rows[i].label for i in table.best[best]] == ["a"]
    assert Column("ssim", "best") in table.columns  # published, and not computed here
    published = next(r for r in table.rows if r.label == "SRVP")
    assert published.cells[best] == (16.93, 0.07, None)


def test_persistence_is_shown_twice_where_it_differs(tmp_path):
    runs = [scored("a", tmp_path), scored("b", tmp_path)]
    runs[1].scores.forecasters["persistence"]["psnr"]["best"] = of(11.0)
    labels = [row.label for row in compare(runs, published=False).rows]
    assert labels[2:] == ["persistence (a)", "persistence (b)"]


def test_sorting_puts_the_best_first_and_missing_last(tmp_path):
    runs = [scored("a", tmp_path, psnr=15.0), scored("b", tmp_path, psnr=math.nan)]
    for sort, first in (("psnr.best", "SRVP"), ("crps", "a")):
        rows = compare(runs, sort=sort).rows
        assert rows[0].label == first
    values = [row.cells[Column("psnr", "best")].value for row in compare(runs, sort="psnr").rows]
    known = [value for value in values if not math.isnan(value)]
    assert known == sorted(known, reverse=True)
    assert math.isnan(values[-1])


def test_nearest_to_one_is_best_of_spread_and_skill(tmp_path):
    runs = [scored(label, tmp_path) for label in "ab"]
    for run, value in zip(runs, (1.4, 0.9), strict=True):
        run.scores.forecasters["srvp"]["spread_skill"] = {"ensemble": of(value)}
    table = compare(runs, published=False)
    column = Column("spread_skill", "ensemble")
    assert [table.rows[i].label for i in table.best[column]] == ["b"]


def test_columns_can_be_chosen(tmp_path):
    runs = [scored("a", tmp_path)]
    table = compare(runs, metrics=["crps", "psnr.mean"])
    assert table.columns == [Column("crps", "ensemble"), Column("psnr", "mean")]
    with pytest.raises(InputError, match=r"no score 'psnr\.worst'; choose from psnr\.mean"):
        compare(runs, metrics=["psnr.worst"])


def test_formats_hold_the_numbers(tmp_path):
    table = compare([scored("a|b", tmp_path, psnr=17.25)])
    assert "17.2 ± 0.5 *" in as_text(table)
    assert "| a\\|b | **17.2 ± 0.5** |" in as_markdown(table)
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert rows[0]["forecaster"] == "a|b"
    assert float(rows[0]["psnr.best"]) == 17.25
    content = json.loads(as_json(table))
    assert content["rows"][0]["scores"]["psnr.best"] == {
        "value": 17.25, "half_width": 0.5, "best": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "half_width", "text"),
    [
        (13.213, 0.0953, "13.213 ± 0.095"),
        (13.01, 0.0999, "13.01 ± 0.10"),
        (14.5, 0.04, "14.50 ± 0.04"),  # as a paper prints it
        (0.3125, 4.4e-17, "0.3125 ± 0"),
        (1234.6, 123.4, "1235 ± 123"),
        (-0.001, 0.12, "0.00 ± 0.12"),
        (2e-9, 3.1e-10, "2e-09 ± 3.1e-10"),
        (21.7, math.nan, "21.7"),
    ],
)
def test_a_score_has_the_decimals_of_its_half_width(value, half_width, text):
    assert with_interval(value, half_width) == text


def test_a_table_for_latex(tmp_path):
    table = compare([scored("a_1 & co", tmp_path, psnr=17.25)])
    text = as_latex(table)
    assert r"a\_1 \& co & \textbf{17.2 $\pm$ 0.5} & --" in text
    assert r"psnr $\uparrow$ best" in text
    assert all(line[:1] in "%\\ aSGp" for line in text.splitlines())
    assert text.count(r" \\") == 1 + len(table.rows)


def test_a_model_of_one_forecast_stands_beside_the_mean_of_samples(tmp_path):
    one = scored("b", tmp_path, name=None, samples=1, deterministic=True)
    runs = [scored("a", tmp_path, name=None), one]
    for run in runs:
        run.scores.forecasters["srvp"]["psnr"]["ensemble_mean"] = of(16.0)
    fair = [Column("psnr", "ensemble_mean"), Column("crps", "ensemble")]
    assert compare(runs).columns == fair
    psnr = [column for column in compare(runs[:1]).columns if column.metric == "psnr"]
    assert {column.selection for column in psnr} == {"ensemble_mean", "best"}
    named = [scored("a", tmp_path), scored("b", tmp_path, samples=1, deterministic=True)]
    for run in named:
        run.scores.forecasters["srvp"]["psnr"]["ensemble_mean"] = of(16.0)
    assert compare(named, published=False).columns == [Column("psnr", "best"), *fair]


def test_one_published_table(folders, capsys):
    assert main(["compare", *folders, "--table", "smmnist-5-20", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert "SRVP" in [row["forecaster"] for row in rows]
    assert main(["compare", "--table", "nothing"]) == MISTAKE
    assert "choose from" in capsys.readouterr().err
    assert main(["compare", "--tables", "--format", "csv"]) == MISTAKE
    assert "--table PROTOCOL" in capsys.readouterr().err


def test_labels_are_the_shortest_ends_that_differ():
    assert short_labels(["x/a", "x/b"]) == ["a", "b"]
    assert short_labels(["x/a", "y/a"]) == ["x/a", "y/a"]
    with pytest.raises(InputError, match="twice"):
        short_labels(["x/a", "./x/a"])


def test_the_command(folders, capsys):
    assert main(["compare", *folders, "--format", "csv", "--no-published"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["kind"] for row in rows] == ["run", "run", "baseline"]
    assert main(["compare", *folders, "--metrics", "psnr.best", "--sort", "psnr"]) == 0
    assert "Franceschi" in capsys.readouterr().out


def test_runs_without_scores_or_with_damaged_ones_are_named(folders, tmp_path, capsys):
    with pytest.raises(FileError, match=f"There is no folder {tmp_path / 'none'}"):
        read_runs([tmp_path / "none"])
    (tmp_path / "none").mkdir()
    with pytest.raises(FileError, match=f"statecast evaluate {tmp_path / 'none'}"):
        read_runs([tmp_path / "none"])
    (tmp_path / "none" / "scores.json").write_text("{")
    with pytest.raises(CorruptionError, match="cannot be read"):
        read_runs([tmp_path / "none"])
    (tmp_path / "none" / "scores.json").write_text('{"protocol": {}}')
    assert main(["compare", *folders, str(tmp_path / "none")]) == MISTAKE
    assert "Make it again" in capsys.readouterr().err
    broken = scores()
    for value in ("<b>", {"per_lead_time": 3}, {**score(1.0), "value": "high"}):
        broken["forecasters"]["srvp"]["psnr"]["best"] = value
        (tmp_path / "none" / "scores.json").write_text(json.dumps(broken))
        with pytest.raises(CorruptionError, match="should hold scores as numbers"):
            read_runs([tmp_path / "none"])
