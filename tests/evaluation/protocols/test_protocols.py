"""Protocols: complete files, content that is what they say, and refusals that name the field."""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from statecast.data import DATASETS
from statecast.data.base import SPLITS
from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.data.synthetic.waves import WaveEquation
from statecast.data.windows import FirstFrames
from statecast.errors import InputError
from statecast.evaluation.evaluate import evaluate
from statecast.evaluation.protocol_settings import data_options, resolve_protocol
from statecast.evaluation.protocols import protocol_names
from statecast.evaluation.protocols.protocol import Digest, read_protocol
from statecast.evaluation.protocols.published_scores import published_for, published_scores
from statecast.metrics import METRICS
from statecast.models.baselines import Persistence
from statecast.runs.create import create_run
from statecast.runs.run import evaluate_run, scoring_options, train_run

ASKED = {
    "smmnist-5-20", "mmnist-5-95", "mmnist-5-10", "kth-10-30", "human-8-45", "bair-2-28",
    "wave-5-40-paper", "wave-5-40-corrected", "wave100-5-40-paper", "wave100-5-40-corrected",
    "sst-4-6", "sst-4-10", "taxibj-4-4", "taxibj-4-4-corrected",
}  # fmt: skip
ELSEWHERE = {"kitti-10-20", "cityscapes-10-20"}  # published, but not enough is known of them
SMALL = "digit-small-5-15"


def small_digits(**options):
    rule = {"digits": 1, "frame_size": 32, "digit_size": 20, "max_speed": 2, "standing": False}
    return MovingDigits(**rule | {"test_horizon": 15, "test_videos": 256} | options)


def test_every_protocol_that_was_asked_for_is_there():
    assert set(protocol_names()) >= ASKED


@pytest.mark.parametrize("name", protocol_names())
def test_a_protocol_is_complete_and_fits_the_registries(name):
    protocol = read_protocol(name)
    context, horizon = map(int, re.search(r"-(\d+)-(\d+)", name).groups())
    assert (protocol.context, protocol.horizon) == (context, horizon)
    assert protocol.split in SPLITS
    assert protocol.metrics
    for metric, rule in protocol.metrics.items():
        if metric in METRICS and rule.version is not None:
            assert rule.version == METRICS[metric].version
    if protocol.data is not None:
        options = inspect.signature(DATASETS[protocol.data]).parameters
        assert set(protocol.sets) <= set(options)
        assert set(protocol.must_be) <= set(DATASETS[protocol.data]().card)
    assert protocol.digest.value is not None or protocol.digest.note


def test_made_data_satisfies_its_protocol_and_has_its_digest():
    data = small_digits()
    protocol = read_protocol(SMALL)
    windows = data.windows("test")
    assert protocol.differences(data.card, data.spec, windows=256, horizon=15) == []
    assert windows.digest == protocol.digest.value
    # Training around them is another; the tests are the same.
    assert small_digits(horizon=9, epoch=7).windows("test").digest == protocol.digest.value
    assert small_digits(seed=43).windows("test").digest != protocol.digest.value


def test_waves_have_as_many_windows_as_their_protocols_say():
    for name, rule in (("paper", "paper"), ("corrected", "corrected")):
        protocol = read_protocol(f"wave-5-40-{name}")
        assert len(WaveEquation(protocol=rule).starts("test")) == protocol.windows


def test_each_field_that_differs_is_named():
    data = small_digits(stochastic=False, test_videos=20, test_horizon=9, context=4)
    with pytest.raises(InputError) as caught:
        resolve_protocol(SMALL, data, split="test", samples=1, metrics=())
    for phrase in (
        "data.stochastic is false and should be true",
        "windows is 20 and should be 256",
        "context is 4 and should be 5",
        "horizon is 9 and should be at least 15",
    ):
        assert phrase in str(caught.value)


def test_another_content_is_refused_where_it_must_be_exact():
    with pytest.raises(InputError, match=r"the digest is \w+… and should be"):
        resolve_protocol(SMALL, small_digits(seed=43), split="test", samples=1, metrics=())


class StillWater(WaveEquation):
    frames = np.zeros((300, 150, 1, 100), np.float32)


def test_last_bits_of_a_simulation_are_a_note():
    data = StillWater(points=100)
    terms = resolve_protocol("wave100-5-40-corrected", data, split="test", samples=1, metrics=())
    digest = data.windows("test").digest[:12]
    assert f"not bit for bit the protocol's: the digest is {digest}…" in terms.notes[-1]


def test_a_metric_of_another_version_is_refused(monkeypatch):
    monkeypatch.setitem(METRICS, "psnr", type("OtherPSNR", (METRICS["psnr"],), {"version": "0"}))
    with pytest.raises(InputError, match="version of psnr is 0 and should be 1"):
        resolve_protocol(SMALL, small_digits(), split="test", samples=1, metrics=())


def test_the_terms_are_the_protocols_and_then_the_callers(monkeypatch):
    whole = small_digits(test_horizon=20)
    with pytest.raises(InputError, match="the digest is"):  # other draws than windows of 15 have
        resolve_protocol(SMALL, whole, split="train", samples=7, metrics=())
    free = replace(read_protocol(SMALL), digest=Digest(None, False, None))
    monkeypatch.setattr("statecast.evaluation.protocol_settings.read_protocol", lambda name: free)
    terms = resolve_protocol(SMALL, whole, split="train", samples=7, metrics=("mae",))
    assert (terms.split, terms.samples) == ("test", 100)
    assert terms.metrics == ("psnr", "ssim", "crps", "mae")
    assert len(terms.windows.batch(torch.arange(2)).target) == 15


