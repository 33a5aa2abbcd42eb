"""Make of a trained run the folder of a model that comes with the package.

    python benchmarks/ship_model.py RUN NAME --title "one line" --command "statecast train …"

Weights and frames are kept as float16. `training.json` holds the command of the training, its
minutes, its seed, and the scores of the model as it is loaded from there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

import statecast.runs.trained
from statecast.io.fields.preprocessing import FILE_NAME
from statecast.runs.run import dump, open_run
from statecast.runs.trained.loading import (
    CONTEXT_NAME,
    TARGET_NAME,
    WEIGHTS_NAME,
    evaluate_trained,
)
from statecast.training.checkpoints import load_checkpoint

EXAMPLES = 4  # test windows that a model comes with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--title", required=True)
    parser.add_argument("--command", required=True)
    options = parser.parse_args()
    run = open_run(options.run)
    assert not (run.folder / FILE_NAME).exists(), "labelled fields are not shipped"
    folder = Path(statecast.runs.trained.__file__).parent / options.name
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(f"# {options.title}\n{dump(run.tables, run.spec)}")
    state = run.load().state_dict()
    save_file({key: half(value) for key, value in state.items()}, folder / WEIGHTS_NAME)
    windows = run.data().windows("test")
    # In the middle of equal parts, not at the beginning of sequences, where waves are still flat.
    batch = windows.batch((2 * torch.arange(EXAMPLES) + 1) * len(windows) // (2 * EXAMPLES))
    for name, frames in ((CONTEXT_NAME, batch.context), (TARGET_NAME, batch.target)):
        np.save(folder / name, frames.values.numpy().astype(np.float16))
    scores = evaluate_trained(options.name)
    record = {
        "command": options.command,
        "minutes": round(load_checkpoint(run.folder, "last").state["seconds"] / 60, 1),
        "seed": run.tables["train"]["seed"],
        "windows": scores.protocol["windows"],
        "scores": {
            f"{metric} {selection}": float(f"{found['value']:.4g}")
            for metric, by_selection in scores.to_json()["forecasters"][run.name].items()
            for selection, found in by_selection.items()
        },
    }
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def half(values: Tensor) -> Tensor:
    """Floating-point numbers as float16, others as they are."""
    return values.half().contiguous() if values.is_floating_point() else values.contiguous()


if __name__ == "__main__":
    main()
