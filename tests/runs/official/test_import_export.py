"""Published folders into runs and back: weights bit for bit, settings as they were."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from helpers.golden import GOLDEN
from helpers.noise_data import Noise
from helpers.published_separable import Twin

from statecast.cli.main import MISTAKE, main
from statecast.data import DATASETS
from statecast.data.base import seeded_generator
from statecast.errors import FileError, InputError
from statecast.io.torch_files import load_torch_file
from statecast.models.build import own_options
from statecast.runs.create import create_run
from statecast.runs.load import load
from statecast.runs.official import separable as official_separable
from statecast.runs.official import srvp as official_srvp
from statecast.runs.official.export_run import export_official
from statecast.runs.official.import_run import import_official
from statecast.runs.official.loading import load_official
from statecast.runs.run import evaluate_run, open_run, train_run
from statecast.training.checkpoints import load_checkpoint, save_checkpoint

FOLDERS = ("srvp_dcgan", "srvp_vgg_skip", "sepnet_wave100_mlp", "sepnet_dcgan_skip",
           "sepnet_vgg32_taxibj")  # fmt: skip
NOISE = ["--data.name", "noise"]
TWINS = {
    "chairs": {"architecture": "resnet", "decoder_architecture": "dcgan", "data": "chairs",
               "enc_hidden_size": 64, "dec_hidden_size": 64},
    "sst": {"architecture": "encoderSST", "decoder_architecture": "decoderSST", "data": "sst",
            "offset": 0, "skipco": True, "enc_hidden_size": 64, "dec_hidden_size": 64,
            "n_blocks": 1},
    "without S": {"no_s": True, "scheduler": True, "scheduler_milestones": [1, 2]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _noise(monkeypatch, tmp_path):
    monkeypatch.setitem(DATASETS, "noise", Noise)
    monkeypatch.setenv("STATECAST_CACHE", str(tmp_path / "cache"))


def data_for(name):
    """Overrides that name the data of a golden folder, where they cannot be made here."""
    if name == "srvp_vgg_skip":
        return NOISE
    return [*NOISE, "--data.channels", "2", "--data.side=32"] if "taxibj" in name else []


def files_of(folder):
    return {path.stem: tensors_of(path) for path in sorted(folder.glob("*.pt"))}


def tensors_of(path):
    from statecast.runs.official.separable import read_part

    return read_part(path).tensors


def settings_of(folder):
    return json.loads(next(folder.glob("*.json")).read_text())


def same(left, right):
    return left.keys() == right.keys() and all(
        torch.equal(left[name], right[name]) for name in left
    )


@pytest.mark.parametrize("name", FOLDERS)
def test_golden_folders_come_back_as_they_were(name, tmp_path):
    run = import_official(GOLDEN / name, tmp_path / "run", data_for(name))
    assert open_run(run.folder) == run
    published = load_official(GOLDEN / name)
    assert same(load(run.folder).model.state_dict(), published.state_dict())
    back = export_official(run.folder, tmp_path / "back")
    assert settings_of(back) == settings_of(GOLDEN / name)
    found, expected = files_of(back), files_of(GOLDEN / name)
    assert found.keys() == expected.keys()
    for file in expected:
        assert same(found[file], expected[file]), file
    assert same(load_official(back).state_dict(), published.state_dict())
    if name in FOLDERS[1:3]:  # one of each model
        again = import_official(back, tmp_path / "again", data_for(name))
        assert same(load(again.folder).model.state_dict(), published.state_dict())
        assert again.tables == run.tables


@pytest.mark.parametrize("name", TWINS)
def test_twins_come_back_as_they_were(name, tmp_path):
    twin = Twin(**TWINS[name])
    folder = twin.save(tmp_path / "published")
    data = [*NOISE, "--data.channels", str(twin.shape[0]), "--data.context", "3"]
    data = [] if name == "without S" else [*data, "--model.normalise", "none"]
    run = import_official(folder, tmp_path / "run", data)
    back = export_official(run.folder, tmp_path / "back")
    assert settings_of(back) == settings_of(folder)
    for file, module in twin.modules.items():
        used = {k: v.clone() for k, v in module.state_dict().items() if "bn_out" not in k}
        module.load_state_dict(tensors_of(back / f"{file}.pt"))  # every published name is there
        assert same({k: module.state_dict()[k] for k in used}, used), file
    if name == "without S":
        assert run.tables["train"]["milestones"] == [50_000, 100_000]
        assert run.tables["train"]["steps"] == 150_000


def test_published_settings_of_digits_become_a_recipe(tmp_path):
    tables = import_official(GOLDEN / "srvp_dcgan", tmp_path / "run").tables
    expected = {
        "data": {"name": "moving_digits", "stochastic": True, "digits": 2, "max_speed": 4,
                 "context": 5, "horizon": 3, "validation_horizon": 4, "test_horizon": 20,
                 "frame_size": 64},
        "train": {"steps": 1100, "decay_start": 1000, "schedule": "linear", "batch_size": 8,
                  "learning_rate": 0.0003, "adam_betas": [0.9, 0.999], "seed": 11,
                  "validation_reduction": "best", "validation_samples": 100},
        "model": {"kl_noise_weight": 2.0, "latent_size": 5, "architecture": "dcgan"},
        "evaluate": {"samples": 100},
    }  # fmt: skip
    for table, options in expected.items():
        assert {option: tables[table][option] for option in options} == options


def test_published_settings_of_waves_become_a_recipe(tmp_path):
    run = import_official(GOLDEN / "sepnet_wave100_mlp", tmp_path / "run")
    train, data = run.tables["train"], run.tables["data"]
    # 240 sequences of 64 − 12 + 1 windows, as the published code counts them; 2 epochs of 128.
    assert train["steps"] == 2 * round(240 * 53 / 128)
    assert (train["adam_betas"], train["learning_rate"]) == ([0.9, 0.99], 0.0004)
    assert (data["name"], data["points"], data["protocol"]) == ("wave_equation", 16, "paper")
    assert run.spec.channels == ("amplitude",)
    assert run.tables["evaluate"]["metrics"] == ["mse", "rmse", "mae"]


def test_an_imported_run_trains_forecasts_and_is_scored(tmp_path):
    options = ["--train.steps", "3", "--train.decay_start", "2", "--train.validate_every", "2",
               "--train.validation_windows", "4", "--train.validation_samples", "2",
               "--train.batch_size", "4", "--evaluate.metrics", "[psnr]",
               "--evaluate.samples", "2"]  # fmt: skip
    folder = GOLDEN / "srvp_vgg_skip"
    run = import_official(folder, tmp_path / "run", [*NOISE, *options])
    before = load_checkpoint(run.folder)
    assert (before.step, before.state["best"]) == (0, None)
    scores = evaluate_run(run, device="cpu")
    assert scores.protocol["checkpoint"] == "best"
    context = torch.rand(1, 4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    one, other = (
        model.forecast(context, 3, generator=torch.Generator().manual_seed(1)).samples
        for model in (load(run.folder).model, load_official(folder))
    )
    assert torch.equal(one, other)
    assert train_run(run, resume=True).step == 3
    after = load(run.folder, "last").model.state_dict()
    for name, weight in load_official(folder).named_parameters():
        assert not torch.equal(after[name], weight), name


@pytest.mark.parametrize(
    ("bounded", "data", "method"),
    [(True, "taxibj", "none"), (False, "taxibj", "range"), (False, "sst", "standard")],
)
def test_data_of_other_units_are_brought_to_the_published_ones(tmp_path, bounded, data, method):
    sst = {"architecture": "encoderSST", "decoder_architecture": "decoderSST"}
    twin = Twin(data=data, **(sst if data == "sst" else {"architecture": "vgg"}))
    sides = ["--data.channels", str(twin.shape[0]), "--data.side", str(twin.shape[1])]
    options = [*NOISE, *sides, "--data.bounded", str(bounded).lower()]
    run = import_official(twin.save(tmp_path / "published"), tmp_path / "run", options)
    assert run.tables["model"]["normalise"] == method
    normaliser = load(run.folder).model.normaliser
    drawn = [run.data().windows("train").training_batch(0, 4, seed=1).values]
    low, high = torch.cat(drawn).min(), torch.cat(drawn).max()
    if method == "range":
        assert float(normaliser.location.min()) <= low
        assert float((normaliser.location + normaliser.scale).max()) >= high
    elif method == "standard":
        assert 0.2 < float(normaliser.scale) < 0.4  # of uniform values, 0.29
    if data == "taxibj" and method != "none":
        with pytest.raises(InputError, match=f"normalise: {method}"):
            export_official(run.folder, tmp_path / "back")


def test_the_command_line_goes_both_ways(tmp_path, capsys):
    folder, run, back = str(GOLDEN / "srvp_dcgan"), str(tmp_path / "run"), str(tmp_path / "back")
    assert main(["import-official", folder, "--output", run, "--train.steps", "9000"]) == 0
    assert "step 0 on moving_digits" in capsys.readouterr().out
    assert open_run(run).tables["train"]["steps"] == 9000
    assert main(["export-official", run, "--output", back]) == 0
    assert settings_of(Path(back))["lr_scheduling_n_iter"] == 8000
    assert main(["import-official", folder, "--output", run]) == MISTAKE
    assert "not empty" in capsys.readouterr().err
    assert main(["export-official", run, "--output", back]) == MISTAKE


def test_data_that_cannot_be_told_are_asked_for_and_nothing_is_left(tmp_path):
    output = tmp_path / "out" / "run"
    for overrides, message in {
        (): "published data 'bair'.*--data.name NAME.*moving_digits",
        ("--data.name", "nois"): "did you mean 'noise'",
        (
            *NOISE,
            "--data.side",
            "32",
        ): r"\(3, 64, 64\) with a context of 4, but the data have \(3, 32",
        (*NOISE, "--data.context", "3"): "have .* and 3",
        (*NOISE, "--train.stepz", "3"): "did you mean 'train.steps'",
        (*NOISE, "--model.latent_size", "9"): "should have shape",
    }.items():
        with pytest.raises(InputError, match=message):
            import_official(GOLDEN / "srvp_vgg_skip", output, overrides)
        assert not output.exists()
        assert list(output.parent.glob("*")) + list(output.parent.glob(".*")) == []


def test_folders_that_hold_something_are_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    for output in ("file", "full"):
        with pytest.raises(FileError, match="not empty"):
            import_official(GOLDEN / "srvp_dcgan", tmp_path / output)
    assert (tmp_path / "full" / "notes").read_text() == (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert import_official(GOLDEN / "srvp_dcgan", tmp_path / "empty").folder.is_dir()
    with pytest.raises(FileError, match="is not a folder"):
        import_official(GOLDEN / "srvp_dcgan", tmp_path / "file" / "run")


RECIPE = """
model: {name: NAME, OPTIONS}
data: {name: noise, DATA}
train: {batch_size: 2}
"""
SMALL = {
    "srvp": "width: 4, code_size: 6, latent_size: 4, noise_size: 3, inference_hidden: 8, "
    "content_size: 8, "
    "transition_hidden: 9",
    "separable": "encoder_width: 4, decoder_width: 4, content_size: 5, latent_size: 5, "
    "dynamics_hidden: 9",
    "persistence": "",
}


def recipe_of(tmp_path, name, options="", data="channels: 1"):
    text = RECIPE.replace("NAME", name).replace("DATA", data)
    path = tmp_path / f"{name}.yaml"
    # A later option of the same name wins.
    path.write_text(text.replace("OPTIONS", ", ".join(filter(None, [SMALL[name], options]))))
    return str(path)


def drawn(tmp_path, *arguments):
    """A run whose checkpoint holds random numbers."""
    run = create_run(recipe_of(tmp_path, *arguments), tmp_path / "run")
    model = run.new_model()
    own = {k: v for k, v in model.state_dict().items() if not k.startswith("normaliser")}
    with torch.no_grad():
        for tensor in filter(torch.is_floating_point, own.values()):
            tensor.copy_(torch.rand(tensor.shape, generator=seeded_generator(3)))
    save_checkpoint(run.folder, 7, model=model.state_dict(), state={}, info={}, best=True)
    return run


@pytest.mark.parametrize(
    ("name", "options", "data"),
    [
        ("srvp", "architecture: vgg, skips: true, observation_std: 0.3", "channels: 3"),
        ("separable", "mixing: product, rollout_from: target", "channels: 1"),
        ("separable", "architecture: mlp", "channels: 1"),
        ("separable", "architecture: vgg, content: constant, output: identity",
         "channels: 2, side: 32"),
    ],
)  # fmt: skip
def test_runs_of_ours_that_fit_are_exported(tmp_path, name, options, data):
    run = drawn(tmp_path, name, options, data)
    model, back = (
        load(run.folder).model,
        load_official(export_official(run.folder, tmp_path / "out")),
    )
    assert same(model.state_dict(), back.state_dict())
    context = torch.rand(2, *run.spec.frame_shape, generator=torch.Generator().manual_seed(0))
    context = context.expand(4, -1, -1, -1, -1).transpose(0, 1)
    one, other = (
        m.forecast(context, 3, generator=torch.Generator().manual_seed(1)).samples
        for m in (model, back)
    )
    assert torch.equal(one, other)
    again = import_official(
        tmp_path / "out", tmp_path / "again", [*NOISE, *overrides_of(run.tables["data"])]
    )
    kept = {k: v for k, v in run.tables["model"].items() if v is not None and k != "normalise"}
    assert {k: again.tables["model"][k] for k in kept} == kept


def overrides_of(table):
    return [f"--data.{option}={value}" for option, value in table.items() if option != "name"]


@pytest.mark.parametrize(
    ("name", "options", "data", "message"),
    [
        ("srvp", "transition: gru", "channels: 1", "transition: gru; it can only hold residual"),
        ("srvp", "stochastic: false", "channels: 1", "stochastic: false"),
        ("srvp", "architecture: resnet", "channels: 1", "architecture: resnet"),
        ("srvp", "output: identity", "channels: 1", "output: identity"),
        ("srvp", "", "side: 32", "32×32 points; it can only hold 64×64"),
        ("separable", "dynamics_layers: 2", "channels: 1", "dynamics_layers: 2"),
        ("separable", "", "side: 32", r"frames of \(3, 32, 32\)"),
        ("separable", "architecture: resnet", "channels: 1", "encoder_width: 4; it can only"),
        ("separable", "architecture: maps, mixing: product, encoder_width: 64, decoder_width: 64, "
         "output: identity", "channels: 1", "mixing: product"),
        ("separable", "architecture: mlp", "channels: 2", "from a mlp decoder"),
        ("persistence", "", "channels: 1", "no published layout for the model persistence"),
    ],
)  # fmt: skip
def test_runs_that_do_not_fit_name_the_option(tmp_path, name, options, data, message):
    run = drawn(tmp_path, name, options, data)
    with pytest.raises(InputError, match=message):
        export_official(run.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


BAD = {"whole": (None, 0, 1.5), "number": ("x", True), "flag": (None, 2)}
USED = {
    "srvp_dcgan": {
        **dict(official_srvp.OPTIONS.values()), "nc": "whole", "nx": "whole", "nt_cond": "whole",
        "seq_len": "whole", "lr": "number", "batch_size": "whole", "ndigits": "whole",
    },
    "sepnet_wave100_mlp": {
        **dict(official_separable.OPTIONS.values()), "nt_cond": "whole", "nt_pred": "whole",
        "lr": "number", "beta1": "number", "no_s": "flag", "epochs": "whole",
        "scheduler": "flag", "enc_hidden_size": "whole", "n_wave_points": "whole",
    },
}  # fmt: skip


def test_options_that_came_later_must_be_at_their_default(tmp_path):
    for name, write in {
        "srvp": official_srvp.srvp_settings,
        "separable": lambda m, o: official_separable.separable_settings(m, o, {}),
    }.items():
        run = create_run(recipe_of(tmp_path, name), tmp_path / name)
        model, options = run.new_model(), own_options(run.tables["model"])
        assert write(model, options)
        with pytest.raises(InputError, match="cannot hold spin: 3"):
            write(model, options | {"spin": 3})


@pytest.mark.parametrize("name", USED)
def test_settings_of_another_kind_are_named(name, tmp_path):
    folder = shutil.copytree(GOLDEN / name, tmp_path / "bad")
    file = next(folder.glob("*.json"))
    settings = settings_of(folder)
    for key, kind in USED[name].items():
        for value in BAD[kind]:
            file.write_text(json.dumps(settings | {key: value}))
            found = re.escape(json.dumps(value))
            with pytest.raises(InputError, match=f"{key!r} to .*, got {found}"):
                import_official(folder, tmp_path / "run")
        file.write_text(json.dumps({k: v for k, v in settings.items() if k != key}))
        with pytest.raises(InputError, match=f"lacks the setting {key!r}"):
            import_official(folder, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("srvp_dcgan", "archi", "resnet", "'archi' to dcgan or vgg"),
        ("srvp_dcgan", "lr", -1, "learning_rate must be"),
        ("sepnet_dcgan_skip", "architecture", "unet", "the encoder 'unet'"),
        ("sepnet_dcgan_skip", "decoder_architecture", "resnet", "the decoder 'resnet'"),
        ("sepnet_dcgan_skip", "mixing", "sum", "mul or concat"),
        ("sepnet_dcgan_skip", "mixing", "mul", "equal size, got 9 and 5"),
        ("sepnet_dcgan_skip", "no_s", True, "no maps for skip connections"),
        ("sepnet_dcgan_skip", "data", 3, "name of a data set"),
        ("sepnet_dcgan_skip", "beta2", 7, "adam_betas must lie"),
    ],
)
def test_settings_that_build_nothing_are_refused(tmp_path, name, key, value, message):
    folder = shutil.copytree(GOLDEN / name, tmp_path / "bad")
    file = next(folder.glob("*.json"))
    file.write_text(json.dumps(settings_of(folder) | {key: value}))
    with pytest.raises(InputError, match=message):
        import_official(folder, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_files_hold_plain_tensors_only(tmp_path):
    run = import_official(GOLDEN / "sepnet_dcgan_skip", tmp_path / "run")
    back = export_official(run.folder, tmp_path / "back")
    for path in back.glob("*.pt"):
        content = torch.load(path, weights_only=True)
        assert same(content, load_torch_file(path))
    torch.save({"conv": [1]}, back / "ov_Et.pt")
    with pytest.raises(InputError, match="a pickled module or a state dict"):
        load_official(back)
