"""Bad values at every public entry point: a right result, or an error of ours; never another."""

import contextlib
import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from helpers.seeds import seeded
from helpers.small_models import POINTS
from helpers.toy_data import Pendulum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import statecast
from statecast import Batch, Forecast, Frames, FrameSpec, StatecastError
from statecast.checks import LONGEST, MOST, fits
from statecast.cli.main import main
from statecast.data import DATASETS
from statecast.evaluation.evaluate import evaluate
from statecast.forecasting.inputs import read_context
from statecast.forecasting.predictor import Predictor
from statecast.frames import as_tensor
from statecast.metrics import METRICS
from statecast.metrics.base import MetricSettings
from statecast.models import MODELS
from statecast.models.latent_space import change_speed, freeze, interpolate, warp
from statecast.runs.recipes.resolve import resolve
from statecast.solvers.solvers import Solver
from statecast.training.options import TrainingOptions
from statecast.training.train import train

# Many more with STATECAST_EXAMPLES=1000, or in `make slow`; the same ones each time.
EXAMPLES = int(os.environ.get("STATECAST_EXAMPLES", "10"))
GIVEN = ("model", "data", "name")  # arguments of `evaluate` that are no options
QUICK = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

SPEC = FrameSpec(channels=("a",), space=(6,), context=3, horizon=2, value_range=(0.0, 1.0))
OPTIONS = POINTS | {"persistence": {}, "dmd": {"rank": 2}}


def made(name, spec=SPEC):
    model = MODELS[name](spec, **OPTIONS[name], generator=seeded(0))
    if model.needs_statistics:
        model.fit_statistics([Batch.of(torch.rand(4, 5, 1, 6, generator=seeded(0)), 3)])
    return model.eval()


TINY = {name: made(name) for name in OPTIONS}


@contextlib.contextmanager
def ours():
    """Errors of ours pass, on one line; any other fails the test."""
    try:
        yield
    except StatecastError as error:
        text = str(error)
        assert text
        assert "\n" not in text
        assert len(text) < 2000


# What people pass by mistake

NUMBERS = st.one_of(
    st.integers(-3, 6),
    st.sampled_from([0, -1, 10**7, 2**31, 2**63, 10**30, True, False, None, "3", b"3", [], [3],
                     {}, object, 1.0, 2.5, -0.0, 1e308, math.nan, math.inf, -math.inf, 1j,
                     np.int64(2), np.float32(2), np.array(2), np.array([2]), torch.tensor(2)]),
)  # fmt: skip
DTYPES = st.sampled_from(
    ["<f4", ">f4", "<f8", ">f8", "<f2", "|u1", "<i2", "<u4", "|b1", "<c8", "O", "<U3", "S3",
     "<M8[s]", "longdouble", "V4"]
)  # fmt: skip
SIDES = st.sampled_from([0, 1, 2, 3, 5, 6, 7])
SHAPES = st.one_of(
    st.lists(SIDES, max_size=6).map(tuple),
    st.tuples(st.integers(0, 2), st.integers(0, 4), st.just(1), st.just(6)),
    st.just((2, 3, 1, 6)),
)


@st.composite
def arrays(draw):
    """Arrays of any type, shape and layout; some hold NaN or infinities."""
    shape, dtype = draw(SHAPES), np.dtype(draw(DTYPES))
    generator = np.random.default_rng(draw(st.integers(0, 3)))
    values = generator.random(shape).astype(dtype) if dtype.kind not in "VM" else np.zeros(
        shape, dtype)  # fmt: skip
    if dtype.kind in "fc" and values.size and draw(st.booleans()):
        bad = draw(st.sampled_from([math.nan, math.inf, -math.inf, 1e300]))
        with np.errstate(over="ignore"):
            values.flat[draw(st.integers(0, values.size - 1))] = bad
    change = draw(
        st.sampled_from(["none", "flip", "transpose", "step", "locked", "masked", "list"])
    )
    if change == "flip":
        values = values[..., ::-1] if values.ndim else values
    elif change == "transpose":
        values = np.asfortranarray(values)
    elif change == "step":
        values = np.repeat(values, 2, axis=-1)[..., ::2] if values.ndim else values
    elif change == "locked":
        values.flags.writeable = False
    elif change == "masked":
        return np.ma.masked_array(values, np.ones(shape, bool))
    elif change == "list":
        return values.tolist()
    return values


