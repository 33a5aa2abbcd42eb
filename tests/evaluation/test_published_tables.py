"""Published tables with runs beneath: who compares, who does not and why, and over which frames."""

import json
import math

import pytest

from statecast.cli.main import main
from statecast.evaluation.comparability import Scored
from statecast.evaluation.comparison import Column
from statecast.evaluation.evaluation import Evaluation
from statecast.evaluation.protocols import protocol_names
from statecast.evaluation.protocols.protocol import read_protocol
from statecast.evaluation.protocols.published_scores import published_scores
from statecast.evaluation.published_tables import APART, published_tables

DIGITS = {"name": "moving_digits", **read_protocol("mmnist-5-10").must_be}
PSNR = Column("psnr", "mean")


def run(label, folder, *, data=DIGITS, psnr=30.0, leads=10, samples=1, **protocol):
    rising = [psnr + lead - (leads - 1) / 2 for lead in range(leads)]  # its mean is psnr
    score = {"per_lead_time": rising, "value": psnr, "half_width": 0.5}
    swap = {str(h): {"swapped": {"psnr": {"value": h + 0.5, "half_width": 0.1}}} for h in (10, 15)}
    content = {
        "protocol": {
            "name": None, "data": dict(data), "split": "test", "context": 5, "horizon": leads,
            "samples": samples, "deterministic": samples == 1, "windows": 5000,
            "available_windows": 5000, "metrics": {"psnr": "1"},
        } | protocol,
        "lead_times": [1.0 + lead for lead in range(leads)],
        "forecasters": {
            label: {"psnr": {"mean": score, "best": {**score, "value": psnr + 1}}},
            "persistence": {"psnr": {"mean": {**score, "value": 9.0}}},
        },
        "analyses": {"content_swap": {"horizons": swap}},
    }  # fmt: skip
    return Scored(label, folder / label, Evaluation.from_json(content))


def tables(*groups):
    """Tables by the name of their protocol, and `swap` after it for those of content swaps."""
    found = {}
    for table in published_tables(groups):
        name = table.title.rpartition("[")[2].rstrip("]")
        found[f"{name} swap" if "content swap)" in table.title else name] = table.comparison
    return found


def rows(table):
    return {row.label: row for row in table.rows if row.kind == "run"}


def test_a_run_of_the_protocol_stands_unmarked_and_can_be_the_best(tmp_path):
    table = tables([run("a", tmp_path, name="mmnist-5-10")])["mmnist-5-10"]
    assert rows(table)["a"].cells[PSNR].value == 30.0
    assert [table.rows[i].label for i in table.best[PSNR]] == ["a"]
    assert not any(APART in remark for remark in table.remarks)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"data": DIGITS | {"digits": 1}}, "data.digits is 1, not 2"),
        ({"context": 4}, "context is 4, not 5"),
        ({"windows": 64, "name": "mmnist-5-10"}, "windows is 64, not 5000"),
        ({"metrics": {"psnr": "0"}, "name": "mmnist-5-10"}, "the version of psnr is '0', not '1'"),
        ({"samples": 20}, "samples is 20, not 1"),
        ({}, "scored without --evaluate.protocol mmnist-5-10"),
    ],
)
def test_what_differs_is_said_and_never_the_best(tmp_path, options, reason):
    table = tables([run("a", tmp_path, **options)])["mmnist-5-10"]
    assert list(rows(table)) == ["≠ a"]
    assert f"≠ a, persistence: {reason}" in table.remarks
    assert all(table.rows[i].kind == "published" for i in table.best[PSNR])


def test_a_longer_run_is_scored_on_the_frames_of_the_table(tmp_path):
    found = tables([run("a", tmp_path, psnr=20.0, leads=15)])
    assert rows(found["mmnist-5-10"])["≠ a"].cells[PSNR].value == pytest.approx(17.5)
    assert rows(found["mmnist-5-95"])["≠ a"].cells[PSNR].value == 20.0
    assert rows(found["mmnist-5-10 swap"])["≠ a"].cells[PSNR].value == 10.5
    assert rows(found["mmnist-5-95 swap"])["≠ a"].cells[PSNR].value == 15.5


def test_runs_stand_beneath_their_kind_of_data_alone(tmp_path):
    ocean = {"name": "sst", "source": "simulated by statecast", "protocol": "honest"}
    few = {"name": "wave_equation", "points": 100}
    shapes = {"name": "moving_shapes"}
    found = tables(
        *([run(name, tmp_path, data=data)] for name, data in
          (("ocean", ocean), ("few", few), ("shapes", shapes)))
    )  # fmt: skip
    beneath = {name: list(rows(table)) for name, table in found.items() if rows(table)}
    assert beneath == {
        "kth-10-30": ["≠ shapes"], "bair-2-28": ["≠ shapes"], "sst-4-6": ["≠ ocean"],
        "sst-4-10": ["≠ ocean"], "wave100-5-40-paper": ["≠ few"],
    }  # fmt: skip


def test_baselines_stand_beneath_once(tmp_path):
    runs = [[run(name, tmp_path, psnr=psnr)] for name, psnr in (("a", 20.0), ("b", 21.0))]
    found = tables(*runs)
    labels = [(row.label, row.kind) for row in found["mmnist-5-10"].rows if row.kind != "published"]
    assert labels == [("≠ a", "run"), ("≠ b", "run"), ("≠ persistence", "baseline")]
    kinds = {row.kind for row in found["mmnist-5-10 swap"].rows}
    assert kinds == {"published", "run"}


def test_runs_of_several_seeds_are_one_row(tmp_path):
    seeds = [run(f"a{i}", tmp_path, psnr=psnr) for i, psnr in enumerate((20.0, 21.0, 25.0))]
    table = tables(seeds)["mmnist-5-10"]
    cell = next(row for row in table.rows if row.kind == "seeds").cells[PSNR]
    assert cell == (22.0, pytest.approx(math.nan, nan_ok=True), (20.0, 25.0))


def test_every_published_score_of_a_protocol_stands_in_a_table():
    shown = sum(len(row.cells) for table in tables().values() for row in table.rows)
    assert shown == sum(score.protocol in protocol_names() for score in published_scores())


def test_the_verb_prints_all_tables_without_a_run(capsys):
    assert main(["compare", "--tables", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [t["rows"][0]["forecaster"] for t in found if "[bair-2-28]" in t["title"]] == ["SV2P"]
    assert main(["compare", "--tables", "--format", "csv"]) == 2
    assert "A CSV file holds one table" in capsys.readouterr().err
    assert main(["compare"]) == 2
