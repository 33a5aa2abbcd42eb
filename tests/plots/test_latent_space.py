"""Pictures and verbs of the latent space: grids of the right size, data green, mistakes named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.toy_data import TINY, Pendulum, trained_run
from PIL import Image

from statecast.cli.main import main
from statecast.data.base import seeded_generator
from statecast.errors import InputError
from statecast.frames import Forecast, Frames
from statecast.models.latent_space import ContentSwapTable, content_swap, interpolate
from statecast.plots.animations import BORDER, GAP, PAUSE, Sheet
from statecast.plots.latent_space import (
    Videos,
    animate_content_swap,
    animate_interpolation,
    cut,
    limits_of,
    plot_content_swap,
    plot_interpolation,
    plot_swaps_of_models,
    write_sheet,
)
from statecast.plots.panels import FORECAST, OBSERVED, strided
from statecast.runs.create import create_run
from statecast.runs.load import load_model
from statecast.runs.run import train_run

pytestmark = pytest.mark.usefixtures("pendulum")

SIDE = 96 + 2 * BORDER + GAP  # pixels from panel to panel in an animation


def rgb(colour):
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def pixels(path):
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def holds(image, colour):
    return bool((image == rgb(colour)).all(axis=-1).any())


def videos(count, space=(16, 16), future=3, channels=("u",)):
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3 + future, len(channels), *space)
    values = torch.rand(shape, generator=generator)
    target = Frames.target_of(values[:, 3:], channels) if future else None
    names = tuple(f"video {index}" for index in range(count))
    return Videos(Frames.context_of(values[:, :3], channels), target, names)


def made(rows, columns, space=(16, 16), channels=("u",)):
    generator = torch.Generator().manual_seed(1)
    samples = torch.rand(1, rows, columns, 7, len(channels), *space, generator=generator)
    return ContentSwapTable(samples=samples, times=torch.arange(-2.0, 5.0), channels=channels)


def between(count, space=(16, 16)):
    generator = torch.Generator().manual_seed(1)
    return [
        Forecast(
            samples=torch.rand(1, 1, 7, 1, *space, generator=generator),
            times=torch.arange(-2.0, 5.0),
            channels=("u",),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("space", "channels"),
    [((16, 16), ("u",)), ((12, 20), ("red", "green", "blue")), ((30,), ("u",))],
)
@pytest.mark.parametrize("future", [0, 3])
def test_pictures_of_any_kind_show_data_and_model(tmp_path, space, channels, future):
    contents, dynamics = (videos(n, space, future, channels) for n in (3, 2))
    swapped = made(3, 2, space, channels)
    path = plot_content_swap(swapped, tmp_path / "a.png", contents=contents, dynamics=dynamics)
    image = pixels(path)
    assert holds(image, OBSERVED)
    assert holds(image, FORECAST)
    if channels == ("u",):
        first, second = contents.one(0), contents.one(1)
        path = plot_interpolation(
            between(4, space), (0, 0.3, 0.6, 1), tmp_path / "b.png", first=first, second=second
        )
        assert holds(pixels(path), OBSERVED)
        assert holds(pixels(path), FORECAST)


def test_more_contents_are_more_rows_and_more_dynamics_more_columns(tmp_path):
    shapes = {}
    for rows, columns in ((1, 1), (3, 1), (1, 3)):
        path = plot_content_swap(
            made(rows, columns), tmp_path / "a.png",
            contents=videos(rows), dynamics=videos(columns),
        )  # fmt: skip
        shapes[rows, columns] = pixels(path).shape
    assert shapes[3, 1][0] > shapes[1, 1][0]
    assert shapes[3, 1][1] == shapes[1, 1][1]
    assert shapes[1, 3][0] == shapes[1, 1][0]
    assert shapes[1, 3][1] > shapes[1, 1][1]


def test_the_animated_grid_has_the_right_frame_in_every_cell(tmp_path):
    contents, dynamics, swapped = videos(3), videos(2), made(3, 2)
    path = animate_content_swap(swapped, tmp_path / "a.gif", contents=contents, dynamics=dynamics)
    low, high, _ = limits_of(contents, dynamics)
    with Image.open(path) as animation:
        assert animation.n_frames == 7
        assert animation.size == (3 * SIDE + GAP, 4 * SIDE + GAP)
        for time in range(7):
            animation.seek(time)
            image = np.asarray(animation.convert("RGB")).astype(float)

            def panel(row, column, image=image):
                top, left = GAP + row * SIDE, GAP + column * SIDE
                return image[top : top + 96 + 2 * BORDER, left : left + 96 + 2 * BORDER]

            assert (panel(0, 0) == 255).all()
            assert (panel(0, 1) == 255).all() == (time == 6)  # the data end at time 3
            for row in range(3):
                corner = panel(row + 1, 2)[0, 0]
                assert tuple(corner) == pytest.approx(rgb(FORECAST), abs=8)
                # Frames are enlarged sixfold: the middle of each block is a pixel of the frame.
                found = panel(row + 1, 2)[BORDER + 3 : -BORDER : 6, BORDER + 3 : -BORDER : 6]
                value = swapped.samples[0, row, 1, time, 0].numpy()
                share = ((value - low) / (high - low)).clip(0, 1)
                green = found[..., 1]  # of viridis, which grows with the value
                assert np.corrcoef(green.ravel(), share.ravel())[0, 1] > 0.95


def test_the_animated_interpolation_lies_between_its_videos(tmp_path):
    both = videos(2)
    path = animate_interpolation(
        between(3), tmp_path / "a.gif", first=both.one(0), second=both.one(1)
    )
    with Image.open(path) as animation:
        assert animation.size == (5 * SIDE + GAP, SIDE + GAP)
        image = np.asarray(animation.convert("RGB"))
        edges = [tuple(image[GAP + 1, GAP + 1 + column * SIDE]) for column in range(5)]
        for edge, colour in zip(edges, [OBSERVED, *[FORECAST] * 3, OBSERVED], strict=True):
            assert edge == pytest.approx(rgb(colour), abs=8)


def test_long_names_lose_their_end_and_not_their_place(tmp_path):
    sheet = Sheet()
    sheet.image(0, 170, np.zeros((40, 40, 3), np.uint8))
    sheet.word(165, 20, cut("content of\n" + "a very long name " * 9))
    image = pixels(write_sheet(sheet, tmp_path / "a.png"))
    assert image.shape[:2] == (45, 215)
    assert (image[:40, 170:210] == 0).all()  # pixel by pixel, nothing written over it
    assert (image[:, :2] == 255).all()  # and nothing beyond the left edge
    assert (image[:, 60:165] < 128).any()


@pytest.mark.parametrize(("length", "count"), [(20, 12), (7, 12), (20, 5), (1, 3), (21, 5)])
def test_chosen_frames_are_equally_spaced(length, count):
    chosen = strided(length, count)
    assert chosen[0] == 0
    assert len(chosen) <= count
    assert len(set(np.diff(chosen))) <= 1
    assert chosen[-1] > length - 1 - max(np.diff(chosen), default=1)


def test_a_speed_that_is_not_positive_is_refused(tmp_path):
    both = videos(2)
    with pytest.raises(InputError, match="positive speed"):
        animate_content_swap(
            made(2, 2), tmp_path / "a.gif", contents=both, dynamics=both, frames_per_second=0
        )
    assert not list(tmp_path.iterdir())


# The verbs


def lasting(animation):
    """Milliseconds of an animation."""
    total = 0
    for index in range(animation.n_frames):
        animation.seek(index)
        total += animation.info["duration"]
    return total


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("trained"), ["--train.steps", "2"]).folder


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for seed, path in enumerate(paths):
        np.save(path, np.random.default_rng(seed).random((9, 6), dtype=np.float32))
    return [str(path) for path in paths]


@pytest.mark.parametrize("verb", ["swap", "interpolate"])
@pytest.mark.parametrize("ending", ["png", "gif"])
def test_a_verb_writes_a_picture_and_an_animation(verb, ending, run, files, tmp_path, capsys):
    output = tmp_path / f"{verb}.{ending}"
    assert main([verb, str(run), *files, "--horizon", "6", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    for kind in ("png", "gif"):
        written = output.with_suffix(f".{kind}")
        assert str(written) in printed
        with Image.open(written) as image:
            assert image.format == kind.upper()
            if kind == "gif":  # equal frames in succession are one that stays for longer
                assert lasting(image) == pytest.approx((4 + 6 - 1 + PAUSE) * 167, abs=100)


@pytest.mark.parametrize("verb", ["swap", "interpolate"])
def test_windows_of_the_test_data_need_no_file(verb, run, tmp_path):
    """The picture of windows 3 and 7 is drawn of these windows and the run's own model."""
    found, expected = tmp_path / "found.png", tmp_path / "expected.png"
    words = ["--windows", "3", "7", "--seed", "5", "--output", str(found)]
    assert main([verb, str(run), *words]) == 0
    model = load_model(run).model
    batch = Pendulum().windows("test").batch(torch.tensor([3, 7]))
    videos = Videos(batch.context, batch.target, ("window 3", "window 7"))
    if verb == "swap":
        table = content_swap(model, videos.context, videos.context, generator=seeded_generator(5))
        plot_content_swap(table, expected, contents=videos, dynamics=videos)
    else:
        one, other = videos.one(0), videos.one(1)
        weights = [step / 4 for step in range(5)]
        generator = seeded_generator(5)
        forecasts = interpolate(model, one.context, other.context, weights, generator=generator)
        plot_interpolation(forecasts, weights, expected, first=one, second=other)
    assert found.read_bytes() == expected.read_bytes()


