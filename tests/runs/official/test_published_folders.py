"""Folders as published code leaves them: told by their content, and equal to their arrays."""

import argparse
import json
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers.golden import arrays_of, settings_of
from helpers.noise_data import Noise
from helpers.tensorflow_checkpoints import write_checkpoint
from torch import nn

from statecast.cli.main import main
from statecast.data import DATASETS
from statecast.errors import FileError, InputError
from statecast.models import MODELS
from statecast.reports.inspection.inspect_path import inspect_path
from statecast.runs.load import load, load_model
from statecast.runs.official.arrays import from_arrays
from statecast.runs.official.loading import is_official, load_official
from statecast.runs.official.phydnet import published_names


def golden(name):
    return arrays_of(name), settings_of(name)


def tensors_of(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def same(left, right):
    left, right = left.state_dict(), right.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


class OldParameter(nn.Parameter):
    """A parameter that is pickled as PyTorch 0.4 does."""

    def __reduce_ex__(self, protocol):
        return nn.Parameter, (self.data, self.requires_grad)


def modules(tensors, kind):
    """A tree of modules of a class with tensors by name, as parameters and buffers."""
    root = kind()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        part = root
        for step in path:
            if step not in part._modules:
                part.add_module(step, nn.Module())
            part = part._modules[step]
        if last.startswith("running"):
            part.register_buffer(last, tensor)
        else:
            part.register_parameter(last, OldParameter(tensor))
    return root


@pytest.fixture
def published_classes(monkeypatch):
    """Classes of modules that are there while a file is written, as in the published code."""

    def kind(module, name):
        made = type(name, (nn.Module,), {"__module__": module})
        monkeypatch.setitem(sys.modules, module, sys.modules.get(module) or ModuleType(module))
        setattr(sys.modules[module], name, made)
        return made

    monkeypatch.setitem(sys.modules, "models", ModuleType("models"))
    return kind


def write_svg(folder, name, kind, *, zipped, **more):
    """SVG's checkpoint: whole modules, and options with a class among them."""
    arrays, config = golden(name)
    backbone, _, side = config["backbone"].partition("_")
    content = {}
    for part in dict.fromkeys(array.partition(".")[0] for array in arrays):
        own = {k.partition(".")[2]: v for k, v in arrays.items() if k.startswith(f"{part}.")}
        coder = part in ("encoder", "decoder")
        module = f"models.{config['backbone']}" if coder else "models.lstm"
        content[part] = modules(tensors_of(own), kind(module, part if coder else f"{part}_lstm"))
        content[part].hidden = [(torch.ones(2, 3), torch.ones(2, 3))]
    names = ("channels", "g_dim", "z_dim", "rnn_size", "predictor_rnn_layers", "n_past",
             "posterior_rnn_layers", "n_future", "beta", "lr", "batch_size")  # fmt: skip
    options = {key: config[key] for key in names} | {
        "prior_rnn_layers": config["prior_rnn_layers"] or 1, "model": backbone, "beta1": 0.9,
        "image_width": int(side), "dataset": "smmnist", "optimizer": torch.optim.Adam,
    }  # fmt: skip
    content["opt"] = argparse.Namespace(**options | more)
    folder.mkdir()
    torch.save(content, folder / "model.pth", _use_new_zipfile_serialization=zipped)
    return from_arrays("svg", arrays, config)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize(
    ("name", "zipped"), [("svg_lp", False), ("svg_fp", True), ("svg_lp_vgg", False)]
)
def test_modules_of_svg(tmp_path, published_classes, name, zipped):
    expected = write_svg(tmp_path / "a", name, published_classes, zipped=zipped)
    for module in [module for module in sys.modules if module.split(".")[0] == "models"]:
        del sys.modules[module]  # they are not there when it is read
    assert same(load_official(tmp_path / "a"), expected)


def test_an_imported_svg_is_a_run_with_published_options(tmp_path, published_classes, monkeypatch):
    monkeypatch.setitem(DATASETS, "noise", Noise)
    expected = write_svg(tmp_path / "a", "svg_lp", published_classes, zipped=True)
    output = str(tmp_path / "run")
    assert main(["import-official", str(tmp_path / "a"), "--output", output]) == 2
    chosen = ["--data.name", "noise", "--data.channels", "1"]
    assert main(["import-official", str(tmp_path / "a"), "--output", output, *chosen]) == 0
    predictor = load(output)
    assert same(predictor.model, expected)
    config = (tmp_path / "run" / "config.yaml").read_text()
    for line in ("learning_rate: 0.002", "batch_size: 2", "published: true", "context: 3"):
        assert line in config
    assert json.loads((tmp_path / "run" / "official.json").read_text())["model"] == "svg"


def test_modules_of_drnet_lie_in_two_files(tmp_path, published_classes):
    arrays, config = golden("drnet")
    trees = {}
    for part in ("netD", "netEP", "netEC", "lstm"):
        own = {k.partition(".")[2]: v for k, v in arrays.items() if k.startswith(f"{part}.")}
        trees[part] = modules(tensors_of(own), published_classes("models.dcgan_unet", part))
    names = ("content_dim", "pose_dim", "channels")
    options = argparse.Namespace(image_width=64, **{name: config[name] for name in names})
    lengths = argparse.Namespace(n_past=config["n_past"], n_future=config["n_future"])
    predictor = trees.pop("lstm")
    torch.save({**trees, "opt": options}, tmp_path / "model.pth")
    torch.save({"lstm": predictor, "opt": lengths}, tmp_path / "model_lstm.pth")
    kept = {k: a for k, a in arrays.items() if k.partition(".")[0] in (*trees, "lstm")}
    found, expected = load_official(tmp_path), from_arrays("drnet", kept, config)
    assert found.spec == expected.spec
    known = {k: t for k, t in expected.state_dict().items() if not k.startswith("discriminator.")}
    assert all(torch.equal(found.state_dict()[name], t) for name, t in known.items())


@pytest.mark.parametrize("version", ["released", "paper"])
@pytest.mark.parametrize("openstl", [False, True])
def test_state_dicts_of_phydnet(tmp_path, version, openstl):
    sizes = {"state_channels": 32, "residual_hidden": (6, 5), "kernel_size": 5, "width": 16}
    beside = {"in_shape": [4, 2, 16, 24], "pre_seq_length": 4, "aft_seq_length": 2}
    spec = from_arrays("phydnet", *golden("phydnet")).spec
    space = (16, 24) if openstl else (64, 64)
    model = MODELS["phydnet"](spec, version=version, **sizes, generator=torch.Generator())
    own = model.state_dict()
    tensors = {theirs: own[name] for name, theirs in published_names(model).items()}
    if openstl:
        tensors = {"state_dict": {f"model.encoder.{name}": t for name, t in tensors.items()}}
        (tmp_path / "model_param.json").write_text(json.dumps(beside))
    torch.save(tensors, tmp_path / "encoder_phydnet.pth")
    found = load_official(tmp_path)
    assert (found.spec.space, found.spec.context) == (space, 4 if openstl else 10)
    assert found.physical.version == version
    for name in published_names(model):
        assert torch.equal(found.state_dict()[name], own[name]), name


@pytest.mark.parametrize(
    ("name", "wrapper", "beside"),
    [
        ("predrnn", "net_param", {"decouple_beta": 0.1}),
        ("mim", "state_dict", {}),
        ("mim", None, {}),
    ],
)
def test_state_dicts_of_predrnn_and_mim(tmp_path, name, wrapper, beside):
    arrays, config = golden(name)
    expected = from_arrays(name, arrays, config)
    own = tensors_of({k.removeprefix("v2."): a for k, a in arrays.items() if k[:3] != "v1."})
    if wrapper == "state_dict":
        own = {f"model.{key}": tensor for key, tensor in own.items()}
    beside |= {
        "in_shape": [config["context"], config["frame_channels"], *config["frame_size"]],
        "pre_seq_length": config["context"], "aft_seq_length": config["horizon"],
        "patch_size": config["patch"],
    }  # fmt: skip
    if name == "mim":  # whose weights belong to places
        del beside["in_shape"]
    (tmp_path / "model_param.json").write_text(json.dumps(beside))
    torch.save({wrapper: own} if wrapper else own, tmp_path / "checkpoint.ckpt")
    found = load_official(tmp_path)
    assert found.spec == expected.spec
    assert same(found, expected)


@pytest.mark.parametrize("wrappers", [("model",), ("model_state_dict",), ("state_dict", "model")])
def test_wrappers_and_prefixes_of_state_dicts(tmp_path, wrappers):
    spec = from_arrays("phydnet", *golden("phydnet")).spec
    sizes = {"state_channels": 32, "residual_hidden": (6, 5), "kernel_size": 5, "width": 16}
    own = MODELS["phydnet"](spec, **sizes, generator=torch.Generator())
    names, state = published_names(own), own.state_dict()
    content = {f"model.module.{theirs}": state[name] for name, theirs in reversed(names.items())}
    for wrapper in wrappers:
        content = {"epoch": 3, wrapper: content, "optimizer": {"state": {}}}
    torch.save(content, tmp_path / "checkpoint.pth")
    found = load_official(tmp_path).state_dict()
    assert all(torch.equal(found[name], state[name]) for name in names)


def test_convlstm_is_told_from_predrnn(tmp_path):
    arrays, config = golden("predrnn")
    own = {k.removeprefix("v1."): a for k, a in arrays.items() if k[:3] == "v1."}
    own = {k: a for k, a in own.items() if ".conv_m." not in k and ".conv_o." not in k}
    for layer in range(3):  # whose input gates are four
        own[f"cell_list.{layer}.conv_x.0.weight"] = own[f"cell_list.{layer}.conv_x.0.weight"][:20]
        del own[f"cell_list.{layer}.conv_last.weight"]
    torch.save(tensors_of(own), tmp_path / "convlstm.pth")
    found = load_official(tmp_path)
    assert type(found).__name__ == "ConvLSTM"
    assert same(found, from_arrays("convlstm", own, config))


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("mim_original", {"pre_seq_length": 4, "aft_seq_length": 3, "patch_size": 2}),
        ("sv2p", {"context_frames": 2}),
        ("cdna", {"context_frames": 2, "sequence_length": 5}),
        ("savp", None),
    ],
)
def test_variables_of_tensorflow(tmp_path, name, beside):
    arrays, config = golden("sv2p" if name == "cdna" else name)
    if name == "cdna":
        config["system"] = "CDNA"
        arrays = {k: a for k, a in arrays.items() if "/latent_" not in k}
        mixed = "generator/conv4/weights"  # of features and, last, the latent
        arrays[mixed] = arrays[mixed][:, :, :-1]
    if name == "savp":  # variables of its time are TensorFlow 1's
        beside, config["tensorflow"] = config["hparams"], "1.12"
    file = "model_param.json" if name == "mim_original" else "model_hparams.json"
    (tmp_path / file).write_text(json.dumps(beside))
    for steps in (900, 10_000):  # the last one counts
        kept = {key: array if steps > 1000 else 0 * array for key, array in arrays.items()}
        write_checkpoint(tmp_path / f"model-{steps}", kept | {"global_step": np.array(steps)})
    found, expected = load_official(tmp_path), from_arrays(name, arrays, config)
    assert found.spec == expected.spec
    assert same(found, expected)


