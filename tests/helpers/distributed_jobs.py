"""What processes do together in tests; each function runs in all of them at once."""

import json
import signal
import time

import torch
from torch import nn

from statecast.data.base import generator_of
from statecast.distributed import (
    from_main,
    gathered,
    joined,
    largest,
    prompt,
    rank,
    size,
    summed,
)
from statecast.models import SRVP
from statecast.models.base import known_mean
from statecast.nn.batch_norm import synchronised
from statecast.nn.gaussian import DiagonalGaussian
from statecast.nn.random import PartGenerator
from statecast.runs.run import create_run, open_run, train_run
from statecast.sharing import in_whole, part_of, shared
from statecast.training.together import Team, in_buckets

LOSS = SRVP.loss
MLP = ["--model.architecture=mlp", "--model.skips=false"]  # no batch norm, and soon done


def several(recipe, folders):
    """A training; one that is stopped, and gone on with; and one that is left to be."""
    with joined():
        reasons = [train_new(recipe, folders["whole"], None)]
        reasons += [train_new(recipe, folders["again"], 4)]
        again = from_main(lambda: open_run(folders["again"]))
        reasons += [train_run(again, resume=True).reason]
        reasons += [train_new(recipe, folders["alone"], 4)]
    print(json.dumps(reasons))


def endings(recipe, folder):
    """Trainings that end because of one process alone: its minutes, or its loss."""
    with joined():
        monotonic = time.monotonic
        if rank() == 1:
            time.monotonic = lambda: 1000 * monotonic()
        made = from_main(
            lambda: create_run(recipe, f"{folder}/minutes", [*MLP, "--train.max_minutes=1"])
        )
        found = train_run(made)
        time.monotonic = monotonic
        print(json.dumps(gathered((found.reason, found.step))))
        calls = []

        def broken(self, batch, *, step=0, generator=None):
            calls.append(1)
            terms = LOSS(self, batch, step=step, generator=generator)
            bad = torch.nan if rank() == 1 and len(calls) == 5 else 1.0
            return {name: bad * value for name, value in terms.items()}

        SRVP.loss = broken
        made = from_main(lambda: create_run(recipe, f"{folder}/diverged", MLP))
        train_run(made)


def cannot_save(*words):
    """The command, where a checkpoint cannot be written."""
    import statecast.training.loop
    from statecast.cli.main import main
    from statecast.errors import FileError

    def refuse(*arguments, **options):
        raise FileError("Cannot write the checkpoint: No space left on device.")

    statecast.training.loop.save_checkpoint = refuse
    return main(words)


def train_new(recipe, folder, stop):
    """How a training ended, of which the last process is signalled in a step, if any."""
    calls = []

    def interrupted(self, batch, *, step=0, generator=None):
        calls.append(len(batch))
        if len(calls) == stop and rank() == size() - 1:
            signal.raise_signal(signal.SIGTERM)
        return LOSS(self, batch, step=step, generator=generator)

    SRVP.loss = interrupted
    made = from_main(lambda: create_run(recipe, folder))
    reason = train_run(made).reason
    SRVP.loss = LOSS
    assert set(calls) == {3 - rank()}
    return reason


def checks():
    """Each of the functions below, which assert."""
    torch.manual_seed(0)
    found = (
        draws,
        batch_norms,
        batch_norms_of_half,
        momentless,
        means,
        gradients,
        unreached,
        numbers,
    )
    with joined(), prompt():
        for check in found:
            check()
    print(len(found), "checked")


def mine(values):
    """The rows that fall to this process."""
    part = part_of(len(values))
    return values[part.start : part.stop], part


def draws():
    """A part draws its rows of what the whole draws."""
    mean = torch.zeros(5, 4)
    whole = DiagonalGaussian(mean, mean + 1).draw(generator_of(3), 2)
    own, part = mine(mean)
    found = DiagonalGaussian(own, own + 1).draw(PartGenerator(generator_of(3), part), 2)
    assert torch.equal(torch.cat(gathered(found), dim=1), whole)


