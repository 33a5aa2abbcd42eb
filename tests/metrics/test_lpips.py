"""LPIPS, against the same computed with NumPy, and its files of weights."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from statecast.errors import CorruptionError, FileError
from statecast.evaluation.scoring import applicable
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics import METRICS
from statecast.metrics import pretrained_weights as weights
from statecast.metrics.base import MetricSettings
from statecast.metrics.lpips import LPIPS, VGGLPIPS, read_heads
from statecast.metrics.pretrained_weights import (
    ALEXNET,
    I3D,
    find,
    obtain,
    read_weights,
    why_missing,
)

TIMES = torch.tensor([1.0, 2.0])
# Written down from torchvision's definitions: convolution number, stride, padding; m is a pooling.
ALEX = [(0, 4, 2), "m3", (3, 1, 2), "m3", (6, 1, 1), (8, 1, 1), (10, 1, 1)]
VGG = [
    (0, 1, 1), (2, 1, 1), "m2", (5, 1, 1), (7, 1, 1), "m2", (10, 1, 1), (12, 1, 1), (14, 1, 1),
    "m2", (17, 1, 1), (19, 1, 1), (21, 1, 1), "m2", (24, 1, 1), (26, 1, 1), (28, 1, 1),
]  # fmt: skip
TAPPED = {"lpips": {0, 3, 6, 8, 10}, "lpips_vgg": {2, 7, 14, 21, 28}}
SPACE = {"lpips": (31, 40), "lpips_vgg": (16, 19)}


def spec_of(name, channels=("red", "green", "blue"), value_range=(0.0, 1.0)):
    return FrameSpec(
        channels=channels, space=SPACE[name], context=1, horizon=2, value_range=value_range
    )


def drawn(spec, samples=2, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(batch, 2, *spec.frame_shape, generator=generator)
    noise = 0.2 * torch.randn(samples, *target.shape, generator=generator)
    return (
        Forecast(samples=(target + noise).clamp(0, 1), times=TIMES, channels=spec.channels),
        Frames(values=target, times=TIMES, channels=spec.channels),
    )


def convolved(image, kernel, bias, stride, padding):
    image = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape[2:], axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    return np.tensordot(kernel, windows, ((1, 2, 3), (0, 3, 4))) + bias[:, None, None]


def pooled(image, side):
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(1, 2))
    return windows[:, ::2, ::2].max(axis=(3, 4))


def unit_features(name, image, state):
    """Unit feature vectors of an image (3, y, x) in [0, 1], by NumPy in float64."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    maps = ((2 * image - 1) - shift[:, None, None]) / scale[:, None, None]
    features = []
    for layer in ALEX if name == "lpips" else VGG:
        if isinstance(layer, str):
            maps = pooled(maps, int(layer[1]))
            continue
        number, stride, padding = layer
        kernel, bias = (state[f"features.{number}.{part}"] for part in ("weight", "bias"))
        maps = np.maximum(convolved(maps, kernel, bias, stride, padding), 0)
        if number in TAPPED[name]:
            features.append(maps / (np.sqrt(np.square(maps).sum(axis=0)) + 1e-10))
    return features


def lpips_by_numpy(name, one, other, state, heads):
    left, right = (unit_features(name, image, state) for image in (one, other))
    return sum(
        float((np.square(a - b) * head[:, None, None]).sum(axis=0).mean())
        for a, b, head in zip(left, right, heads, strict=True)
    )


@pytest.mark.parametrize("name", ["lpips", "lpips_vgg"])
def test_lpips_agrees_with_numpy(name, settings, weight_files):
    spec = spec_of(name)
    forecast, target = drawn(spec, samples=1, batch=1)
    metric = METRICS[name].of(spec, settings)
    found = metric.value(metric.sums(forecast, target))
    state = {k: v.double().numpy() for k, v in torch.load(weight_files / metric.file.name).items()}
    heads = [head.double().numpy() for head in read_heads(metric.heads)]
    for time in range(2):
        expected = lpips_by_numpy(
            name,
            forecast.samples[0, 0, time].double().numpy(),
            target.values[0, time].double().numpy(),
            state,
            heads,
        )
        assert float(found[time]) == pytest.approx(expected, rel=1e-4)