def test_mistakes_are_one_line_with_code_2_and_nothing_written(run, files, tmp_path, refused):
    out = ["--output", str(tmp_path / "out.png")]
    np.save(tmp_path / "long.npy", np.zeros((3, 6), np.float32))
    np.save(tmp_path / "three.npy", np.zeros((3, 9, 1, 6), np.float32))
    np.save(tmp_path / "wide.npy", np.zeros((9, 7), np.float32))
    long, three, wide = (str(tmp_path / f"{name}.npy") for name in ("long", "three", "wide"))
    golden = str(Path(__file__).parents[1] / "golden" / "srvp_dcgan")
    cases = [
        (["swap", str(run), *out], "Give two INPUT files"),
        (["swap", str(run), files[0], *out], "got 1 files"),
        (["swap", str(run), *files, "--windows", "1", "2", *out], "Give either"),
        (["swap", str(run), "--windows", "1", "40", *out], "windows are 0 to 39"),
        (["interpolate", str(run), "--windows", "-1", "4", *out], "windows are 0 to 39"),
        (["swap", str(run), "--windows", "1", *out], "2 to 6 sequences, got 1"),
        (
            ["swap", str(run), "--windows", *"1234567", *out], "2 to 6 sequences, got 7",
        ),
        (["interpolate", str(run), files[0], three, *out], "needs 2 sequences, got 4"),
        (["interpolate", str(run), *files, "--steps", "1", *out], "between 2 and 20, got 1"),
        (["swap", str(run), *files, "--output", "a.npz"], ".png and .gif"),
        (["swap", str(run), *files, "--output", "no/a.png"], "does not exist"),
        (["swap", str(run), files[0], long, *out], "at least 4 frame"),
        (["swap", str(run), files[0], wide, *out], "(1, 6)"),
        (["swap", str(run), *files, "--context", "3", *out], "at least 4 frame"),
        (["swap", str(run), *files, "--horizon", "-1", *out], "reach to time 0"),
        (["swap", str(run), *files, "--substeps", "0", *out], "1 step"),
        (["swap", golden, "--windows", "1", "2", *out], "without data"),
    ]  # fmt: skip
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in cases:
        refused(message, arguments)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_without_latents_is_named(tmp_path, files, refused):
    persistence = tmp_path / "persistence.yaml"
    tables = TINY[TINY.index("data:") :]
    persistence.write_text("model: {name: persistence}\n" + tables)
    made_run = create_run(str(persistence), tmp_path / "run")
    train_run(made_run)
    for verb, lack in (("swap", "content to swap"), ("interpolate", "latent space")):
        words = [verb, made_run.folder, *files, "--output", tmp_path / "out.png"]
        refused(f"Persistence has no {lack}", words)


