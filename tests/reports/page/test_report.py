"""Reports: whole HTML that refers to nothing outside it, true to the scores, safe with names."""

import json
import math
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from statecast.cli.main import MISTAKE, main
from statecast.data.base import seeded_generator
from statecast.errors import FileError, InputError
from statecast.evaluation.analyses import STUDIES
from statecast.evaluation.comparability import Scored, grouped
from statecast.reports.page.charts import Chart, Line, _described, svg_of
from statecast.reports.page.example_windows import Futures, extremes, first_metric, survey
from statecast.reports.page.page import (
    VOID,
    Html,
    Section,
    element,
    escaped,
    linked,
    page,
    paragraph,
)
from statecast.reports.page.skill import skill_horizon
from statecast.reports.page.write_report import write_report
from statecast.runs.run import create_run, evaluate_run, train_run
from statecast.runs.verify import accept

HOSTILE = "<script>alert(1)</script>"
SVG_ALONE = ("path", "use", "rect", "line", "circle")  # may stand without an end


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

    def handle_startendtag(self, tag, attributes):
        assert tag in SVG_ALONE, tag
        self.handle_starttag(tag, attributes)
        self.open.pop()

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
                assert value.startswith(("data:image/png;base64,", "data:image/gif;base64,"))
            if name in ("href", "xlink:href") and not value.startswith("#"):
                assert tag == "a", tag
                assert value.startswith("https://arxiv.org/abs/"), value
            assert "url(http" not in (value or "")
    assert "@import" not in text
    assert "url(" not in text.split("</style>")[0]
    assert len(set(found.identifiers)) == len(found.identifiers)
    assert set(found.targets) <= set(found.identifiers)
    return found


def trained(recipe, folder, *overrides):
    run = create_run(recipe, folder, ["--train.steps=4", *overrides])
    train_run(run)
    return run


@pytest.fixture
def scored(recipe, tmp_path):
    run = trained(recipe, tmp_path / "first")
    metrics = "[mse,crps,rank_histogram,coverage,spread_skill]"
    evaluate_run(run, [f"--evaluate.metrics={metrics}", "--evaluate.samples=4"])
    return run


@pytest.fixture
def no_frames(monkeypatch):
    """Test windows drawn as next to nothing."""

    def sketch(context, forecast, path, **options):
        Image.new("RGB", (2, 2)).save(path)
        return path

    monkeypatch.setattr("statecast.reports.page.example_windows.plot_forecast", sketch)
    monkeypatch.setattr("statecast.reports.page.example_windows.animate_forecast", sketch)


@pytest.fixture
def sketched(monkeypatch, no_frames):
    """Charts as their words alone, for tests that look at words."""

    def words(chart):
        return element("svg", attributes={"aria-label": _described(chart)})

    monkeypatch.setattr("statecast.reports.page.charts.svg_of", words)
    monkeypatch.setattr("statecast.reports.page.charts.write_png", lambda figure, path: path)
    monkeypatch.setattr("statecast.reports.page.charts.drawn", lambda *chart, **options: None)


def small(folders, output, **options):
    return write_report(folders, output, **{"windows": 5, "samples": 3} | options)


def test_a_report_is_whole_and_holds_the_scores(scored, tmp_path):
    found = read(small([scored.folder], tmp_path / "report.html"))
    scores = json.loads((scored.folder / "scores.json").read_text())["forecasters"]
    for forecaster, metrics in scores.items():
        for metric, selections in metrics.items():
            for selection in set(selections) & {"mean", "best", "ensemble"}:
                if forecaster == "persistence" and metric in ("rank_histogram", "coverage"):
                    continue  # one forecast has no calibration
                if forecaster == "persistence" and metric == "spread_skill":
                    continue
                assert selections[selection]["value"] in found.values, (forecaster, metric)
    text = "".join(found.text)
    assert "Never within the horizon" in text or "At lead time" in text
    for title in ("Against lead time", "Horizon of skill", "Test windows", "Recipe", "Machine"):
        assert title in text
    images = [a for tag, a in found.tags if tag == "img"]
    assert len(images) == 6  # best, median and worst, each as a strip and as an animation
    assert all(image["alt"] for image in images)
    assert all(a.get("aria-label") or a.get("aria-hidden") for t, a in found.tags if t == "svg")
    charts = {p.name for p in (tmp_path / "report_pictures").glob("scores-1-*.png")}
    assert {"scores-1-mse-mean.png", "scores-1-ranks.png", "scores-1-coverage-09.png"} <= charts
    assert len(list((tmp_path / "report_pictures").glob("*.gif"))) == 3


