"""verify: one changed byte anywhere in a run folder is found, and the file named."""

import hashlib
import math
import random
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from helpers.toy_data import TINY, Pendulum

from statecast.cli.main import MISTAKE, main
from statecast.cli.verify import FAULTY
from statecast.data import DATASETS
from statecast.errors import CorruptionError, FileError
from statecast.evaluation.comparability import read_scores
from statecast.io.fields.preprocessing import FILE_NAME, plain_preparation
from statecast.metrics.base import Score
from statecast.runs.calibrate import calibrate_run
from statecast.runs.create import create_run
from statecast.runs.digests import RECORDED
from statecast.runs.load import load
from statecast.runs.run import evaluate_run, open_run, train_run
from statecast.runs.verify import accept, verify_run
from statecast.training.checkpoint_folders import list_checkpoints
from statecast.training.checkpoints import load_checkpoint

SLOW, HOUR = pytest.mark.slow, pytest.mark.timeout(3600)
LOGS = {"metrics.csv", "diagnostics.csv"}
MAY_BE_MISSING = {"scores.json", "calibration.json", "digests.json"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with checkpoints of the steps 8, the best, and 12, and all that lies beside them."""
    folder = tmp_path_factory.mktemp("made")
    recipe = str(folder / "tiny.yaml")
    Path(recipe).write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "pendulum", Pendulum)
        patch.setattr(Pendulum, "preparation", plain_preparation(("angle",), (6,)))
        first = create_run(
            recipe, folder / "first", ["--train.steps=1", "--train.validate_every=0"]
        )
        train_run(first)
        scores = (Score(torch.zeros(1), value, math.nan) for value in [0.5, 0.2, 0.3])
        patch.setattr("statecast.training.loop.validation_score", lambda *a, **k: next(scores))
        run = create_run(recipe, folder / "run", init_from=first.folder)
        train_run(run)
        evaluate_run(run, ["--evaluate.metrics=[mse]"])
        calibrate_run(run, samples=2)
    return run.folder


@pytest.fixture
def run(made, recipe, quick_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(made, quick_path / "run")


def flip(path, position, bit):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def files_of(run):
    return sorted(path for path in run.rglob("*") if path.is_file())


def test_the_run_has_all_there_is_to_damage(run):
    names = {str(path.relative_to(run)) for path in files_of(run)}
    assert {*RECORDED} - {"official.json"} | {
        "digests.json",
        "scores.json",
        "calibration.json",
        "window_scores.safetensors",
    } | LOGS < names
    assert [path.name for path in list_checkpoints(run)] == ["step=000008", "step=000012"]
    assert load_checkpoint(run, "best").step == 8


def test_a_whole_run_has_no_fault_and_logs_alone_are_not_covered(run):
    found = verify_run(run)
    assert [checked.path for checked in found] == files_of(run)
    assert {c.path.name for c in found if c.state == "not covered"} == LOGS
    assert not [c for c in found if c.state == "FAULT"]


@pytest.mark.parametrize("places", [60, pytest.param(2000, marks=[SLOW, HOUR])])
def test_every_flipped_byte_is_found(run, places):
    """At many places of each file; of the small ones, at each place."""
    chance, tried = random.Random(0), 0
    for path in files_of(run):
        if path.name in LOGS:
            continue
        content = path.read_bytes()
        size = len(content)
        chosen = {*range(size)} if size < places else {
            *range(places // 2), *range(size - 5, size), *chance.sample(range(size), places)
        }  # fmt: skip
        for place in sorted(chosen):
            flip(path, place, chance.randrange(8))
            faults = [checked for checked in verify_run(run) if checked.state == "FAULT"]
            assert path in [fault.path for fault in faults], (path, place)
            assert str(path.parent) in str(faults[0])
            path.write_bytes(content)
            tried += 1
    assert tried > 700
    assert not [checked for checked in verify_run(run) if checked.state == "FAULT"]


@pytest.mark.parametrize(
    ("name", "opening"),
    [
        ("digests.json", open_run),
        (FILE_NAME, load),
        ("scores.json", read_scores),
        ("checkpoints/step=000008/model.safetensors", load),
        ("checkpoints/step=000008/state.safetensors", load),
        ("checkpoints/step=000008/manifest.json", load),
    ],
)
def test_a_flipped_byte_is_found_on_opening(run, name, opening):
    path = run / name
    chance, content = random.Random(name), path.read_bytes()
    for _ in range(8):
        flip(path, chance.randrange(len(content)), chance.randrange(8))
        with pytest.raises(CorruptionError, match=path.name):
            opening(run)
        path.write_bytes(content)
    opening(run)


def test_missing_and_cut_off_files_are_faults(run):
    for path in files_of(run):
        if path.name in LOGS or path.name in MAY_BE_MISSING:
            continue
        content = path.read_bytes()
        for change in (path.unlink, lambda path=path, c=content: path.write_bytes(c[:-1])):
            change()
            if path.name == "config.yaml" and not path.exists():
                with pytest.raises(FileError, match="not a run folder"):
                    verify_run(run)
            else:
                assert [c for c in verify_run(run) if c.state == "FAULT"], path
            path.write_bytes(content)


def test_an_edited_recipe_is_used_and_told_until_it_is_accepted(run, capsys):
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("steps: 12", "steps: 15"))
    with pytest.warns(UserWarning, match=r"config\.yaml was edited after the run was made"):
        assert open_run(run).tables["train"]["steps"] == 15
    with pytest.warns(UserWarning, match="was edited"):
        assert main(["train", "--resume", str(run)]) == 0
    assert load_checkpoint(run).step == 15
    assert main(["verify", str(run)]) == FAULTY
    assert (
        f"edited it on purpose, accept it: statecast verify {run} --accept"
        in capsys.readouterr().out
    )
    assert main(["verify", str(run), "--accept"]) == 0
    assert "no fault" in capsys.readouterr().out
    open_run(run)
    path.write_text("model: [")
    for opening in (open_run, accept):
        with pytest.raises(CorruptionError, match="not valid YAML"):
            opening(run)


def test_the_command_warns_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # to be restored
    main(["list"])
    assert warnings.formatwarning("edited", UserWarning, "a.py", 1) == "statecast: edited\n"


def test_verify_speaks_of_each_file_and_several_runs(run, quick_path, capsys):
    other = shutil.copytree(run, quick_path / "other")
    assert main(["verify", str(run), str(other)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(files_of(run)) + 1
    assert lines[-1] == "2 runs: no fault found"
    flip(other / "checkpoints" / "step=000012" / "model.safetensors", 100, 3)
    assert main(["verify", str(run), str(other)]) == FAULTY
    (fault,) = [line for line in capsys.readouterr().out.splitlines() if "FAULT" in line]
    assert fault.startswith(f"FAULT        {other}/checkpoints/step=000012/model.safetensors: ")
    assert fault.count("model.safetensors") == 1
    assert main(["verify", str(run), str(quick_path)]) == MISTAKE
    assert "not a run folder" in capsys.readouterr().err


def test_what_was_left_and_put_there_is_told_apart(run):
    (run / "notes.txt").write_text("mine")
    (run / ".metrics.csv.x.part").write_text("half")
    (run / "metrics.csv").write_text("step,total\n1,many\n")
    found = {checked.path.name: checked for checked in verify_run(run)}
    assert found["notes.txt"].state == "not covered"
    assert "killed process" in found[".metrics.csv.x.part"].detail
    assert found["metrics.csv"].state == "FAULT"


def test_training_goes_back_to_the_newest_whole_checkpoint_when_asked(run, made, capsys):
    flip(run / "checkpoints" / "step=000012" / "state.safetensors", 900, 1)
    assert main(["train", "--resume", str(run)]) == MISTAKE
    assert f"statecast train --resume {run} --fallback" in capsys.readouterr().err
    assert main(["train", "--resume", str(run), "--fallback"]) == 0
    said = capsys.readouterr().err
    assert "step=000012 is damaged and was renamed to damaged-step=000012." in said
    assert "Continuing from step 8." in said
    one, other = load_checkpoint(made), load_checkpoint(run)
    assert digest_of(one) == digest_of(other)  # trained again to the bit
    assert "set aside as damaged" in " ".join(str(checked) for checked in verify_run(run))
    assert main(["train", "--resume", str(run), "--fallback"]) == 0  # nothing to do any more
    assert "damaged" not in capsys.readouterr().err


def digest_of(checkpoint):
    weights = b"".join(checkpoint.model[name].numpy().tobytes() for name in checkpoint.model)
    return hashlib.sha256(weights).hexdigest()


def test_where_no_checkpoint_is_whole_nothing_is_set_aside(run, capsys):
    for path in list_checkpoints(run):
        flip(path / "model.safetensors", 50, 0)
    before = files_of(run)
    assert main(["train", "--resume", str(run), "--fallback"]) == MISTAKE
    assert "no intact checkpoint" in capsys.readouterr().err
    assert files_of(run) == before
    assert main(["train", "--fallback", "tiny"]) == MISTAKE


def test_loading_falls_back_with_a_warning_when_asked(run):
    flip(run / "checkpoints" / "step=000008" / "model.safetensors", 500, 6)
    with pytest.raises(CorruptionError, match="Another checkpoint is that of step 12"):
        load(run)
    with pytest.warns(UserWarning, match=r"step=000008.*step 12 is used instead"):
        model = load(run, fallback=True).model
    for name, weight in load_checkpoint(run, 12).model.items():
        assert (model.state_dict()[name] == weight).all()