def test_a_metric_that_statecast_lacks_is_named_in_the_scores(monkeypatch, data):
    monkeypatch.delitem(METRICS, "ssim")
    terms = resolve_protocol(SMALL, small_digits(), split="test", samples=1, metrics=())
    assert terms.metrics == ("psnr", "crps")
    assert terms.not_computed["ssim"].endswith("no such metric")


def test_first_frames_are_those_of_the_whole_windows():
    whole = small_digits().windows("test")
    cut = FirstFrames(whole, 4)
    rows = torch.tensor([3, 0])
    torch.testing.assert_close(
        cut.batch(rows).target.values, whole.batch(rows).target.values[:, :4]
    )
    assert len(cut) == len(whole)
    assert len({whole.digest, cut.digest, FirstFrames(whole, 5).digest}) == 3
    with pytest.raises(InputError, match="at least 1 frame"):
        FirstFrames(whole, 0)


def test_scores_record_the_protocol(data, monkeypatch):
    scored = small_digits()
    scores = evaluate(
        Persistence(scored.spec), scored, protocol=SMALL, metrics=("mae",), max_windows=3
    )
    protocol = scores.protocol
    assert protocol["name"] == SMALL
    assert (protocol["horizon"], protocol["windows"], protocol["available_windows"]) == (15, 3, 256)
    assert list(protocol["metrics"]) == ["psnr", "ssim", "crps", "mae"]
    assert evaluate(Persistence(data.spec), data).protocol["name"] is None


def test_a_run_is_scored_under_a_protocol_it_was_not_configured_for(recipe, tmp_path):
    """Test options become the protocol's; those of training must already be."""
    data = [
        "--data.name=moving_digits", "--data.digits=1", "--data.frame_size=32",
        "--data.digit_size=20", "--data.max_speed=2", "--data.standing=false",
        "--data.context=5", "--data.test_horizon=3", "--data.test_videos=9", "--data.horizon=2",
    ]  # fmt: skip
    run = create_run(recipe, tmp_path / "run", ["--train.steps=1", *data])
    train_run(run)
    options = [f"--evaluate.protocol={SMALL}", "--evaluate.max_windows=2"]
    protocol = evaluate_run(run, options).protocol
    assert (protocol["horizon"], protocol["samples"], protocol["windows"]) == (15, 100, 2)
    assert protocol["digest"] == read_protocol(SMALL).digest.value
    with pytest.raises(InputError, match=r"sets evaluate\.samples to 100"):
        evaluate_run(run, [*options, "--evaluate.samples=3"])
    with pytest.raises(InputError, match=r"data\.digits is 1 and should be 2"):
        evaluate_run(run, ["--evaluate.protocol=digits-5-20"])


def test_options_of_tests_become_the_protocols_where_it_is_about_the_data_set():
    data = {"name": "moving_digits", "test_videos": 9, "digits": 2}
    assert data_options(SMALL, data)["test_videos"] == 256
    assert data_options(SMALL, data)["digits"] == 2
    assert data_options(None, data) == data
    assert data_options(SMALL, data | {"name": "videos"})["test_videos"] == 9
    assert data["test_videos"] == 9


def test_all_windows_are_scored_unless_fewer_are_asked_for():
    tables = {"evaluate": {"protocol": SMALL, "max_windows": 4, "metrics": ["mse"]}}
    assert scoring_options(tables, {})["max_windows"] is None
    assert scoring_options(tables, {"evaluate.max_windows": "4"})["max_windows"] == 4
    assert scoring_options({"evaluate": {"protocol": None, "max_windows": 4}}, {}) == {
        "protocol": None, "max_windows": 4,
    }  # fmt: skip


def test_an_unknown_protocol_is_refused():
    with pytest.raises(InputError, match="no protocol 'mnist'; choose from bair-2-28"):
        read_protocol("mnist")


def test_published_scores_belong_to_protocols_and_their_metrics():
    for score in published_scores():
        if score.protocol in ELSEWHERE:
            continue
        rules = read_protocol(score.protocol).metrics
        assert score.metric in rules, score
        assert rules[score.metric].selection == score.selection, score
        assert score.value > 0
        assert "https://arxiv.org/abs/" in score.source
    assert {s.protocol for s in published_scores()} - set(protocol_names()) == ELSEWHERE


def test_published_figures_of_the_two_papers():
    found = {(s.model, s.metric): s for s in published_for("smmnist-5-20")}
    assert (found["SRVP", "psnr"].value, found["SRVP", "psnr"].half_width) == (16.93, 0.07)
    waves = {(s.model, s.metric): s.value for s in published_for("wave100-5-40-paper")}
    assert waves["Separable", "mse"] == 4.33e-5
    swapped = {
        (s.model, s.metric): s.value for s in published_for("mmnist-5-95", analysis="content_swap")
    }
    assert swapped["Separable", "psnr"] == 16.50
    assert ("SVG", "psnr") not in swapped
