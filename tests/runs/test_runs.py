"""Recipes and run folders: complete, checked, and opened again as they were made."""

import numpy as np
import pytest
import torch
import yaml
from helpers.labelled_fields import one_zone
from helpers.prepared_stores import CHOSEN, tiny_store

import statecast
from statecast.cli.main import main
from statecast.data import DATASETS
from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.errors import CorruptionError, FileError, InputError
from statecast.evaluation.comparability import read_scores
from statecast.evaluation.evaluate import evaluate
from statecast.evaluation.evaluation import score_text
from statecast.models import MODELS
from statecast.models.build import model_of, own_options
from statecast.runs.create import create_run
from statecast.runs.load import load
from statecast.runs.recipes import recipe_names
from statecast.runs.recipes.resolve import read_recipe, resolve
from statecast.runs.run import build_data, evaluate_run, open_run, train_run
from statecast.runs.trained import trained_names
from statecast.training.checkpoints import load_checkpoint, save_checkpoint

LENGTHS = {"kth": 41, "human36m": 420, "bair": 30}  # frames, so that published windows fit


def prepare_data(tables, folder, monkeypatch):
    """Tiny data of the right shape where a recipe reads those of others."""
    data = tables["data"]
    if data["name"] in CHOSEN:
        monkeypatch.setenv("STATECAST_CACHE", str(folder))
        tiny_store(data["name"], folder / data["name"], LENGTHS.get(data["name"]))
    if data["name"] == "sst" and data["folder"] is not None:
        monkeypatch.chdir(folder)
        one_zone(folder / data["folder"])


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_resolves_and_says_the_same_again(name, tmp_path, monkeypatch):
    tables = resolve(read_recipe(name))
    prepare_data(tables, tmp_path, monkeypatch)
    assert set(tables) == {"model", "data", "train", "evaluate"}
    # A complete recipe says the same once more.
    assert resolve(tables) == tables
    assert tables["model"]["name"] in MODELS
    assert recipe_names()[name]
    theirs = tables["data"]["name"] in CHOSEN  # found in the cache without a path
    if not theirs and tables["data"].get("path", "") is None:  # of the user's own data
        with pytest.raises(InputError, match=r"--data\.path"):
            build_data(tables)
        return
    spec = build_data(tables).spec
    assert spec.context == tables["data"]["context"]


@pytest.mark.parametrize("name", ["srvp-kth", "srvp-human36m", "srvp-bair"])
def test_recipes_of_videos_train_on_prepared_stores(name, tmp_path, monkeypatch):
    prepare_data(resolve(read_recipe(name)), tmp_path, monkeypatch)
    small = {
        "model.width": 2, "train.steps": 1, "train.decay_start": 0, "train.batch_size": 2,
        "train.validation_samples": 2, "train.validation_windows": 2, "train.precision": "float32",
    }  # fmt: skip
    run = create_run(name, tmp_path / "run", [f"--{key}={value}" for key, value in small.items()])
    assert run.spec.frame_shape == (1 if name == "srvp-kth" else 3, 64, 64)
    result = train_run(run)
    assert result.step == 1
    assert result.best > 0  # decibels
    forecast = run.load().forecast(run.data().windows("test").batch(torch.arange(2)).context, 2)
    assert forecast.samples.isfinite().all()


@pytest.mark.parametrize("kind", ["stochastic", "deterministic"])
@pytest.mark.parametrize(
    ("override", "parameters"),
    [
        ([], {"transition.velocity", "prior"}),
        (["--model.transition", "gru"], {"transition.cell", "prior"}),
        (["--model.transition", "mlp"], {"transition.next", "prior"}),
        (["--model.stochastic", "false"], {"transition.velocity"}),
    ],
)
def test_variants_of_the_paper_are_one_override_away(kind, override, parameters):
    tables = resolve(read_recipe(f"srvp-digits-{kind}"), [*override, "--model.width", "2"])
    options = own_options(tables["model"])
    model = model_of(tables["model"], build_data(tables).spec)
    found = {name for name, _ in model.named_parameters()}
    for part in ("transition.velocity", "transition.cell", "transition.next", "prior"):
        assert (part in parameters) == any(name.startswith(part) for name in found)
    published = resolve(read_recipe(f"srvp-digits-{kind}"))["model"]
    changed = {key for key, value in options.items() if published[key] != value}
    assert changed - {"width"} == {o.removeprefix("--model.") for o in override[:1]}


