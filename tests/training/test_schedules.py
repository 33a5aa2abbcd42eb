"""Learning rates against closed forms at every corner, and as the optimiser gets them."""

import math

import pytest
import torch
from helpers.trainings import interrupt_at

from statecast.runs.create import create_run
from statecast.runs.run import open_run, train_run
from statecast.training.logs import read_log
from statecast.training.options import TrainingOptions
from statecast.training.schedules import Plateau, learning_rate_at

HALF = math.sqrt(0.5)
CLOSED_FORMS = [  # options, then the rate of each step from 0 on, in shares of the highest
    ({}, [1, 1, 1, 1, 1]),
    ({"schedule": "plateau"}, [1, 1, 1, 1, 1]),
    ({"warmup": 4}, [1 / 4, 2 / 4, 3 / 4, 1, 1]),
    ({"schedule": "linear", "steps": 4}, [1, 3 / 4, 2 / 4, 1 / 4, 0, 0, 0]),
    ({"schedule": "linear", "steps": 6, "decay_start": 3}, [1, 1, 1, 1, 2 / 3, 1 / 3, 0, 0]),
    ({"schedule": "linear", "steps": 3, "decay_start": 3}, [1, 1, 1, 0]),
    ({"schedule": "linear", "steps": 4, "warmup": 2}, [1 / 2, 3 / 4, 2 / 4, 1 / 4]),
    ({"schedule": "milestones", "milestones": (2, 4), "decay_factor": 0.2},
     [1, 1, 0.2, 0.2, 0.04, 0.04]),
    ({"schedule": "milestones", "milestones": (0, 1)}, [1 / 2, 1 / 4, 1 / 4]),
    ({"schedule": "cosine", "steps": 4}, [1, (1 + HALF) / 2, 1 / 2, (1 - HALF) / 2, 0, 0]),
    ({"schedule": "cosine", "steps": 4, "warmup": 1}, [1, (1 + HALF) / 2, 1 / 2]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "shares"), CLOSED_FORMS)
def test_rates_have_their_closed_form(options, shares):
    asked = TrainingOptions(learning_rate=0.3, **{"steps": 100} | options)
    found = [learning_rate_at(step, asked) for step in range(len(shares))]
    assert found == pytest.approx([0.3 * share for share in shares], abs=1e-12)


def test_the_first_step_of_a_training_is_step_0_also_once_resumed(recipe, tmp_path, monkeypatch):
    options = ["--train.schedule=linear", "--train.learning_rate=0.012", "--train.log_every=1"]
    run = create_run(recipe, tmp_path / "run", options)
    interrupt_at(5, monkeypatch)
    train_run(run)
    interrupt_at(None, monkeypatch)
    train_run(open_run(run.folder), resume=True)
    log = read_log(run.folder)
    assert log["step"] == list(range(1, 13))
    assert log["learning_rate"] == pytest.approx([0.001 * left for left in range(12, 0, -1)])


def test_a_plateau_decays_when_patience_is_exhausted():
    options = TrainingOptions(schedule="plateau", patience=2, decay_factor=0.1)
    plateau, other = Plateau(), Plateau()
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, patience=2, factor=0.1, threshold=0.0
    )
    best = math.inf
    for score in (5.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0, 4.0, 6.0, 6.0, 6.0):
        plateau.observe(score < best, options)
        other.observe(score < best, TrainingOptions(patience=2))  # of another schedule
        best = min(best, score)
        theirs.step(score)
        assert plateau.scale(options) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert plateau.decays == 3
    never = Plateau()  # not one validation with a number
    scales = []
    for _ in range(4):
        never.observe(False, options)
        scales.append(never.scale(options))
    assert scales == pytest.approx([1, 1, 0.1, 0.1])
    assert other.decays == 0