def test_runs_beside_each_other_are_rows_of_one_picture(run, files, tmp_path, capsys):
    heights = []
    for count in (1, 3):
        output = tmp_path / f"{count}.png"
        beside = ["--beside", *[str(run)] * count, "--output", str(output)]
        assert main(["swap", str(run), *files, *beside]) == 0
        assert f"Written: {output}; content of a, dynamics of b" in capsys.readouterr().out
        assert not output.with_suffix(".gif").exists()
        heights.append(pixels(output).shape[0])
    assert heights[0] < heights[1]


def test_a_picture_of_several_models_has_the_times_that_all_of_them_show(tmp_path):
    one, other = made(2, 2), replace(made(2, 2), times=torch.arange(7.0))  # times 0 to 4 in common
    drawn = [
        pixels(
            plot_swaps_of_models(tables, tmp_path / "a.png", contents=videos(2), dynamics=videos(2))
        )
        for tables in ([("one", one)], [("one", one), ("other", other)])
    ]
    assert all(holds(image, FORECAST) and holds(image, OBSERVED) for image in drawn)
    (rows, columns), (more, fewer) = (image.shape[:2] for image in drawn)
    assert rows < more
    assert columns > fewer


def test_a_video_that_ends_before_is_shown_by_its_last_frame():
    context = videos(2, future=0)
    strip = context.strip_or_last(1, [1.0, 2.0])
    assert all(np.array_equal(image, context.last(1)) for image in strip)
    first, after = context.strip_or_last(1, [0.0, 1.0])
    assert np.array_equal(first, context.last(1))
    assert after is None


def test_published_checkpoints_are_swapped_from_files(tmp_path):
    golden = str(Path(__file__).parents[1] / "golden" / "srvp_dcgan")
    with np.load(f"{golden}/expected.npz") as expected:
        context = expected["context"]
    paths = []
    for index in range(2):
        paths.append(str(tmp_path / f"{index}.npy"))
        np.save(paths[-1], context[index])
    output = tmp_path / "out.gif"
    assert main(["swap", golden, *paths, "--horizon", "2", "--output", str(output)]) == 0
    with Image.open(output) as image:
        assert image.n_frames == context.shape[1] + 2


def test_brightness_is_drawn_in_grey_however_dark():
    dark = videos(2, channels=("intensity",))
    for frames in (dark.context, dark.target):
        frames.values.mul_(0.5)
    assert limits_of(dark) == (0.0, 1.0, "gray")
    assert limits_of(videos(2)).colours == "viridis"
