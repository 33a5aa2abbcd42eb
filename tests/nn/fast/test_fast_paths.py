"""Every fast path gives what the plain path gives: losses, gradients, statistics, forecasts.

In double precision, where rounding does not hide a difference behind the depth of a network.
"""

import platform
import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models import MODELS
from statecast.nn.blocks import ConvolutionUnit
from statecast.nn.fast import switches as fast_paths
from statecast.training.heap import keep_memory

SRVP = {"width": 16, "code_size": 8, "latent_size": 5, "noise_size": 5, "inference_hidden": 16,
        "content_size": 16,
        "transition_hidden": 16}  # fmt: skip
SEPARABLE = {"encoder_width": 16, "decoder_width": 16, "content_size": 8, "latent_size": 8,
             "dynamics_hidden": 16}  # fmt: skip
CASES = {
    "dcgan": ("srvp", SRVP | {"architecture": "dcgan"}),
    "vgg": ("srvp", SRVP | {"architecture": "vgg", "skips": True}),
    "resnet": ("separable", SEPARABLE | {"architecture": "resnet"}),
    "maps": ("separable", SEPARABLE | {"architecture": "maps", "skips": True}),
    "mlp": ("separable", SEPARABLE | {"architecture": "mlp", "shooting_segments": 2}),
}


def run_python(code, **environment):
    """The output of a new process."""
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ran.stdout


@pytest.fixture(params=CASES)
def case(request):
    """A model and a batch."""
    name, options = CASES[request.param]
    spec = FrameSpec(
        channels=("grey",), space=(32, 32), context=3, horizon=3, value_range=(0.0, 1.0)
    )
    generator = torch.Generator().manual_seed(1)
    model = MODELS[name](spec, **options, generator=generator)
    for layer in model.modules():  # statistics that folding has to take into account
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
            layer.weight.data.uniform_(0.5, 1.5, generator=generator)
            layer.bias.data.normal_(std=0.1, generator=generator)
    inputs = model.inputs
    model.inputs = lambda frames: inputs(frames).double()
    values = torch.rand(2, 6, 1, 32, 32, generator=generator)
    return model.double(), Batch.of(values, 3, channels=("grey",))


def found(model, batch):
    """Loss, gradients, statistics after a step; a forecast."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.eval()
    generator = torch.Generator().manual_seed(3)
    forecast = model.forecast(batch.context, 4, samples=2, generator=generator).samples
    model.train()
    model.zero_grad()
    loss = model.loss(batch, generator=torch.Generator().manual_seed(2))["total"]
    loss.backward()
    results = {"forecast": forecast, "loss": loss.detach()}
    results |= {f"gradient of {n}": p.grad.clone() for n, p in model.named_parameters()}
    results |= {n: b.clone() for n, b in model.named_buffers() if b.is_floating_point()}
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])
    return results


@pytest.mark.parametrize("name", [*fast_paths.NAMES, "all of them"])
def test_switched_off_it_makes_no_difference(case, name):
    model, batch = case
    ours = found(model, batch)
    with fast_paths.without(*(fast_paths.NAMES if name == "all of them" else [name])):
        plain = found(model, batch)
    for key, value in plain.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(
            ours[key], value, rtol=1e-8, atol=1e-8, msg=lambda m, k=key: f"{k}: {m}"
        )


@pytest.mark.parametrize(
    ("layer", "side"),
    [
        (torch.nn.Conv2d(64, 64, 3, padding=1), 16),
        (torch.nn.Conv2d(128, 128, 4, stride=2, padding=1), 32),
        (torch.nn.ConvTranspose2d(128, 128, 4, stride=2, padding=1), 16),
    ],
)
def test_wide_convolutions_take_fewer_products_for_the_same_maps(layer, side):
    unit = ConvolutionUnit(layer).double()
    maps = torch.rand(8, layer.in_channels, side, side, dtype=torch.float64)
    results, operations = [], []
    for names in ((), ("winograd",)):
        inputs = maps.clone().requires_grad_()
        with fast_paths.without(*names), FlopCounterMode(display=False) as counter:
            outputs = unit(inputs)
            outputs.square().sum().backward()
        results.append((outputs.detach(), inputs.grad))
        operations.append(counter.get_total_flops())
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)
    assert operations[0] < 0.7 * operations[1]


def test_unknown_names_are_refused():
    with (
        pytest.raises(InputError, match="unknown fast path, 'wino'; choose from channels_last"),
        fast_paths.without("wino"),
    ):
        pass


def test_paths_are_switched_off_inside_the_block_alone():
    assert fast_paths.enabled("winograd")
    with fast_paths.without("winograd"), fast_paths.without("fold_batch_norm"):
        assert not fast_paths.enabled("winograd")
        assert not fast_paths.enabled("fold_batch_norm")
        assert fast_paths.enabled("kernel_as_matmul")
    assert fast_paths.enabled("winograd")
    assert fast_paths.enabled("fold_batch_norm")


@pytest.mark.parametrize(
    ("value", "shown"), [("winograd, fold_batch_norm", "False False True"), ("", "True True True")]
)
def test_the_environment_switches_off(value, shown):
    code = (
        "from statecast.nn.fast.switches import enabled as e;"
        "print(e('winograd'), e('fold_batch_norm'), e('kernel_as_matmul'))"
    )
    assert run_python(code, STATECAST_WITHOUT=value).strip() == shown


def test_memory_is_kept_where_the_system_can():
    """After it, a freed tensor's pages are not asked for again."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("This system has another C library.")
    with fast_paths.without("malloc_reuse"):
        assert not keep_memory()
    code = (
        "import resource, torch; from statecast.training.heap import keep_memory\n"
        "def faults(turns):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(turns): torch.ones(2**23)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "print(faults(10), keep_memory(), faults(30) and faults(10))"
    )
    before, kept, after = run_python(code).split()
    assert kept == "True"
    assert int(before) > 30 * int(after)
