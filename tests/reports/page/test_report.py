"""Reports: whole HTML that refers to nothing outside it, true to the scores, safe with names."""

import base64
import json
import math
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from helpers.labelled_fields import sea_surface, write_field
from helpers.toy_data import Pendulum, trained_run

from statecast.cli.main import MISTAKE, main
from statecast.data import DATASETS
from statecast.data.base import seeded_generator
from statecast.data.user.fields import Fields
from statecast.errors import FileError, InputError
from statecast.evaluation.comparability import Scored, grouped
from statecast.evaluation.evaluation import Evaluation
from statecast.models.baselines import Persistence
from statecast.reports.page.ensembles import pit, reliability
from statecast.reports.page.example_windows import (
    Futures,
    as_shown,
    extremes,
    first_metric,
    survey,
)
from statecast.reports.page.skill import skill_horizon
from statecast.reports.page.write_report import PAGE_BYTES, embedded, write_report
from statecast.runs.create import create_run
from statecast.runs.run import evaluate_run
from statecast.runs.verify import accept

pytestmark = pytest.mark.usefixtures("pendulum")

HOSTILE = "<script>alert(1)</script>"
VOID = ("img", "meta", "br", "hr")  # elements without an end
IMAGES = tuple(f"data:image/{kind};base64," for kind in ("png", "svg+xml", "webp"))