def batch_norms():
    """Outputs, gradients and running moments are those of the whole batch."""
    for momentum, affine in ((0.1, True), (None, False)):
        values = 3 + torch.randn(5, 3, 4, 4)
        plain = nn.Sequential(nn.BatchNorm2d(3, momentum=momentum, affine=affine))
        again = nn.Sequential(nn.BatchNorm2d(3, momentum=momentum, affine=affine))
        weights = torch.randn(5, 3, 4, 4)
        whole = values.clone().requires_grad_()
        own, part = mine(values)
        own = own.clone().requires_grad_()
        for _ in range(2):
            (plain(whole) * weights).sum().backward()
            with synchronised(again):
                output = again(own)
            (output * mine(weights)[0]).sum().backward()
        buffers = [buffer.clone() for buffer in plain.buffers()]
        rows = slice(part.start, part.stop)
        torch.testing.assert_close(output, plain(whole)[rows])
        torch.testing.assert_close(own.grad, whole.grad[rows], rtol=1e-4, atol=1e-5)
        for left, right in zip(again.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(summed(left.grad), right.grad, rtol=1e-4, atol=1e-4)
        for left, right in zip(again.buffers(), buffers, strict=True):
            torch.testing.assert_close(left, right)


def batch_norms_of_half():
    """In bf16 moments are those of float32, and what comes in comes out."""
    values = (3 + torch.randn(5, 3, 4, 4)).bfloat16()
    own, _ = mine(values)
    plain, again = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    whole, own = values.float().requires_grad_(), own.clone().requires_grad_()
    weights = torch.randn(5, 3, 4, 4)
    (plain(whole) * weights).sum().backward()
    with synchronised(again):
        output = again(own)
    (output * mine(weights)[0]).sum().backward()
    assert (output.dtype, own.grad.dtype) == (torch.bfloat16, torch.bfloat16)
    torch.testing.assert_close(again.running_mean, plain.running_mean)
    torch.testing.assert_close(again.running_var, plain.running_var)
    torch.testing.assert_close(torch.cat(gathered(own.grad.float())), whole.grad, rtol=0, atol=0.02)


def momentless():
    """Evaluation mode exchanges nothing: one process may do it alone."""
    layer = nn.Sequential(nn.BatchNorm1d(3)).eval()
    with synchronised(layer):
        if rank() == 0:
            assert layer(torch.ones(2, 3)).shape == (2, 3)
    assert "forward" not in vars(layer[0])


def means():
    """The weighted sum of the parts' means over known values is that of the whole."""
    values = torch.randn(5, 6)
    known = torch.rand(5, 6, generator=generator_of(1)) > 0.6
    for mask in (known, None):
        own, part = mine(values)
        own_mask = None if mask is None or rank() == 1 else mine(mask)[0]
        full = None if mask is None else torch.cat([mask[:3], torch.ones(2, 6, dtype=torch.bool)])
        with shared(part):
            found = known_mean(own, own_mask) * part.share
        expected = known_mean(values, full)
        torch.testing.assert_close(summed(found), expected)
    assert in_whole(torch.tensor(3)) == 3


class Line(nn.Module):
    """A model of some weights, of which one may not be used."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 3), nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, values, *, second, third):
        hidden = self.first(values)
        total = hidden.square().mean()
        total = total + self.second(hidden).square().mean() if second else total
        return total + self.third(hidden).square().mean() if third else total


def gradients():
    """Parts of different size, several buckets: the gradient of the whole batch."""
    compare(lambda: (True, True), lambda part: (True, True))


def unreached():
    """A weight that one process reaches has its gradient everywhere; of none, nowhere."""
    own = compare(None, lambda part: (rank() == 0, False))
    assert own.third.weight.grad is None
    assert own.second.weight.grad is not None


def compare(of_whole, of_part):
    import statecast.training.together

    statecast.training.together.BUCKET_BYTES = 40
    torch.manual_seed(rank())
    model, values = Line(), torch.randn(5, 4, generator=generator_of(2))
    team = Team(model, 5)
    assert [len(group) for group in in_buckets(list(model.parameters()))] == [1, 4, 1]
    plain = Line()
    plain.load_state_dict(model.state_dict())
    own, part = mine(values)
    with team.training():
        for _ in range(2):  # buckets begin anew
            model.zero_grad()
            if rank() == 1:
                time.sleep(0.01)
            second, third = of_part(part)
            terms = team.backward({"total": model(own, second=second, third=third)})
    if of_whole is not None:
        second, third = of_whole()
        total = plain(values, second=second, third=third)
        total.backward()
        torch.testing.assert_close(terms["total"], total.detach())
        for left, right in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(left.grad, right.grad)
    for weight in model.parameters():
        grads = gathered(None if weight.grad is None else weight.grad.tolist())
        assert grads[0] == grads[1]
    return model


def numbers():
    """The largest number counts, and the main process decides."""
    assert largest(rank()) == 1
    assert from_main(rank) == 0
    assert [part_of(7).start, part_of(7).stop] == [[0, 4], [4, 7]][rank()]
    assert part_of(7).share == len(part_of(7)) / 7