def as_torch(array):
    """The same as a tensor, where torch knows the type."""
    with contextlib.suppress(TypeError, ValueError, RuntimeError):
        return torch.from_numpy(np.array(array))
    return array


VALUES = st.one_of(
    arrays(),
    arrays().map(as_torch),
    st.sampled_from([None, 3, "frames.npy", [[1.0], [2.0, 3.0]], {}, object(), torch.zeros(()),
                     torch.zeros(2, 3, 1, 6, device="meta"), torch.zeros(2, 3, 1, 6).to_sparse(),
                     torch.zeros(2, 3, 1, 6, requires_grad=True),
                     torch.zeros(2, 3, 1, 6, dtype=torch.bfloat16)]),
)  # fmt: skip
TIMES = st.one_of(
    st.none(), NUMBERS,
    st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, -1.0, math.nan, math.inf, 1e9, 1e30, 1 / 3]),
             max_size=4),
    st.lists(NUMBERS, max_size=3),
    st.sampled_from([[1, 2], (1.0, 1.0), [2.0, 1.0], torch.tensor([1, 2]), torch.tensor([1 + 1j]),
                     np.array([1.0, 2.0], ">f4"), torch.zeros(0), torch.ones(1, 1), "12", [[1.0]]]),
)  # fmt: skip


def quietly(function):
    """A call whose warnings do not matter here."""
    with warnings.catch_warnings(), ours():
        warnings.simplefilter("ignore")
        return function()
    return None


# Frames


@QUICK
@given(values=VALUES, channels=st.sampled_from([None, ("a",), ("a", "a"), "a", [1], ()]))
def test_frames(values, channels):
    found = quietly(lambda: Frames.context_of(values, channels))
    if found is not None:
        assert found.values.dtype == torch.float32
        assert found.times[-1] == 0
        given_ = torch.as_tensor(np.array(values, dtype=np.float32)) if not isinstance(
            values, torch.Tensor) else values.detach().float()  # fmt: skip
        torch.testing.assert_close(found.values.detach(), given_, equal_nan=True)
    with ours():
        Frames(values=values, times=values, channels=("a",))
    with ours():
        Batch.of(values, 2)
    with ours():
        Batch(context=values, target=values)
    with ours():
        Forecast(samples=values, times=torch.ones(1), channels=("a",)).quantile(0.5)


@QUICK
@given(values=arrays())
def test_an_array_keeps_its_numbers_whatever_its_layout(values):
    tensor = quietly(lambda: as_tensor(values))
    if tensor is not None:
        expected = np.array(values, dtype=np.float64)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(tensor.numpy(), expected.astype(np.float32))


def test_masked_arrays_do_not_lose_their_masks():
    values = np.ma.masked_array(np.zeros((1, 3, 1, 6)), np.ones((1, 3, 1, 6), bool))
    with pytest.raises(StatecastError, match="masked array"):
        Frames.context_of(values)
    with pytest.raises(StatecastError, match="masked array"):
        TINY["persistence"].forecast(values)


@QUICK
@given(mask=VALUES, times=st.one_of(TIMES, TIMES.map(lambda t: torch.tensor([1.0, 2.0, 3.0]))))
def test_masks_and_times_of_frames(mask, times):
    with ours():
        Frames(values=torch.zeros(2, 3, 1, 6), times=times, channels=("a",), mask=mask)


@QUICK
@given(st.data())
def test_frame_specs(data):
    odd = st.one_of(
        NUMBERS, st.lists(NUMBERS, max_size=3), st.lists(NUMBERS, max_size=3).map(tuple)
    )
    names = st.sampled_from([("a",), ["a", "b"], "ab", ("a", "a"), (1,), (), None])
    with ours():
        spec = FrameSpec(
            channels=data.draw(names), space=data.draw(odd), context=data.draw(NUMBERS),
            horizon=data.draw(NUMBERS), value_range=data.draw(odd), unit=data.draw(NUMBERS),
        )  # fmt: skip
        assert all(type(size) is int and size > 0 for size in spec.frame_shape)