class Page(HTMLParser):
    """Checks balance as it reads, and keeps what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.values, self.text = [], [], [], []
        self.identifiers, self.targets = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        given = dict(attributes)
        if "id" in given:
            self.identifiers.append(given["id"])
        if given.get("href", "").startswith("#"):
            self.targets.append(given["href"][1:])
        if tag == "data":
            self.values.append(float(given["value"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    text = path.read_text()
    found = Page(text)
    for tag, attributes in found.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), name
            if name in ("src", "srcset", "data", "poster"):
                assert value.startswith(IMAGES)
            if name == "href" and not value.startswith("#"):
                assert tag == "a", tag
                assert value.startswith("https://arxiv.org/abs/"), value
            assert "url(http" not in (value or "")
    assert "@import" not in text
    assert "url(" not in text.split("</style>")[0]
    assert len(set(found.identifiers)) == len(found.identifiers)
    assert set(found.targets) <= set(found.identifiers)
    return found


@pytest.fixture(scope="session")
def first(tmp_path_factory):
    """A run folder with a training and scores of all kinds; tests that change it copy it."""
    run = trained_run(tmp_path_factory.mktemp("runs"), ["--train.steps=4"], name="first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "pendulum", Pendulum)
        metrics = "[mse,crps,rank_histogram,coverage,spread_skill]"
        evaluate_run(run, [f"--evaluate.metrics={metrics}", "--evaluate.samples=4"])
    return run


def scores_of(folder):
    return json.loads((folder / "scores.json").read_text())


def copied(run, folder, change=None):
    """A copy of a run, with its scores changed."""
    shutil.copytree(run.folder, folder)
    scores = scores_of(folder)
    if change is not None:
        change(scores)
        (folder / "scores.json").write_text(json.dumps(scores))
    return folder


def small(folders, output, **options):
    return write_report(folders, output, **{"windows": 1, "samples": 2} | options)


def words(path):
    return "".join(read(path).text)


def only_mse(scores):
    for name, metrics in scores["forecasters"].items():
        scores["forecasters"][name] = {"mse": metrics["mse"]}
    scores["details"] = {}


def of_another_protocol(scores):
    """Another split, bands around one score, a published protocol, an analysis."""
    only_mse(scores)
    scores["protocol"] |= {"split": "validation", "name": "mmnist-5-95"}
    for metrics in scores["forecasters"].values():
        metrics["mse"]["mean"]["half_widths"] = [0.1] * len(scores["lead_times"])
        metrics["mse"]["best"].pop("half_widths", None)
    scores["analyses"] = {"content_swap": {"unknown": 15.5}}
    scores["not_computed"] = {"persistence": {"coverage": "one forecast has no calibration"}}


@pytest.fixture(scope="session")
def report(first, tmp_path_factory):
    """A report on the run, a copy of it, and another that must not be compared with them."""
    folder = tmp_path_factory.mktemp("report")
    second = copied(first, folder / "second")
    third = copied(first, folder / "third", of_another_protocol)
    (third / "metrics.csv").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "pendulum", Pendulum)
        runs = [first.folder, second, third]
        return write_report(runs, folder / "report.html", windows=1, samples=2)


def test_a_report_is_whole_and_holds_the_scores(first, report):
    found = read(report)
    for forecaster, metrics in scores_of(first.folder)["forecasters"].items():
        for metric, selections in metrics.items():
            for selection in set(selections) & {"ensemble_mean", "best", "ensemble"}:
                if forecaster == "persistence" and metric not in ("mse", "crps"):
                    continue  # one forecast has no calibration
                assert selections[selection]["value"] in found.values, (forecaster, metric)
    text = "".join(found.text)
    crps = scores_of(first.folder)["forecasters"]["srvp"]["crps"]["ensemble"]["value"]
    summary = text[: text.index("Pictures as files")]
    assert f"first: CRPS ↓ {crps:.4g}, against" in summary
    for title in ("Against lead time", "Horizon of skill", "Test windows", "recipe", "Machine"):
        assert title in text


def test_pictures_are_embedded_as_they_are_in_the_folder(report):
    images = [a for tag, a in read(report).tags if tag == "img"]
    assert all(image["alt"] for image in images)
    # A window of each run, as a strip and as an animation.
    assert sum(image["src"].startswith("data:image/png") for image in images) == 3
    assert sum(image["src"].startswith("data:image/webp") for image in images) == 3
    folder = report.with_name("report_pictures")
    charts = {p.name for p in folder.glob("scores-1-*.svg")}
    assert {
        "scores-1-mse-ensemble-mean.svg",
        "scores-1-pit.svg",
        "scores-1-coverage-0-9.svg",
    } <= charts
    written = sorted(p.read_bytes() for p in folder.iterdir())
    content = [base64.b64decode(image["src"].partition("base64,")[2]) for image in images]
    assert sorted(content) == written


def test_runs_share_charts_where_they_can_be_compared_and_else_stand_apart(report):
    found = read(report)
    text = "".join(found.text)
    assert "Scores of first, second" in text
    assert "Scores of third" in text
    assert "must not be compared with those of first, second" in text
    assert "split: test in first, validation in third" in text
    told = [a["alt"] for tag, a in found.tags if tag == "img"]
    shared, alone = (
        words for words in told if words.startswith("Chart of MSE ↓ ensemble mean against lead")
    )
    assert "first: from" in shared
    assert "second: from" in shared
    assert "third: from" in alone
    assert "first: from" not in alone


def test_analyses_stand_beside_published_scores_and_reasons_are_said(report):
    found = read(report)
    text = "".join(found.text)
    assert '"unknown": 15.5' in text
    assert "16.5" in text
    assert "0.7713" in text
    assert "persistence, coverage was not computed: one forecast has no calibration." in text
    assert any("arxiv.org/abs" in a.get("href", "") for _, a in found.tags)


def test_bands_are_drawn_where_scores_have_half_widths(report):
    folder = report.with_name("report_pictures")
    assert "FillBetween" in (folder / "scores-2-mse-ensemble-mean.svg").read_text()
    assert "FillBetween" not in (folder / "scores-2-mse-best.svg").read_text()


def test_what_is_missing_is_said_with_its_command(first, tmp_path):
    run = create_run(str(first.folder.parent / "tiny.yaml"), tmp_path / "empty")
    other = copied(first, tmp_path / "other", only_mse)
    (other / "metrics.csv").unlink()
    text = words(small([run.folder, other], tmp_path / "report.html"))
    assert f"statecast evaluate {run.folder}" in text
    assert f"statecast train RECIPE --output {run.folder}" in text
    assert "Forecasts of empty cannot be shown" in text
    assert '--evaluate.metrics "[mse, spread_skill, rank_histogram, coverage]"' in text


def test_hostile_names_and_contents_are_escaped(first, tmp_path):
    def hostile(scores):
        only_mse(scores)
        scores["protocol"]["data"]["name"] = HOSTILE
        scores["protocol"]["notes"] = [HOSTILE]
        scores["not_computed"] = {HOSTILE: HOSTILE}
        scores["analyses"] = {HOSTILE: {"x": HOSTILE}}
        scores["forecasters"][f"../../../evil{HOSTILE}"] = scores["forecasters"]["persistence"]

    (tmp_path / "<script>alert(1)<").mkdir()
    folder = copied(first, tmp_path / "<script>alert(1)<" / "$x_{<img src=q onerror=y>", hostile)
    (folder / "env.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    config = folder / "config.yaml"
    config.write_text(f"# {HOSTILE}\n{config.read_text()}")
    accept(folder)
    steps = len((folder / "metrics.csv").read_text().splitlines()) - 1
    rows = [f"{number},1.0" for number in range(1, steps + 1)]
    (folder / "metrics.csv").write_text("\n".join(["step,$\\frac{<script>&", *rows]) + "\n")
    before = set(tmp_path.rglob("*"))
    text = words(small([folder], tmp_path / "report.html"))
    assert text.count(HOSTILE) >= 6
    pictures = tmp_path / "report_pictures"
    made = set(tmp_path.rglob("*")) - before - {pictures, tmp_path / "report.html"}
    assert {path.parent for path in made} == {pictures}
    names = [p.name for p in pictures.iterdir()]
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.") for name in names)


def test_pictures_that_would_make_the_page_too_large_are_left_out(tmp_path):
    for name, size in (("a.png", 2_400_000), ("b.webp", 1000), ("c.svg", 200_000)):
        (tmp_path / name).write_bytes(bytes(size))
    found = embedded(tmp_path)
    assert set(found) == {"b.webp", "c.svg", "a.png"}
    (tmp_path / "d.webp").write_bytes(bytes(1_000_000))
    found = embedded(tmp_path)
    assert set(found) == {"b.webp", "c.svg", "d.webp"}
    assert sum(map(len, found.values())) < PAGE_BYTES


def test_the_command_and_its_mistakes(first, tmp_path, capsys):
    out, run = tmp_path / "report.html", tmp_path / "empty"
    create_run(str(first.folder.parent / "tiny.yaml"), run)
    options = ["--output", str(out), "--windows", "1", "--samples", "1"]
    assert main(["report", str(run), *options]) == 0
    assert f"Written: {out}" in capsys.readouterr().out
    assert main(["report", str(tmp_path), *options]) == MISTAKE
    assert main(["report", str(run), str(run), *options]) == MISTAKE
    assert "twice" in capsys.readouterr().err
    with pytest.raises(FileError, match=r"\.html file in an existing folder"):
        write_report([run], tmp_path / "none" / "report.html")
    with pytest.raises(InputError, match="at least 1, got 0 and 20"):
        write_report([run], out, windows=0)
    with pytest.raises(InputError, match="at least one run"):
        write_report([], out)


def test_fields_are_shown_as_they_came(tmp_path):
    sea = sea_surface(frames=120, height=10, width=18, island=True)
    data = Fields(
        path=write_field(tmp_path / "a.nc", sea), context=4, horizon=5, test_horizon=5, multiple=8
    )
    windows = data.windows("test")
    futures = Futures(Persistence(data.spec), windows, count=2, samples=1, seed=1)
    context, target, forecast = as_shown(futures, 1, data.preparation)
    start = int(windows.starts[futures.chosen[1], 1])
    expected = torch.from_numpy(sea["sst"].values[start : start + 9, None]).float()
    torch.testing.assert_close(
        torch.cat([context.values, target.values], dim=1)[0], expected, equal_nan=True
    )
    assert forecast.samples.shape[-2:] == (10, 18)  # no points that were added
    assert forecast.coordinates.times[-1] == sea["time"].values[start + 3]
    assert (context.coordinates.variables["lat"].values == sea["lat"].values).all()


def test_ranks_of_any_number_of_samples_make_one_histogram():
    for ranks in (5, 20, 33):
        places, density = pit(np.full(ranks, 1 / ranks))
        assert density == pytest.approx([1.0] * min(20, ranks))
        assert places[0] == pytest.approx(0.5 / len(places))
    # The truth below all of 39 samples half of the time, above them the other half.
    places, density = pit(np.array([0.5, *[0.0] * 38, 0.5]))
    assert density == pytest.approx([10.0, *[0.0] * 18, 10.0])
    # One of 25 ranks fills four fifths of the first of 20 bins.
    _, density = pit(np.array([1.0, *[0.0] * 24]))
    assert density[:2] == pytest.approx([20.0, 0.0])


def test_reliability_of_a_rank_histogram():
    nominal, observed = reliability(np.full(5, 0.2))
    assert nominal == pytest.approx([0.2, 0.6, 1.0])
    assert observed == pytest.approx(nominal)  # calibrated
    _, observed = reliability(np.array([0.5, 0.0, 0.0, 0.0, 0.5]))
    assert observed == pytest.approx([0.0, 0.0, 1.0])  # the truth is always outside


def test_windows_are_scored_one_by_one_and_shown_as_they_were_scored(first):
    model, windows = first.load(), first.data().windows("test")
    futures = Futures(model, windows, count=11, samples=3, seed=1)
    found = survey(futures, "mse")
    assert found.numbers == [i * 40 // 11 for i in range(11)]
    for position in (0, 7, 10):  # in the first batch, at its end, and in the second one
        batch, forecast = futures.one(position)
        expected = (forecast.samples - batch.target.values).square().mean()
        assert found.scores[position] == pytest.approx(float(expected), rel=1e-5)
        torch.testing.assert_close(
            batch.values, windows.batch(torch.tensor([found.numbers[position]])).values
        )
    # Spread and error over all windows at once, independently.
    parts = [
        model.forecast(batch.context, 5, samples=3, generator=seeded_generator(1, number)).samples
        for number in found.numbers
        for batch in [windows.batch(torch.tensor([number]))]
    ]
    samples = torch.cat(parts, dim=1).double()
    spread = samples.var(dim=0).mean(dim=(0, 2, 3)).sqrt()
    torch.testing.assert_close(torch.tensor(found.spread, dtype=torch.float64), spread)
    target = windows.batch(futures.chosen).target.values
    error = (samples.mean(dim=0) - target).square().mean(dim=(0, 2, 3)).sqrt()
    torch.testing.assert_close(torch.tensor(found.error, dtype=torch.float64), error)


def test_best_median_and_worst():
    scores = [3.0, 1.0, 2.0, 5.0, 4.0]
    assert extremes(scores, higher_is_better=False) == {"best": 1, "median": 0, "worst": 3}
    assert extremes(scores, higher_is_better=True) == {"best": 3, "median": 0, "worst": 1}
    assert extremes([1.0, math.nan, 2.0], higher_is_better=True)["worst"] == 1
    assert extremes([1.0], higher_is_better=True) == {"best": 0}


def test_the_first_metric_of_single_forecasts_chooses(data):
    assert first_metric(["crps", "ssim", "psnr"], data.spec) == "psnr"
    assert first_metric(["nothing"], data.spec) == "mse"


TIMES = [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("gain", "better", "statement"),
    [
        ([1, 1, 1, 1], [(1, 4)], "every lead time up to 4"),
        ([1, 1, -1, -1], [(1, 2)], "lead times 1 to 2 of 4"),
        ([1, 1, 0, -1], [(1, 2)], "lead times 1 to 2 of 4"),
        ([-1, -1, -1, -1], [], "no lead time up to 4"),
        ([-1, 1, 1, -1], [(2, 3)], "lead times 2 to 3 of 4"),
        ([1, -1, 1, -1], [(1, 1), (3, 3)], "lead times 1 and 3 of 4"),
        ([1, math.nan, 1, 1], [(1, 1), (3, 4)], "1 and 3 to 4 of 4 (some scores are not finite"),
    ],
)
def test_the_horizon_of_skill_is_exact(gain, better, statement):
    reference = [10.0, 9.0, 8.0, 7.0]
    for sign in (1, -1):
        own = [r + sign * g for r, g in zip(reference, gain, strict=True)]
        found = skill_horizon(TIMES, own, reference, higher_is_better=sign == 1)
        assert found.better == better
        assert statement in found.statement


def test_a_horizon_of_skill_needs_a_score_per_lead_time():
    with pytest.raises(InputError, match="4 lead times, 1 and 4 scores"):
        skill_horizon(TIMES, [1.0], TIMES, higher_is_better=True)
    with pytest.raises(InputError, match="0 lead times"):
        skill_horizon([], [], [], higher_is_better=True)


def test_groups_are_of_runs_that_agree(tmp_path):
    def run(label, context):
        protocol = {"samples": 1, "split": "test", "context": context, "horizon": 1}
        scores = {"protocol": protocol, "lead_times": [1.0], "forecasters": {"m": {}}}
        return Scored(label, tmp_path / label, Evaluation.from_json(scores))

    groups = grouped([run("a", 1), run("b", 2), run("c", 1)])
    assert [[r.label for r in group.runs] for group in groups] == [["a", "c"], ["b"]]
    assert [group.reasons for group in groups] == [[], ["context: 1 in a, 2 in b"]]
    assert grouped([]) == []
