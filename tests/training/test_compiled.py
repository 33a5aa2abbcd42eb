"""A compiled transition: the same training; refused where it cannot be compiled."""

import shutil

import pytest
import torch

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models import MODELS
from statecast.models.baselines import Persistence
from statecast.training.precision import COMPILERS, compile_rollout

SPEC = FrameSpec(channels=("v",), space=(6,), context=3, horizon=3, value_range=None)
CPU = torch.device("cpu")


def model_of(name, **options):
    generator = torch.Generator().manual_seed(1)
    return MODELS[name](SPEC, architecture="mlp", generator=generator, **options)


def step(model):
    """Loss terms and gradients of a training step."""
    batch = Batch.of(torch.rand(4, 6, 1, 6, generator=torch.Generator().manual_seed(2)), 3)
    terms = model.train().loss(batch, generator=torch.Generator().manual_seed(3))
    terms["total"].backward()
    return {n: t.detach() for n, t in terms.items()} | {
        n: p.grad for n, p in model.named_parameters()
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's compiler warns of itself
@pytest.mark.parametrize(
    ("name", "options"), [("srvp", {"substeps": 2}), ("separable", {"dynamics_blocks": 2})]
)
def test_a_compiled_transition_trains_the_same(name, options):
    if not any(shutil.which(compiler) for compiler in COMPILERS):
        pytest.skip("There is no C++ compiler.")
    usual, compiled = model_of(name, **options), model_of(name, **options)
    compile_rollout(compiled, CPU)
    assert compiled.state_dict().keys() == usual.state_dict().keys()
    torch.testing.assert_close(step(compiled), step(usual))


def test_what_cannot_be_compiled_is_refused(monkeypatch):
    with pytest.raises(InputError, match="Persistence has no transition to compile"):
        compile_rollout(Persistence(SPEC), CPU)
    pytest.importorskip("torchdiffeq")
    with pytest.raises(InputError, match="solver dopri5 cannot be compiled"):
        compile_rollout(model_of("srvp", solver="dopri5"), CPU)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"one of g\+\+, clang\+\+"):
        compile_rollout(model_of("srvp"), CPU)
