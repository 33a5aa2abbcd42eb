"""Published checkpoints: our models give what the published code gave, number by number."""

import json
import shutil

import pytest
import torch
from helpers.golden import GOLDEN, tensors_of

from statecast.errors import FileError, InputError
from statecast.frames import Batch
from statecast.runs.official.loading import load_official

SRVP = ("srvp_dcgan", "srvp_vgg_skip")
SEPARABLE = ("sepnet_wave100_mlp", "sepnet_dcgan_skip", "sepnet_vgg32_taxibj")
FRAMES = {"atol": 1e-4, "rtol": 0}
LOSSES = {"atol": 0, "rtol": 1e-3}


def opened(name):
    expected = {k: v / 255 if v.dtype == torch.uint8 else v for k, v in tensors_of(name).items()}
    return load_official(GOLDEN / name), expected


def thinned(frames):
    """Every 4th pixel of each side of an image; points as they are."""
    return frames[..., ::4, ::4] if frames.ndim > 4 else frames


@pytest.mark.parametrize("name", SRVP)
def test_srvp_codes_states_and_reconstruction(name):
    model, expected = opened(name)
    with torch.no_grad():
        codes = model.encode(expected["context"])
        content, inferred = model.content_of_last_frames(codes), model.infer(codes.code)
        frames = model.decode(content, inferred.latents[0])
    torch.testing.assert_close(content.code, expected["content"], **FRAMES)
    torch.testing.assert_close(inferred.latents[0], expected["context_states"], **FRAMES)
    torch.testing.assert_close(thinned(frames), expected["reconstruction"], **FRAMES)


@pytest.mark.parametrize(
    ("name", "substeps"),
    [("srvp_dcgan", 1), ("srvp_dcgan", 2), ("srvp_vgg_skip", 2), ("srvp_vgg_skip", 4)],
)
def test_srvp_forecast(name, substeps):
    model, expected = opened(name)
    context = expected["context"]
    frames = expected[f"forecast_euler{substeps}"]
    states = expected[f"forecast_states_euler{substeps}"]
    forecast = model.forecast(context, frames.shape[1], substeps=substeps)
    torch.testing.assert_close(thinned(forecast.samples[0]), frames, **FRAMES)
    with torch.no_grad():
        found = model.advance(model.observe(context), forecast.times, substeps=substeps)
    torch.testing.assert_close(found[0], states, **FRAMES)


@pytest.mark.parametrize("name", SRVP)
def test_srvp_loss_terms(name):
    model, expected = opened(name)
    with torch.no_grad():
        found = model.loss(Batch.of(expected["full"], model.spec.context))
    names = {
        "reconstruction": "nll",
        "divergence_initial": "kl_y",
        "divergence_noise": "kl_z",
        "residual": "l2_residual",
    }
    for ours, theirs in names.items():
        torch.testing.assert_close(found[ours], expected[theirs], **LOSSES)


@pytest.mark.parametrize("name", SEPARABLE)
def test_separable_forecast_and_codes(name):
    model, expected = opened(name)
    context = expected["full"][:, : model.spec.context]
    length = expected["full"].shape[1]
    times = range(1 - model.spec.context, length - model.spec.context + 1)
    forecast = model.forecast(context, times=times)
    reference = expected["forecast_with_reconstruction"]
    torch.testing.assert_close(thinned(forecast.samples[0]), reference, **FRAMES)
    with torch.no_grad():
        codes = model.path_from(model.dynamics_of(context), length)
        content = model.content_of(context).code
    torch.testing.assert_close(codes, expected["dynamic_codes"], **FRAMES)
    torch.testing.assert_close(content, expected["content_code"], **FRAMES)
    if "swap_forecast" in expected:
        swapped = model.forecast(context, times=times, content_from=context.flip(0))
        torch.testing.assert_close(thinned(swapped.samples[0]), expected["swap_forecast"], **FRAMES)


@pytest.mark.parametrize("name", SEPARABLE)
def test_separable_loss_terms(name):
    model, expected = opened(name)
    full = expected["full"]
    windows = len(expected["loss_alignment_per_window"])
    assert model.alignment_windows(full.shape[1]) == windows
    with torch.no_grad():
        terms = [model.loss_terms(full, window) for window in range(windows)]
    aligned = torch.stack([term["alignment"] for term in terms])
    torch.testing.assert_close(aligned, expected["loss_alignment_per_window"], **LOSSES)
    names = {"forecast": "forecast", "invariance": "invariance", "prior": "dynamic_prior"}
    for ours, theirs in names.items():
        torch.testing.assert_close(terms[0][ours], expected[f"loss_{theirs}"], **LOSSES)


def edited(tmp_path, name, file, change):
    """A copy of a golden folder, with the settings of `file` changed."""
    folder = tmp_path / name
    shutil.copytree(GOLDEN / name, folder)
    settings = json.loads((folder / file).read_text())
    change(settings)
    (folder / file).write_text(json.dumps(settings))
    return folder


def test_older_files_that_are_no_zip_read_the_same(tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(GOLDEN / "srvp_dcgan", folder)
    weights = torch.load(folder / "model.pt", weights_only=True)
    torch.save(weights, folder / "model.pt", _use_new_zipfile_serialization=False)
    old, new = load_official(folder), load_official(GOLDEN / "srvp_dcgan")
    for name, tensor in new.state_dict().items():
        assert torch.equal(old.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("q_z.weight"), r"lack the tensor q_z\.weight"),
        (lambda weights: weights.update({"d.weight": torch.zeros(3)}), r"d\.weight"),
    ],
)
def test_a_missing_or_foreign_tensor_is_named(tmp_path, change, message):
    folder = shutil.copytree(GOLDEN / "srvp_dcgan", tmp_path / "other")
    weights = torch.load(folder / "model.pt", weights_only=True)
    change(weights)
    torch.save(weights, folder / "model.pt")
    with pytest.raises(InputError, match=message):
        load_official(folder)


@pytest.mark.parametrize(
    ("name", "file", "change", "message"),
    [
        ("srvp_dcgan", "config.json", lambda s: s.update(ny=6), "should have shape"),
        ("sepnet_wave100_mlp", "params.json", lambda s: s.update(offset=2), "2 frames back"),
        ("sepnet_dcgan_skip", "params.json", lambda s: s.update(architecture="x"), "encoder 'x'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, name, file, change, message):
    with pytest.raises(InputError, match=message):
        load_official(edited(tmp_path, name, file, change))


def test_any_other_folder_is_refused(tmp_path):
    with pytest.raises(FileError, match="not a published checkpoint"):
        load_official(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FileError, match="JSON"):
        load_official(tmp_path)