@pytest.mark.parametrize("name", ["sv2p", "mim_original", "savp"])
def test_shapes_of_no_model_are_refused(tmp_path, name):
    arrays, config = golden(name)
    content = config["hparams"] if name == "savp" else {}
    (tmp_path / "model_hparams.json").write_text(json.dumps(content))
    arrays = {key: np.zeros((2,) * array.ndim, "f4") for key, array in arrays.items()}
    write_checkpoint(tmp_path / "model-1", arrays)
    with pytest.raises(InputError):
        load_official(tmp_path)


def test_what_cannot_be_read_is_said(tmp_path):
    def folder(name):
        (tmp_path / name).mkdir()
        return tmp_path / name

    lua = folder("drnet")
    (lua / "model.t7").write_bytes(b"\3\0\0\0\1\0\0\0")
    assert is_official(lua)
    with pytest.raises(FileError, match="Torch7"):
        load_model(lua)
    other = folder("other")
    torch.save({"weight": torch.ones(3)}, other / "model.pth")
    with pytest.raises(InputError, match=r"no known system \(weight, …\)"):
        load_official(other)
    several = folder("several")
    for name in ("a.ckpt", "b.ckpt"):
        torch.save({"weight": torch.ones(3)}, several / name)
    with pytest.raises(FileError, match=r"several checkpoints: a\.ckpt, b\.ckpt"):
        load_official(several)
    assert not is_official(folder("empty"))
    (other / "config.yaml").touch()  # a run of ours, with a file beside
    assert not is_official(other)


class Program:
    def __reduce__(self):
        return print, ("this was run",)


def test_nothing_in_a_checkpoint_is_executed(tmp_path, capsys):
    for index, zipped in enumerate((False, True)):
        folder = tmp_path / str(index)
        folder.mkdir()
        torch.save({"encoder": Program()}, folder / "a.pth", _use_new_zipfile_serialization=zipped)
        for look in (load_official, inspect_path):
            with pytest.raises(InputError, match="refused; no code in it was run"):
                look(folder)
    assert capsys.readouterr().out == ""