def test_the_heads_are_those_of_version_0_1():
    sizes = {"alex": [64, 192, 384, 256, 256], "vgg": [64, 128, 256, 512, 512]}
    # Sums of the published heads: other versions, or other networks, have others.
    totals = {
        "alex": [2.34953, 16.14303, 39.26844, 27.19718, 20.31718],
        "vgg": [6.92599, 8.85833, 17.51501, 51.52132, 47.03485],
    }
    for network, channels in sizes.items():
        heads = read_heads(network)
        assert [len(head) for head in heads] == channels
        assert all(bool((head >= 0).all()) for head in heads)
        found = [float(head.double().sum()) for head in heads]
        assert found == pytest.approx(totals[network], abs=1e-4)


def test_grey_is_repeated_and_the_range_is_taken_from_the_data(settings):
    spec = spec_of("lpips", channels=("luminance",))
    forecast, target = drawn(spec)
    grey = LPIPS.of(spec, settings)
    expected = grey.value(grey.sums(forecast, target))
    colour = LPIPS.of(spec_of("lpips"), settings)
    names = ("red", "green", "blue")
    repeated = colour.sums(
        Forecast(
            samples=forecast.samples.expand(-1, -1, -1, 3, -1, -1), times=TIMES, channels=names
        ),
        Frames(values=target.values.expand(-1, -1, 3, -1, -1), times=TIMES, channels=names),
    )
    torch.testing.assert_close(colour.value(repeated), expected)
    wide = LPIPS.of(spec_of("lpips", ("luminance",), value_range=(-10.0, 30.0)), settings)
    scaled = wide.sums(
        replace(forecast, samples=40 * forecast.samples - 10),
        replace(target, values=40 * target.values - 10),
    )
    torch.testing.assert_close(wide.value(scaled), expected, rtol=1e-4, atol=1e-6)


class ThriftyLPIPS(LPIPS):
    feature_bytes = 1


def test_any_budget_gives_the_same_scores(settings):
    spec = spec_of("lpips")
    forecast, target = drawn(spec, samples=3, batch=3)
    metric = LPIPS.of(spec, settings)
    whole = metric.scores(metric.sums(forecast, target))
    assert metric.images_at_once(target.values.flatten(0, 1)) > 6
    thrifty = ThriftyLPIPS.of(spec, settings)
    assert thrifty.images_at_once(target.values.flatten(0, 1)) == 1
    single = thrifty.scores(thrifty.sums(forecast, target))
    for selection, score in whole.items():
        torch.testing.assert_close(single[selection].per_lead_time, score.per_lead_time)


def test_the_digest_of_the_weights_is_recorded(settings, weight_files):
    metric = LPIPS.of(spec_of("lpips"), settings)
    content = (weight_files / metric.file.name).read_bytes()
    assert metric.protocol({})["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("lpips", {"space": (64,)}, "31×31 pixels"),
        ("lpips", {"space": (30, 64)}, "31×31 pixels"),
        ("lpips_vgg", {"space": (64, 15)}, "16×16 pixels"),
        ("lpips", {"channels": ("u", "v")}, "1 or 3 channels"),
        ("lpips", {"value_range": None}, "range"),
        ("fvd", {"space": (64,)}, "images"),
        ("fvd", {"channels": ("u", "v")}, "1 or 3 channels"),
        ("fvd", {"value_range": None}, "range"),
        *(
            (name, options, reason)
            for name in ("perceptual_small", "fvd_small")
            for options, reason in (
                ({"space": (7,)}, "images"),
                ({"channels": ("u", "v")}, "1 or 3 channels, got 2"),
                ({"value_range": None}, "range"),
            )
        ),
        ("spectrum", {"space": (64,)}, "8×8 points"),
    ],
)
def test_networks_say_why_they_do_not_apply(name, options, reason, settings):
    spec = replace(spec_of("lpips"), **options)
    _, reasons = applicable([name], spec, 1, settings)
    assert reason in reasons[name]