def test_overrides_win_and_are_checked(recipe):
    tables = resolve(read_recipe(recipe), ["--train.steps", "33", "--model.latent_size=5"])
    assert tables["train"]["steps"] == 33
    assert tables["model"]["latent_size"] == 5
    assert tables["model"]["code_size"] == 6  # of the recipe
    assert tables["train"]["adam_betas"] == [0.9, 0.999]  # a default


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (["--train.stepz", "3"], "'train.stepz'; did you mean 'train.steps'"),
        (["--model.steps", "3"], "did you mean 'train.steps'"),
        (["--train.steps", "many"], "many"),
        (["--train.steps"], "needs a value"),
        (["--model.architecture", "resnext"], "resnext"),
        (["steps", "3"], "--train.steps 1000"),
        (["--model.name", "srpv"], "did you mean 'srvp'"),
        (["--data.name", "moving_digit"], "did you mean 'moving_digits'"),
    ],
)
def test_overrides_that_do_not_fit_are_refused(recipe, override, message):
    with pytest.raises(InputError, match=message):
        resolve(read_recipe(recipe), override)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "should hold the tables"),
        ("model: {name: srvp", "not valid YAML"),
        ("model: {name: srvp}\ndata: {name: pendulum}\ntrian: {}", "did you mean 'train'"),
        ("model: {name: srvp}\ndata: {}", "names no data"),
        ("model: {name: srvp, latent: 3}\ndata: {name: pendulum}", "'model.latent'"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(recipe, tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        create_run(str(path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'srvp-digits-small'"):
        read_recipe("srvp-digit-small")
    with pytest.raises(FileError, match="cannot be read"):
        read_recipe("none.yaml")


def test_options_that_do_not_fit_the_data_leave_nothing_behind(recipe, tmp_path):
    with pytest.raises(InputError, match="architecture: mlp"):
        create_run(recipe, tmp_path / "run", ["--model.architecture", "dcgan"])
    assert not (tmp_path / "run").exists()


def test_a_run_opened_again_forecasts_the_same(recipe, tmp_path):
    run = create_run(recipe, tmp_path / "run")
    train_run(run)
    again = open_run(tmp_path / "run")
    assert again.tables == run.tables
    assert again.spec == run.spec
    context = run.data().windows("test").batch(torch.arange(3)).context
    one, other = (
        model.forecast(context, 7, samples=2, generator=torch.Generator().manual_seed(0))
        for model in (run.load("last"), load(tmp_path / "run", "last").model)
    )
    assert torch.equal(one.samples, other.samples)
    assert "has no scores yet" in again._repr_html_()
    scores = evaluate_run(again, ["--evaluate.samples", "2"])
    assert scores.protocol["samples"] == 2
    assert (tmp_path / "run" / "scores.json").is_file()
    metric, selections = next(iter(scores.forecasters[scores.model].items()))
    selection, score = next(iter(selections.items()))
    assert f"<th>{metric} {selection}</th><td>{score_text(score)}</td>" in again._repr_html_()


def test_the_best_checkpoint_is_scored_unless_another_is_asked_for(recipe, tmp_path):
    run = create_run(recipe, tmp_path / "run")
    train_run(run)
    last = load_checkpoint(run.folder)
    changed = {name: value + 0.1 for name, value in last.model.items()}
    save_checkpoint(run.folder, 13, model=changed, state=last.state, info={}, keep=2)
    values = {}
    for options in ({}, {"which": "best"}, {"which": "last"}):
        scores = evaluate_run(run, **options)
        values[options.get("which")] = scores.forecasters["srvp"]["mse"]["mean"].value
        assert scores.protocol["checkpoint"] == options.get("which", "best")
    assert values[None] == values["best"] != values["last"]
    best = load_checkpoint(run.folder, "best").model
    assert all(torch.equal(weight, best[name]) for name, weight in run.load().state_dict().items())
    assert main(["evaluate", str(run.folder)]) == 0
    assert read_scores(run.folder).protocol["checkpoint"] == "best"


def test_a_folder_is_never_overwritten(recipe, tmp_path):
    create_run(recipe, tmp_path / "run")
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(FileError, match=r"not empty.*--resume"):
        create_run(recipe, tmp_path / "run", ["--train.steps", "99"])
    assert (tmp_path / "run" / "config.yaml").read_text() == before


def test_the_complete_recipe_is_written_before_training(recipe, tmp_path):
    create_run(recipe, tmp_path / "run")
    content = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert content["train"]["gradient_clip"] is None
    assert content["frames"]["space"] == [6]
    names = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert names == ["config.yaml", "digests.json", "env.json"]


def test_folders_that_are_no_runs_are_refused(recipe, tmp_path):
    with pytest.raises(FileError, match=r"not a run folder.* a model of the package: digits, "):
        open_run(tmp_path)
    run = create_run(recipe, tmp_path / "run")
    with pytest.raises(FileError, match="Train the run first"):
        run.load()
    path = tmp_path / "run" / "config.yaml"
    content = path.read_text()
    path.write_text(content[: len(content) // 2])
    with pytest.raises(CorruptionError, match=r"config\.yaml"):
        open_run(tmp_path / "run")


def test_every_registered_name_is_spelled_alike():
    for registry in (MODELS, DATASETS):
        for name, kind in registry.items():
            assert name == name.lower()
            assert kind.__doc__


def test_training_options_that_do_not_fit_together_leave_no_folder(recipe, tmp_path):
    phases = '--train.phases=[{"name": "a", "steps": 5}]'
    with pytest.raises(InputError, match="add up to steps"):
        create_run(recipe, tmp_path / "run", [phases])
    assert not (tmp_path / "run").exists()


def test_a_run_is_trained_longer_with_its_other_options(recipe, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", recipe, "--output", str(folder), "--train.steps", "4"]) == 0
    assert main(["train", "--resume", str(folder), "--train.steps", "9"]) == 0
    assert "Trained 9 steps" in capsys.readouterr().out
    straight = create_run(recipe, tmp_path / "straight", ["--train.steps", "9"])
    train_run(straight)
    assert open_run(folder).tables == straight.tables  # and no warning of an edited recipe
    for name, value in load(folder, "last").model.state_dict().items():
        assert torch.equal(value, straight.load("last").state_dict()[name]), name


@pytest.mark.parametrize(
    ("override", "told"),
    [("--model.width=9", "--model.width cannot"), ("--train.seed=9", "--train.seed cannot")],
)
def test_a_resumed_run_keeps_its_model_and_seed(recipe, tmp_path, capsys, override, told):
    folder = create_run(recipe, tmp_path / "run").folder
    before = (folder / "config.yaml").read_bytes()
    assert main(["train", "--resume", str(folder), override]) == 2
    assert told in capsys.readouterr().err
    assert (folder / "config.yaml").read_bytes() == before


def test_a_run_begins_with_the_weights_of_another(recipe, tmp_path, capsys):
    first = create_run(recipe, tmp_path / "first", ["--train.steps", "3"])
    train_run(first)
    second = create_run(
        recipe, tmp_path / "second", ["--train.steps=1", "--train.learning_rate=0"],
        init_from=first.folder,
    )  # fmt: skip
    train_run(second)  # whose one step moves nothing
    for name, value in first.load().named_parameters():
        assert torch.equal(value, dict(second.load("last").named_parameters())[name]), name
    words = ["train", recipe, "--output", str(tmp_path / "third"), "--model.latent_size=5"]
    assert main([*words, "--init-from", str(first.folder)]) == 2
    assert "Give the new run the model options of" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def test_another_model_keeps_the_options_that_it_knows(recipe):
    with pytest.warns(UserWarning, match=r"separable has no options .*noise_size.* for srvp"):
        tables = resolve(read_recipe(recipe), ["--model.name", "separable"])
    assert tables["model"]["name"] == "separable"
    assert tables["model"]["architecture"] == read_recipe(recipe)["model"]["architecture"]


def test_a_run_finds_its_data_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("mine.npy", np.random.default_rng(1).random((40, 6), dtype=np.float32))
    (tmp_path / "own.yaml").write_text(OWN)
    run = create_run("own.yaml", "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert len(open_run(tmp_path / "run").data().windows("train")) > 0
    assert run.tables["data"]["path"] == str(tmp_path / "mine.npy")


OWN = """
model: {name: persistence}
data: {name: arrays, path: mine.npy, context: 2, horizon: 2}
"""


@pytest.mark.parametrize("name", trained_names())
def test_a_shipped_model_says_the_command_of_a_recipe_that_trains_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"`statecast train \S+.*`\.$") as refused:
        open_run(name)
    recipe = str(refused.value).split("statecast train ")[1].split()[0].rstrip("`.")
    model = read_recipe(recipe)["model"]["name"]
    assert type(statecast.load(name).model) is MODELS[model]


def test_a_shipped_model_is_scored_by_name_as_it_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few = [
        "--evaluate.max_windows", "3", "--evaluate.samples", "4", "--evaluate.metrics", "[crps]",
        "--evaluate.analyses", "[]",
    ]  # fmt: skip
    assert main(["evaluate", "digits", "--output", "scores/digits", *few]) == 0
    written = read_scores(tmp_path / "scores" / "digits")
    loaded = evaluate(
        statecast.load("digits").model, MovingDigits(**DIGITS), max_windows=3, samples=4,
        metrics=("crps",),
    )  # fmt: skip
    crps, expected = (
        next(iter(each.forecasters.values()))["crps"]["ensemble"] for each in (written, loaded)
    )
    assert torch.allclose(crps.per_lead_time, expected.per_lead_time)
    assert written.protocol["training"]["steps"] >= 45_000
    capsys.readouterr()
    assert main(["evaluate", "digits", *few]) == 0
    assert "--output FOLDER writes them" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [tmp_path / "scores"]
    # A folder of the same name is the user's, and hides the model.
    assert main(["evaluate", "digits", "--output", "digits", *few]) == 0
    assert main(["evaluate", "digits", *few]) == 2
    assert "hides the model" in capsys.readouterr().err


DIGITS = {
    "digits": 1, "frame_size": 32, "digit_size": 20, "max_speed": 2, "standing": False,
    "context": 5, "horizon": 5, "test_horizon": 15, "test_videos": 256,
}  # fmt: skip


def test_a_shipped_model_refuses_what_only_runs_have(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for word in (["--calibrated"], ["--checkpoint", "last"]):
        assert main(["evaluate", "digits", "--output", "scores", *word]) == 2
        assert "leave out --checkpoint and --calibrated" in capsys.readouterr().err
    assert main(["evaluate", "nosuch", "--output", "scores"]) == 2
    assert not list(tmp_path.iterdir())
