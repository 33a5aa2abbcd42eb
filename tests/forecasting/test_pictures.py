"""Forecast draws what came beside it, the motion of PKnl and the objects of DDPAE."""

import numpy as np
import pytest
from helpers.labelled_fields import sea_surface, write_field
from PIL import Image

from statecast.cli.main import main

MOTION = """
model: {name: pknl, width: 2, levels: 2}
data: {name: fields, context: 3, horizon: 2, test_horizon: 3, multiple: 4}
train: {steps: 2, batch_size: 4, validate_every: 0, precision: float32}
"""
OBJECTS = """
model: {name: ddpae, width: 2, image_code_size: 6, content_size: 5, recurrent_size: 4}
data: {name: arrays, context: 3, horizon: 2, test_horizon: 3, value_range: [0.0, 1.0]}
train: {steps: 2, batch_size: 4, validate_every: 0, precision: float32}
"""


def train(tmp_path, recipe, path):
    (tmp_path / "small.yaml").write_text(recipe)
    run = str(tmp_path / "run")
    assert main(["train", str(tmp_path / "small.yaml"), "--output", run,
                 "--data.path", str(path)]) == 0  # fmt: skip
    return run


def test_motion_over_a_map_with_points_added_and_an_island(tmp_path, refused):
    source = write_field(tmp_path / "sea.nc", sea_surface(island=True))  # 6×9, made 8×12
    run = train(tmp_path, MOTION, source)
    output = tmp_path / "motion.png"
    words = ["forecast", run, source, "--horizon", "6", "--picture", "motion"]
    assert main([*words, "--output", str(output)]) == 0
    with Image.open(output) as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert (colours == (0xBB, 0xB9, 0xB4)).all(axis=1).any()  # the island
    refused("motion can only be drawn as .png", [*words, "--output", tmp_path / "motion.gif"])
    words[-1] = "objects"
    refused("PKnl has no objects to draw", [*words, "--output", output])


def test_objects_of_an_array(tmp_path):
    generator = np.random.default_rng(0)
    path = tmp_path / "frames.npy"
    np.save(path, generator.random((12, 8, 1, 16, 16), dtype=np.float32))
    run = train(tmp_path, OBJECTS, path)
    output = tmp_path / "objects.svg"
    assert main(["forecast", run, str(path), "--output", str(output), "--picture", "objects"]) == 0
    assert output.read_text().startswith("<?xml")


@pytest.mark.parametrize("picture", ["arrows", "Motion"])
def test_other_pictures_are_refused(picture, capsys):
    with pytest.raises(SystemExit):
        main(["forecast", "run", "a.npy", "--output", "a.png", "--picture", picture])
    assert "invalid choice" in capsys.readouterr().err


def test_the_example_of_a_shipped_model_is_drawn_beside_what_came(tmp_path):
    output = tmp_path / "digits.svg"
    for horizon, told in (("15", True), ("16", False)):  # 15 frames after the example are known
        words = ["forecast", "digits", "--horizon", horizon, "--output", str(output)]
        assert main(words) == 0
        assert ("<!-- truth -->" in output.read_text()) == told