def test_a_missing_file_is_one_line_that_helps(settings):
    nothing = MetricSettings()
    spec = spec_of("lpips")
    names = ["lpips", "lpips_vgg", "fvd", "mse"]
    computed, reasons = applicable(names, spec, 1, nothing)
    assert list(computed) == ["mse"]
    for name, parts in {
        "lpips": ("alexnet-owt-7be5be79.pth", "STATECAST_LPIPS_WEIGHTS", "--allow-download"),
        "lpips_vgg": ("vgg16-397923af.pth", "lpips_weights", "--allow-download"),
        "fvd": ("i3d_torchscript.pt", "which is code", "STATECAST_FVD_I3D", "fvd_weights"),
    }.items():
        assert "\n" not in reasons[name]
        for part in parts:
            assert part in reasons[name]
    assert "--allow-download" not in reasons["fvd"]


def test_files_are_sought_in_the_declared_order(settings, tmp_path, monkeypatch):
    name = ALEXNET.name
    places = [tmp_path / p for p in ("given", "named", "cache/weights", "torch/hub/checkpoints")]
    monkeypatch.setenv("STATECAST_LPIPS_WEIGHTS", str(places[1]))
    for place in places:
        place.mkdir(parents=True)
        (place / name).write_bytes(b"weights")
    given = str(places[0])
    for place in places:
        assert find(ALEXNET, given) == place / name
        (place / name).unlink()
    assert find(ALEXNET, given) is None
    # The hub's folder holds what any program put there; code is not taken from it.
    (places[3] / I3D.name).write_bytes(b"code")
    assert find(I3D) is None
    assert why_missing(I3D, None, allow_download=True) is not None
    (places[2] / I3D.name).write_bytes(b"code")
    assert find(I3D) == places[2] / I3D.name
    own = tmp_path / "own.pt"
    own.write_bytes(b"code")
    assert find(I3D, str(own)) == own


def test_a_path_that_was_named_and_is_not_there_is_an_error(settings, tmp_path, monkeypatch):
    with pytest.raises(FileError, match="does not exist"):
        find(ALEXNET, str(tmp_path / "nowhere.pth"))
    monkeypatch.setenv("STATECAST_FVD_I3D", str(tmp_path / "nowhere.pt"))
    with pytest.raises(FileError, match="does not exist"):
        find(I3D)
    with pytest.raises(FileError, match="it needs alexnet"):
        obtain(ALEXNET)


def test_another_file_under_the_published_name_is_an_error(settings, tmp_path):
    path = tmp_path / ALEXNET.name
    path.write_bytes(b"something else")
    with pytest.raises(CorruptionError, match="not 7be5be79"):
        obtain(ALEXNET, str(path))


def test_a_download_is_checked_and_kept(settings, tmp_path, monkeypatch):
    content = b"published weights"
    source = tmp_path / "published.pth"
    source.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    file = replace(ALEXNET, source=source.as_uri(), digest=digest[:8])
    with pytest.raises(FileError, match="or pass --allow-download"):
        obtain(file)
    located = obtain(file, allow_download=True)
    assert located == (weights.weights_folder() / ALEXNET.name, digest)
    assert located.path.read_bytes() == content
    assert obtain(file) == located
    located.path.unlink()
    with pytest.raises(CorruptionError, match="a different file"):
        obtain(replace(file, digest="00000000"), allow_download=True)
    assert not located.path.exists()
    gone = replace(file, source=(tmp_path / "gone.pth").as_uri())
    with pytest.raises(FileError, match="Cannot download"):
        obtain(gone, allow_download=True)


def test_files_that_hold_no_weights_are_refused(settings, tmp_path, monkeypatch, weight_files):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(CorruptionError, match="not a file of weights"):
        read_weights(path)
    for content in ([torch.zeros(2)], {"weight": torch.zeros(2), "step": 3}):
        torch.save(content, path)
        with pytest.raises(CorruptionError, match="tensors by name"):
            read_weights(path)
    other = weight_files / VGGLPIPS.file.name
    monkeypatch.setattr(LPIPS, "file", replace(LPIPS.file, digest=""))
    with pytest.raises(CorruptionError, match="layers of alexnet"):
        LPIPS.of(spec_of("lpips"), MetricSettings(lpips_weights=str(other)))
