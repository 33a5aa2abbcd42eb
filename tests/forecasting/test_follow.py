"""A source that grows is forecast again, and only then; a half-written one is waited for."""

import logging
from itertools import islice

import numpy as np
import pytest
import torch

from statecast.cli.main import MISTAKE, main
from statecast.errors import FileError
from statecast.forecasting.follow import follow
from statecast.forecasting.forecast_file import forecast_file
from statecast.forecasting.predictor import Predictor
from statecast.frames import FrameSpec
from statecast.models.baselines import Persistence

SPEC = FrameSpec(channels=("u",), space=(4, 6), context=2, horizon=3)


def test_each_new_frame_is_the_last_one_of_a_new_forecast(tmp_path, caplog):
    source, output = tmp_path / "seen", tmp_path / "future.npz"
    frames = np.random.default_rng(1).random((9, 4, 6), dtype=np.float32)
    source.mkdir()
    np.save(source / "a.npy", frames[:5])
    lengths = iter([None, 6, "broken", 7, None, 9])  # what has come by each look; None: nothing
    looks = []

    def grow(seconds):
        looks.append(seconds)
        length = next(lengths)
        if length == "broken":
            (source / "a.npy").write_bytes(b"\\x93NUMPY half of it")
        elif length is not None:
            np.save(source / "a.npy", frames[:length])

    model = Predictor(Persistence(SPEC))
    made = follow(source, lambda: forecast_file(model, source, output), seconds=2.5, sleep=grow)
    seen = []
    with caplog.at_level(logging.WARNING):
        logging.getLogger("statecast").propagate = True
        for _ in islice(made, 4):
            with np.load(output) as found:
                seen.append(torch.from_numpy(found["samples"])[0, 0, 0, 0])
    for length, found in zip((5, 6, 7, 9), seen, strict=True):
        assert np.array_equal(found, frames[length - 1])
    assert looks == [2.5] * 6
    assert "Waiting for the source to change" in caplog.text


def test_a_source_that_is_not_there_is_told_at_once(tmp_path):
    with pytest.raises(FileError, match="no file or folder"):
        next(follow(tmp_path / "none", lambda: None))


def test_the_command_forecasts_as_often_as_it_is_asked(recipe, tmp_path, capsys):
    run, source = str(tmp_path / "run"), tmp_path / "frames.npy"
    assert main(["train", recipe, "--output", run]) == 0
    np.save(source, np.random.default_rng(2).random((9, 6), dtype=np.float32))
    words = ["follow", run, str(source), "--output", str(tmp_path / "out.npz")]
    assert main([*words, "--count", "1"]) == 0
    assert "Written" in capsys.readouterr().out
    assert main([*words, "--seconds", "0"]) == MISTAKE
    assert "--seconds 0" in capsys.readouterr().err