# Forecasting


def check_forecast(found, samples, batch):
    """A forecast of finite frames is finite, and of the shape that was asked for."""
    if found is not None:
        assert found.samples.shape[:2] == (samples, batch)
        assert found.samples.shape[3:] == SPEC.frame_shape
        assert len(found.times) == found.samples.shape[2]
        assert bool(torch.isfinite(found.samples).all())


@QUICK
@given(values=VALUES, name=st.sampled_from(list(TINY)))
def test_forecasts_of_odd_frames(values, name):
    found = quietly(lambda: TINY[name].forecast(values, generator=seeded(0)))
    if found is not None:
        check_forecast(found, 1, len(values))


@QUICK
@given(
    name=st.sampled_from(list(TINY)), horizon=st.one_of(st.none(), NUMBERS), times=TIMES,
    samples=NUMBERS, substeps=st.one_of(st.none(), NUMBERS.filter(lambda n: n != 10**7)),
    solver=st.one_of(st.none(), st.sampled_from(["rk4", "dopri5", "residual", "", "x", 3])),
    generator=st.one_of(st.none(), NUMBERS), exchange=st.one_of(st.none(), VALUES),
)  # fmt: skip
def test_forecasts_with_odd_options(
    name, horizon, times, samples, substeps, solver, generator, exchange
):
    context = torch.rand(2, 3, 1, 6, generator=seeded(0))
    if times is not None:
        horizon = None
    model = TINY[name]
    for options in (
        {"horizon": horizon}, {"times": times}, {"samples": samples}, {"substeps": substeps},
        {"solver": solver}, {"generator": generator}, {"content_from": exchange},
    ):  # fmt: skip
        if horizon == 10**7 or (name == "persistence" and samples == 10**7):
            continue
        found = quietly(lambda: model.forecast(context, **options))  # noqa: B023
        count = options.get("samples", 1)
        check_forecast(found, int(count) if found is not None else 0, 2)


@pytest.mark.parametrize("name", TINY)
def test_lengths_without_end_are_refused_at_once(name):
    context = torch.rand(2, 3, 1, 6, generator=seeded(0))
    for options in ({"horizon": LONGEST + 1}, {"times": [1e9]}, {"times": [1.0, 1e30]},
                    {"samples": MOST}, {"samples": 2**38}, {"horizon": 2**62}):  # fmt: skip
        with pytest.raises(StatecastError):
            TINY[name].forecast(context, **options)
    with pytest.raises(StatecastError, match="steps"):
        Solver(substeps=LONGEST + 1)


@QUICK
@given(values=NUMBERS, name=st.sampled_from(["euler", "dopri5", "x", None, 3]))
def test_solvers(values, name):
    for option in ("substeps", "relative_tolerance", "absolute_tolerance", "maximum_steps"):
        with ours():
            Solver(name=name, **{option: values})


@QUICK
@given(times=TIMES, number=NUMBERS, weights=st.one_of(NUMBERS, st.lists(NUMBERS, max_size=3)))
def test_latent_space(times, number, weights):
    model = TINY["separable"]
    context = torch.rand(2, 3, 1, 6, generator=seeded(0))
    latents = model.infer_latents(context)
    for call in (
        lambda: model.infer_latents(context, samples=number),
        lambda: model.continue_latents(latents, number if number != 10**7 else 1),
        lambda: model.decode_latents(latents, times),
        lambda: warp(model, latents, times),
        lambda: freeze(model, latents, number, 2),
        lambda: freeze(model, latents, 0.0, number if number != 10**7 else 1),
        lambda: change_speed(model, latents, number),
        lambda: interpolate(model, context, context, weights, 1),
        lambda: latents.with_samples(number),
    ):
        if number == 10**7 and call.__code__.co_names[:1] == ("infer_latents",):
            continue
        quietly(call)