def test_missing_parts_are_said_with_their_command(recipe, tmp_path, sketched):
    run = create_run(recipe, tmp_path / "empty")
    text = "".join(read(small([run.folder], tmp_path / "report.html")).text)
    assert f"statecast evaluate {run.folder}" in text
    assert f"statecast train RECIPE --output {run.folder}" in text
    assert "No forecasts of empty can be shown" in text


def test_metrics_of_calibration_that_are_missing_are_said(recipe, tmp_path, sketched):
    run = trained(recipe, tmp_path / "run")
    evaluate_run(run)
    text = "".join(read(small([run.folder], tmp_path / "report.html")).text)
    assert '--evaluate.metrics "[mse, psnr, crps, spread_skill, rank_histogram, coverage]"' in text


def test_hostile_names_and_contents_are_escaped(recipe, tmp_path, no_frames):
    run = trained(recipe, tmp_path / "<script>alert(1)<" / "$x_{<img src=q onerror=y>")
    scores = evaluate_run(run, ["--evaluate.samples=2"])
    scores["protocol"]["data"]["name"] = HOSTILE
    scores["protocol"]["notes"] = [HOSTILE, f"see https://evil.org/{HOSTILE}"]
    scores["not_computed"] = {HOSTILE: HOSTILE}
    scores["studies"] = {HOSTILE: {"x": HOSTILE}}
    scores["forecasters"][HOSTILE] = scores["forecasters"]["persistence"]
    (run.folder / "scores.json").write_text(json.dumps(scores))
    (run.folder / "env.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    config = run.folder / "config.yaml"
    config.write_text(f"# {HOSTILE}\n{config.read_text()}")
    accept(run.folder)
    log = run.folder / "metrics.csv"
    log.write_text(log.read_text().replace("total", "$\\frac{<script>&"))
    scores["protocol"]["notes"] = [HOSTILE]
    (run.folder / "scores.json").write_text(json.dumps(scores))
    text = "".join(read(small([run.folder], tmp_path / "report.html")).text)
    assert text.count(HOSTILE) >= 6
    names = [p.name for p in (tmp_path / "report_pictures").iterdir()]
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.") for name in names)


def test_two_runs_share_their_charts_where_they_can_be_compared(scored, recipe, tmp_path, sketched):
    other = trained(recipe, tmp_path / "second", "--train.seed=5")
    evaluate_run(other, ["--evaluate.samples=4"])
    found = read(small([scored.folder, other.folder], tmp_path / "two.html"))
    text = "".join(found.text)
    assert "must not be compared" not in text
    titles = [a["aria-label"] for tag, a in found.tags if tag == "svg" and "aria-label" in a]
    (shared,) = (title for title in titles if title.startswith("Chart of mse ↓ mean"))
    assert "first: from" in shared
    assert "second: from" in shared


def test_incompatible_runs_stand_apart_with_the_reason(scored, recipe, tmp_path, sketched):
    other = trained(recipe, tmp_path / "second")
    evaluate_run(other, ["--evaluate.samples=2"])
    text = "".join(read(small([scored.folder, other.folder], tmp_path / "two.html")).text)
    assert "Scores of first" in text
    assert "Scores of second" in text
    assert "samples: 4 in first, 2 in second" in text


def test_published_scores_stand_below_the_runs(scored, tmp_path, sketched):
    path = scored.folder / "scores.json"
    scores = json.loads(path.read_text())
    scores["protocol"]["name"] = "smmnist-5-20"
    path.write_text(json.dumps(scores))
    found = read(small([scored.folder], tmp_path / "report.html"))
    assert 16.93 in found.values
    assert any(a.get("href") == "https://arxiv.org/abs/2002.09219" for _, a in found.tags)


def test_studies_speak_for_themselves_beside_published_scores(
    scored, tmp_path, sketched, monkeypatch
):
    class Exchange:
        def lines(self, result):
            return [f"psnr after exchange: {result['psnr']}"]

    monkeypatch.setitem(STUDIES, "exchange", Exchange)
    path = scored.folder / "scores.json"
    scores = json.loads(path.read_text())
    scores["protocol"]["name"] = "mmnist-5-95"
    scores["studies"] = {"exchange": {"psnr": 15.5}, "unknown": {"a": 1}}
    path.write_text(json.dumps(scores))
    found = read(small([scored.folder], tmp_path / "report.html"))
    text = "".join(found.text)
    assert "psnr after exchange: 15.5" in text
    assert '"a": 1' in text
    assert {16.5, 0.7713} <= set(found.values)


def test_bands_are_drawn_where_scores_have_half_widths():
    plain = svg_of(Chart("a", "title", [Line("x", [1, 2], [1.0, 2.0])], "time"))
    band = Line("x", [1, 2], [1.0, 2.0], half_widths=[0.5, 0.5])
    assert "FillBetween" not in plain
    assert "FillBetween" in svg_of(Chart("a", "title", [band], "time"))


def test_charts_take_the_colours_of_the_page():
    text = svg_of(Chart("a", "t", [Line("x", [1, 2], [1.0, 2.0], colour=3)], "time", level=1.5))
    assert "var(--line-3)" in text
    assert "currentColor" in text
    assert "#332288" not in text
    assert "DejaVu" not in text


def test_the_command_and_its_mistakes(scored, tmp_path, capsys, sketched):
    out = tmp_path / "report.html"
    options = ["--output", str(out), "--windows", "2", "--samples", "2"]
    assert main(["report", str(scored.folder), *options]) == 0
    assert f"Written: {out}" in capsys.readouterr().out
    assert main(["report", str(tmp_path), *options]) == MISTAKE
    assert main(["report", str(scored.folder), str(scored.folder), *options]) == MISTAKE
    assert "twice" in capsys.readouterr().err
    with pytest.raises(FileError, match=r"\.html file in a folder that exists"):
        write_report([scored.folder], tmp_path / "none" / "report.html")
    with pytest.raises(InputError, match="at least 1, got 0 and 20"):
        write_report([scored.folder], out, windows=0)
    with pytest.raises(InputError, match="at least one run"):
        write_report([], out)


def test_windows_are_scored_one_by_one_and_shown_as_they_were_scored(scored):
    model, windows = scored.load(), scored.data().windows("test")
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
    ("gain", "until", "lost", "better", "words"),
    [
        ([1, 1, 1, 1], 4, None, [(1, 4)], "Never within the horizon"),
        ([1, 1, -1, -1], 2, 3, [(1, 2)], "At lead time 3: better than persistence up to 2."),
        ([1, 1, 0, -1], 2, 3, [(1, 2)], "At lead time 3: "),
        ([-1, -1, -1, -1], None, 1, [], "at no lead time up to 4"),
        (
            [-1, 1, 1, -1],
            None,
            1,
            [(2, 3)],
            "better than persistence at lead times 2 to 3",
        ),
        ([1, -1, 1, -1], 1, 2, [(1, 1), (3, 3)], "up to 1, and again at 3."),
        ([1, math.nan, 1, 1], 1, 2, [(1, 1), (3, 4)], "no finite numbers"),
    ],
)
def test_the_horizon_of_skill_is_exact(gain, until, lost, better, words):
    reference = [10.0, 9.0, 8.0, 7.0]
    for sign in (1, -1):
        own = [r + sign * g for r, g in zip(reference, gain, strict=True)]
        found = skill_horizon(TIMES, own, reference, higher_is_better=sign == 1)
        assert (found.until, found.lost, found.better) == (until, lost, better)
        assert words in found.statement
        assert found.known == all(map(math.isfinite, gain))


