"""Runs with a reference: chosen on validation, never on tests; the best is never worse than it."""

import shutil

import pytest
import torch
import yaml
from helpers.labelled_fields import sea_surface, write_field

from statecast.cli.train import report
from statecast.errors import InputError
from statecast.evaluation.scoring import score_windows
from statecast.evaluation.skill import skill_lines
from statecast.models.damped_persistence import DampedPersistence
from statecast.models.latent_space import require_latents
from statecast.runs.create import create_run
from statecast.runs.official.export_run import export_official
from statecast.runs.recipes.resolve import read_recipe
from statecast.runs.run import evaluate_run, open_run, train_run
from statecast.training.checkpoint_folders import list_checkpoints
from statecast.training.loop import TrainingResult

SHORT = [
    "--train.steps=4", "--train.warmup=0", "--train.validate_every=2", "--train.batch_size=4",
    "--train.validation_windows=6", "--train.validation_samples=3", "--train.keep_checkpoints=9",
    "--train.checkpoint_every=2", "--train.precision=float32", "--model.width=4",
    "--model.architecture=mlp", "--data.context=3", "--data.horizon=3", "--data.anomaly=mean",
    "--evaluate.samples=3", "--evaluate.max_windows=4",
]  # fmt: skip


def made(folder, change_tests=0.0, *options):
    folder.mkdir()
    dataset = sea_surface(frames=120, height=8, width=8)
    dataset["sst"][102:] += change_tests
    path = write_field(folder / "sea.nc", dataset)
    run = create_run("fields-srvp", folder / "run", [*SHORT, f"--data.path={path}", *options])
    train_run(run)
    return run


def test_the_recipe_says_which_reference_validation_chose_and_tests_change_nothing(tmp_path):
    runs = [made(tmp_path / "a"), made(tmp_path / "b", 50.0)]
    chosen = [run.tables["model"]["reference"] for run in runs]
    assert chosen[0] == chosen[1] != "auto"
    assert open_run(runs[0].folder).tables["model"]["reference"] == chosen[0]
    (said,) = [c.chosen for c in runs[0].inferred_options if c.what == "reference"]
    assert said.startswith(chosen[0])
    one, other = (run.load("last").state_dict() for run in runs)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert (one["noise_std"] > 0).any()


def test_the_best_checkpoint_is_the_reference_or_better(tmp_path):
    run = made(tmp_path / "a", 0.0, "--train.learning_rate=0.01")
    steps = [int(path.name.split("=")[1]) for path in list_checkpoints(run.folder)]
    assert 0 in steps
    windows = run.data().windows("validation")
    scores = {}
    for which in ("0", "best"):
        found = score_windows(
            run.load(which), windows, metrics=["crps"], samples=3, batch_size=4, count=6
        )
        scores[which] = found.of("crps", "ensemble").value
    assert scores["best"] <= scores["0"]
    first = run.load("0")
    assert not first.weight.any()
    assert (first.noise_std > 0).any()
    torch.testing.assert_close(first.noise_std, first.reference_std)


def test_a_run_whose_best_checkpoint_is_that_of_step_0_says_so(tmp_path, capsys):
    run = made(tmp_path / "a")
    for path in list_checkpoints(run.folder)[1:]:
        shutil.rmtree(path)
    steps = run.tables["train"]["steps"]
    name = run.tables["model"]["reference"]
    told = (
        rf"the reference itself \({name}\).* step 0, after 0 of {steps} steps\. Train "
        rf"on with: statecast train --resume {run.folder}$"
    )
    with pytest.warns(UserWarning, match=told):
        run.load()
    run.load("0")  # asked for by name
    report(run, TrainingResult(steps, 1.0, 60.0, "minutes"))
    said = capsys.readouterr().out
    assert f"of {steps} steps in 1.0 min (train.max_minutes)" in said
    assert "the reference itself" in said
    assert "Next: statecast evaluate" not in said


def test_scores_say_by_how_much_the_reference_is_beaten(tmp_path):
    run = made(tmp_path / "a")
    scores = evaluate_run(run)
    assert "reference" in scores.forecasters
    for name in ("reference", "persistence", "damped_persistence", "climatology"):
        ours, theirs = (
            scores.forecasters[key]["mse"]["ensemble_mean"].value for key in ("srvp", name)
        )
        difference = scores.skill[name]["mse"]["ensemble_mean"].difference
        assert difference.value == pytest.approx(ours - theirs, rel=1e-4, abs=1e-6)
    told = skill_lines(scores.skill)
    assert any("persistence" in line and "error of the mean (" in line for line in told)


def test_a_baseline_takes_no_reference(tmp_path):
    path = write_field(tmp_path / "sea.nc", sea_surface(frames=120, height=8, width=8))
    options = [option for option in SHORT if not option.startswith("--model.")]
    options.append(f"--data.path={path}")
    recipe = read_recipe("fields") | {"model": {"name": "damped_persistence", "reference": "auto"}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe))
    run = create_run(str(tmp_path / "own.yaml"), tmp_path / "run", options)
    train_run(run)
    assert run.tables["model"]["reference"] == "none"
    assert type(run.load()) is DampedPersistence


def test_what_a_model_of_changes_does_not_have_is_said(tmp_path):
    run = made(tmp_path / "a")
    with pytest.raises(InputError, match="reference: none"):
        require_latents(run.load())
    with pytest.raises(InputError, match=r"model\.reference"):
        export_official(run.folder, tmp_path / "out")


def test_a_reference_needs_validations_and_published_recipes_have_none(tmp_path):
    with pytest.raises(InputError, match="validate_every"):
        made(tmp_path / "a", 0.0, "--train.validate_every=0")
    run = create_run("srvp-digits-small", tmp_path / "run")
    written = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert written["model"]["reference"] == "none"