# Models, data, metrics


@QUICK
@given(st.data())
def test_options_of_models(data):
    import inspect

    name = data.draw(st.sampled_from(list(MODELS)))
    names = [n for n in inspect.signature(MODELS[name]).parameters if n not in ("self", "spec")]
    option = data.draw(st.sampled_from(names))
    value = data.draw(NUMBERS.filter(lambda n: n not in (10**7, 2**31)))
    with ours():
        model = MODELS[name](SPEC, **(OPTIONS.get(name, {}) | {option: value}))
        assert all(bool(torch.isfinite(t).all()) for t in model.state_dict().values())


@QUICK
@given(st.data())
def test_options_of_data(data):
    import inspect

    name = data.draw(st.sampled_from([n for n in DATASETS if n not in ("sst", "turntable")]))
    names = list(inspect.signature(DATASETS[name]).parameters)
    option = data.draw(st.sampled_from(names))
    value = data.draw(NUMBERS.filter(lambda n: n not in (10**7, 2**31)))
    with ours():
        _ = DATASETS[name](**{option: value}).spec


@QUICK
@given(
    value=st.one_of(NUMBERS, st.lists(NUMBERS, max_size=2)),
    place=st.sampled_from(["model.latent_size", "model.skips", "train.adam_betas",
                            "train.precision",
                           "evaluate.metrics", "data.digits"]),
)  # fmt: skip
def test_options_of_recipes(value, place):
    recipe = {"model": {"name": "srvp"}, "data": {"name": "moving_digits"}}
    table, option = place.split(".")
    with ours():
        resolve({**recipe, table: recipe.get(table, {}) | {option: value}})
    with ours():
        resolve(recipe, [f"--{place}", str(value)])


WINDOW = torch.rand(2, 5, 1, 16, 16, generator=seeded(0))


@QUICK
@given(values=VALUES, name=st.sampled_from(list(METRICS)), change=st.sampled_from("abcd"))
def test_metrics(values, name, change):
    spec = FrameSpec(channels=("a",), space=(16, 16), context=3, horizon=2, value_range=(0.0, 1.0))
    metric = METRICS[name]
    if metric.why_not_applicable(spec, 3, MetricSettings()) is not None:
        return
    truth = Batch.of(WINDOW, 3)
    good = Forecast(samples=WINDOW[:, 3:].unsqueeze(0).expand(3, -1, -1, -1, -1, -1) + 0.1,
                    times=torch.tensor([1.0, 2.0]), channels=("a",))  # fmt: skip
    bad = good.samples.clone()
    bad[0, 0, 0, 0, 3, 3] = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1e30}[change]
    odd = Forecast(samples=bad, times=good.times, channels=("a",))
    with ours():
        score = metric.of(spec).value(
            metric.of(spec).sums(odd, truth.target, context=truth.context)
        )
        if change == "a" and name not in ("rank_histogram", "coverage", "brier"):
            assert not bool(torch.isfinite(score).all())
    for forecast, target in ((values, truth.target), (good, values), (values, values)):
        with ours():
            metric.of(spec).sums(forecast, target, context=truth.context)


@QUICK
@given(st.data())
def test_evaluate_and_train(data):
    import inspect
    from pathlib import Path

    function = data.draw(st.sampled_from([evaluate, train]))
    options = inspect.signature(TrainingOptions if function is train else evaluate).parameters
    option = data.draw(st.sampled_from([name for name in options if name not in GIVEN]))
    value = data.draw(NUMBERS)
    if option in ("max_memory_gib", "loader_workers", "allow_download"):
        return  # of these, some numbers ask for what takes long
    given_ = {"samples": 2, "max_windows": 2} if function is evaluate else {"steps": 1}
    given_ |= {option: value}
    large = any(isinstance(n, int | float) and n > 1000 for n in given_.values())
    if large and option not in ("steps", "samples", "validation_samples"):
        return
    if large:
        given_[option] = 2**62
    model, source = TINY["persistence"], Pendulum(context=3, horizon=2)
    with ours():
        if function is train:
            train(model, source, Path("/nonexistent"), TrainingOptions(**given_))
        else:
            evaluate(model, source, **given_)