def test_a_horizon_of_skill_needs_a_score_per_lead_time():
    with pytest.raises(InputError, match="4 lead times, 1 and 4 scores"):
        skill_horizon(TIMES, [1.0], TIMES, higher_is_better=True)
    with pytest.raises(InputError, match="0 lead times"):
        skill_horizon([], [], [], higher_is_better=True)


def test_groups_are_of_runs_that_agree(tmp_path):
    def run(label, samples):
        protocol = {"samples": samples, "split": "test", "context": 1, "horizon": 1}
        scores = {"protocol": protocol, "lead_times": [1.0], "forecasters": {"m": {}}}
        return Scored(label, tmp_path / label, scores)

    groups = grouped([run("a", 1), run("b", 2), run("c", 1)])
    assert [[r.label for r in group.runs] for group in groups] == [["a", "c"], ["b"]]
    assert [group.reasons for group in groups] == [[], ["samples: 1 in a, 2 in b"]]
    assert grouped([]) == []


def test_text_is_escaped_once_and_markup_is_kept():
    assert escaped("a<b&\"'") == "a&lt;b&amp;&quot;&#x27;"
    inner = element("b", "x & y", attributes={"title": '"><script>'})
    assert inner == '<b title="&quot;&gt;&lt;script&gt;">x &amp; y</b>'
    assert element("p", inner, " <") == f"<p>{inner} &lt;</p>"
    assert linked("see https://arxiv.org/abs/1, or <") == (
        'see <a href="https://arxiv.org/abs/1">arxiv.org/abs/1</a>, or &lt;'
    )


def test_the_contents_lead_to_every_section():
    parts = (Section("one", Html("")), Section("two", Html("")))
    found = Page(page("t", paragraph("x"), [Section("a", Html(""), parts), Section("b", Html(""))]))
    assert found.targets == found.identifiers == ["s1", "s1-1", "s1-2", "s2"]
