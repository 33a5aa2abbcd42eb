"""Rendered chairs from PNG files: crop, order, rings, and objects that no two splits share."""

import numpy as np
import pytest
import torch
from helpers.fake_benchmark_files import chairs_folder
from PIL import Image

from statecast.data.base import SPLITS
from statecast.data.benchmarks.chairs import Chairs, angles_of, cropped
from statecast.data.prepare import prepare
from statecast.errors import CorruptionError, FileError, InputError
from statecast.runs.create import create_run
from statecast.runs.run import train_run


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return chairs_folder(tmp_path_factory.mktemp("chairs") / "source")


@pytest.fixture(scope="module")
def store(source):
    before = sorted(source.rglob("*"))
    made = prepare("chairs", source, source.with_name("store"))
    assert sorted(source.rglob("*")) == before  # nothing is written beside the originals
    return made.store


def test_pictures_are_cropped_resized_and_in_order(store):
    views = store.frames.reshape(8, 62, 3, 64, 64)
    red = views[:, :, 0].astype(int)
    expected = np.broadcast_to((200 - np.arange(62))[:, None, None], (8, 62, 64, 64))
    np.testing.assert_array_equal(red, expected)  # no dark margin, views in order
    green = np.broadcast_to(20 * np.arange(8)[:, None, None, None], (8, 62, 64, 64))
    np.testing.assert_array_equal(views[:, :, 1], green)
    assert views[:, :, 2, :28].max() <= 10 < 245 <= views[:, :, 2, 36:].min()  # upright
    assert store.sequences[0].labels["angles"][33] == [23, 30]
    assert store.notes["warnings"][0].startswith("8 objects were found, but 1393 were expected")


def test_a_window_goes_round_as_its_protocol_says(store):
    for protocol, numbers in (("paper", range(55, 70)), ("rings", range(55, 70))):
        windows = Chairs(path=str(store.folder), protocol=protocol).windows("train")
        batch = windows.batch(torch.tensor([55]))
        seen = (200 - batch.values[0, :, 0, 0, 0] * 255).round().tolist()
        last = 62
        expected = [n % last if protocol == "paper" else 31 + (n - 31) % 31 for n in numbers]
        assert seen == expected
        assert batch.latents["elevation"][0, -1] == (20 if protocol == "paper" else 30)
        assert len(windows) == 62 * 6


def test_splits_share_no_object(store):
    data = Chairs(path=str(store.folder))
    objects = [set(data.windows(split).objects.tolist()) for split in SPLITS]
    assert set.union(*objects) == set(range(8))
    assert sum(map(len, objects)) == 8


def test_truth_of_an_exchange_is_the_other_object_from_the_same_sides(store):
    windows = Chairs(path=str(store.folder)).windows("train")
    numbers = torch.tensor([3, 200])
    swapped = windows.swap_content(numbers, seed=1)
    own, truth = windows.batch(numbers).target.values, swapped.truths[0].values
    torch.testing.assert_close(truth[:, :, 0], own[:, :, 0])  # red tells the view
    assert (truth[:, :, 1] != own[:, :, 1]).all()  # green the object
    assert torch.equal(truth[:, 0, 1, 0, 0], swapped.content.values[:, 0, 1, 0, 0])


def test_a_step_is_trained(store, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        "{model: {name: separable, architecture: mlp, encoder_width: 4, decoder_width: 4}, "
        "data: {name: chairs}, train: {steps: 1, batch_size: 2, validation_windows: 2}}"
    )
    run = create_run(str(recipe), tmp_path / "run", [f"--data.path={store.folder}"])
    assert train_run(run).step == 1


def test_pictures_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "image_000_p020_t000_r096.png"
    Image.fromarray(np.zeros((400, 600, 3), np.uint8)).save(path)
    with pytest.raises(InputError, match="at least 500×500 pixels, got 400×600"):
        cropped(path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(CorruptionError, match="cannot be decoded"):
        cropped(path)
    path.write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(CorruptionError, match="cannot be decoded"):
        cropped(path)


def test_names_and_numbers_that_do_not_fit_are_refused(tmp_path, source):
    pictures = sorted((source / "rendered_chairs/chair0/renders").glob("*.png"))
    with pytest.raises(InputError, match="62 pictures in renders, got 61"):
        angles_of(pictures[1:], tmp_path)
    with pytest.raises(InputError, match="should have a name like image_NNN"):
        angles_of([*pictures[:-1], tmp_path / "front.png"], tmp_path)
    with pytest.raises(InputError, match="31 pictures of one elevation"):
        angles_of(pictures[10:] + pictures[:10], tmp_path)


def test_too_few_objects_and_other_sides_are_refused(tmp_path):
    few = chairs_folder(tmp_path / "few", objects=2, size=8)
    with pytest.raises(InputError, match="at least 7 objects"):
        prepare("chairs", few, tmp_path / "store")
    with pytest.raises(FileError, match="holds none of rendered_chairs/OBJECT"):
        prepare("chairs", few / "rendered_chairs" / "chair0" / "renders", tmp_path / "store")
