"""Inspects run folders, checkpoints of published implementations, and the files of MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from statecast.data.synthetic.digit_images import MNIST_FILES, find_idx, read_idx
from statecast.errors import CorruptionError, FileError
from statecast.frames import FrameSpec
from statecast.io.json_yaml import read_json
from statecast.reports.inspection.contact_sheet import COLUMNS, ROWS
from statecast.reports.inspection.findings import Finding
from statecast.runs.official.loading import read_official
from statecast.runs.run import open_run
from statecast.training.checkpoint_folders import list_checkpoints, step_of
from statecast.training.checkpoints import best_of

SCORES = "scores.json"


def inspect_run(path: Path) -> Finding:
    """Inspect a run folder.

    Errors:
        CorruptionError: its recipe cannot be read.
    """
    run = open_run(path)
    finding = Finding("A run folder")
    train, spec = run.tables["train"], run.spec
    finding.say("model", run.name)
    finding.say("data", run.tables["data"]["name"])
    space = "×".join(map(str, spec.space))
    finding.say("frames", f"{', '.join(spec.channels)} on {space}; {spec.context} → {spec.horizon}")
    say_actions(finding, spec)
    steps = [step_of(place) for place in list_checkpoints(path)]
    asked = train["steps"]
    finding.say("checkpoints", ", ".join(map(str, steps)) or "none")
    best = best_of(path)
    finding.say("best checkpoint", "none" if best is None else str(step_of(best)))
    finding.say("steps", f"{max(steps, default=0)} of {asked}")
    scores = path / SCORES
    if scores.is_file():
        try:
            content = read_json(scores)
            finding.say("scores", ", ".join(content["forecasters"]))
        except (OSError, ValueError, KeyError, TypeError):
            finding.warn(f"{scores} cannot be read")
    if max(steps, default=0) < asked:
        finding.suggest("Continue", ["train", "--resume", str(path)])
    if steps:
        finding.suggest("Score", ["evaluate", str(path)])
    return finding


def say_actions(finding: Finding, spec: FrameSpec) -> None:
    """Report the actions and agent states of frames, if there are any."""
    if spec.actions:
        finding.say(
            "actions",
            f"{spec.actions} numbers between frames, and {spec.agent_states} of the agent's state",
        )


def inspect_official(path: Path) -> Finding:
    """Inspect a checkpoint folder of a published implementation; nothing in it is executed.

    Errors:
        FileError, InputError: it cannot be read, or needs code to run.
    """
    official = read_official(path)
    finding = Finding("A checkpoint of a published implementation")
    spec = official.spec
    finding.say("model", official.name)
    space = "×".join(map(str, spec.space))
    finding.say(
        "frames", f"{len(spec.channels)} channel(s) on {space}; {spec.context} → {spec.horizon}"
    )
    say_actions(finding, spec)
    for name, value in official.options.items():
        finding.say(name, value)
    finding.suggest("Forecast", ["forecast", str(path), "INPUT", "--output", "future.gif"])
    return finding


def is_mnist(path: Path) -> bool:
    """Whether a folder holds a file of MNIST."""
    for names in MNIST_FILES.values():
        try:
            find_idx(path, names[0])
        except FileError:
            continue
        return True
    return False


def inspect_mnist(path: Path) -> Finding:
    """Inspect a folder with the IDX files of MNIST.

    Errors:
        CorruptionError: a file is damaged.
    """
    finding = Finding("MNIST")
    pictures: list[Any] = []
    for split, names in MNIST_FILES.items():
        try:
            images, labels = (read_idx(find_idx(path, name)) for name in names)
        except FileError as error:
            if isinstance(error, CorruptionError):
                raise
            finding.warn(error)
            continue
        finding.say(split, f"{len(images)} images {images.shape[1:]}, {len(labels)} labels")
        pictures += list(images[: ROWS * COLUMNS // 2])
    finding.say("would be read", "by the data set moving_digits")
    finding.suggest("Train", ["train", "srvp-digits-small", "--data.folder", str(path)])

    def preview() -> list[list[Any]]:
        grey = [image[..., None].repeat(3, axis=-1) for image in pictures]
        return [grey[i : i + COLUMNS] for i in range(0, len(grey), COLUMNS)]

    finding.preview = preview if pictures else None
    return finding


def inspect_idx(path: Path) -> Finding:
    """Inspect one IDX file.

    Errors:
        CorruptionError: it is damaged.
    """
    array = read_idx(path)
    finding = Finding("An IDX file of bytes")
    finding.say("array", f"{array.dtype} {array.shape}")
    finding.say("would be read", f"with the other files in its folder; inspect {path.parent}")
    return finding