# Files and the command line


@QUICK
@given(values=arrays())
def test_contexts_from_files(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("a")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = np.asarray(values)
        np.save(folder / "a.npy", array, allow_pickle=True)
        np.savez(folder / "a.npz", values=array, allow_pickle=True)
    for name in ("a.npy", "a.npz"):
        found = quietly(lambda: read_context(folder / name, Predictor(TINY["persistence"])))  # noqa: B023
        if found is not None:
            assert tuple(found.values.shape[2:]) == SPEC.frame_shape


@QUICK
@given(number=NUMBERS)
def test_functions_that_open_files(number):
    for function in (statecast.load, statecast.open_run, statecast.load_official):
        with ours():
            function(number)
    for path in ("", "\0", "a" * 5000, "nowhere", "/dev/null", "\ud800", "."):
        for function in (statecast.load, statecast.open_run, statecast.load_official):
            with pytest.raises(StatecastError):
                function(path)
        for call in (
            lambda: read_context(path, Predictor(TINY["persistence"])),  # noqa: B023
            lambda: statecast.forecast_file(Predictor(TINY["persistence"]), path, "x.npz"),  # noqa: B023
            lambda: statecast.create_run(path),  # noqa: B023
            lambda: statecast.import_official(path, "nowhere-else"),  # noqa: B023
            lambda: statecast.export_official(path, "nowhere-else"),  # noqa: B023
        ):
            with pytest.raises(StatecastError):
                call()


ODD = (
    "--help", "--horizon", "--samples", "-1", "nan", "1e9", "--x.y", "--train.steps", "é",
    "--model.name", "=", "--=", "--.=.", "", "../..", "a" * 5000, "\ud800", "--output", "x.npz",
    "--data.path=/dev/null", "--checkpoint", "srvp-digits-small", "--print_config",
    "--evaluate.samples={a: 1}", "--train.adam_betas=[1,2,3]",
)  # fmt: skip
WORDS = st.one_of(st.sampled_from(ODD), st.text(max_size=6).filter(lambda word: "\0" not in word))
VERBS = st.sampled_from(
    [
        "train",
        "evaluate",
        "forecast",
        "inspect",
        "compare",
        "swap",
        "interpolate",
        "import-official",
        "export-official",
        "data",
        "",
        "x",
    ]
)


@QUICK
@given(verb=VERBS, words=st.lists(WORDS, max_size=5))
def test_the_command_line(verb, words, tmp_path_factory, capsys):
    folder = tmp_path_factory.mktemp("cli")
    words = [w for w in words if w != "srvp-digits-small" or "--print_config" in words]
    with contextlib.chdir(folder), contextlib.suppress(SystemExit):
        assert main([verb, *words]) in (0, 2)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_more():
    environment = os.environ | {"STATECAST_EXAMPLES": str(10 * EXAMPLES)}
    words = [sys.executable, "-m", "pytest", "-x", "--timeout=3600", __file__]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]


def test_types_are_those_of_the_signature():
    from typing import Any, Literal

    for value, wanted, expected in (
        (3, int, True), (True, int, False), (3.0, int, False), (np.int32(3), int, True),
        (3, float, True), (math.nan, float, False), (math.inf, float, True), ("3", float, False),
        ([1, 2], tuple[int, int], True), ([1], tuple[int, int], False),
        ((1, "a"), tuple[int, ...], False), ("ab", tuple[str, ...], False),
        (None, int | None, True), ("a", Literal["a"], True), (1, Literal[True], False),
        ({"a": (1, 2)}, dict[str, tuple[float, float]], True), (object(), Any, True),
        (10**30, int, False), ("a\0b", str, False), (torch.zeros(1), torch.Tensor, True),
        (3, torch.Generator, False),
    ):  # fmt: skip
        assert fits(value, wanted) is expected, (value, wanted)
