"""Where and at what precision to compute: the device, and bf16 where it is faster."""

from __future__ import annotations

import shutil
import time
from contextlib import AbstractContextManager
from typing import Literal

import torch

from statecast.data.base import generator_of
from statecast.distributed import gathered
from statecast.errors import InputError
from statecast.frames import Batch
from statecast.models.base import Forecaster
from statecast.models.state_space import StateSpaceForecaster

Precision = Literal["auto", "float32", "bf16"]
COMPILERS = ("g++", "clang++", "c++")  # of C++, the first that is found
TRIALS = 3  # timed steps at each precision, after one that is not
WORTHWHILE = 1.1  # bf16 must be so many times faster to be chosen: it rounds more


def device_of(name: str) -> torch.device:
    """The device of this name; `auto` is the GPU where there is one.

    Errors:
        InputError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"There is no device {name!r} here. Use device: auto or cpu.") from error
    return device


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Context in which matrix products run at this precision; weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def choose_precision(precision: Precision, model: Forecaster, batch: Batch) -> str:
    """Resolve `auto`: bf16 where the processor has it and a training step is faster with it.

    Of several processes all have it, and the slowest is timed: they agree.
    """
    device = batch.context.values.device
    if precision != "auto":
        return precision
    if not all(gathered(has_bf16(device))):
        return "float32"
    seconds = {
        name: max(gathered(step_seconds(name, model, batch))) for name in ("float32", "bf16")
    }
    return "bf16" if seconds["float32"] > WORTHWHILE * seconds["bf16"] else "float32"


def compile_rollout(model: Forecaster, device: torch.device) -> None:
    """Compile the loop of a model's transition for this device.

    Errors:
        InputError: the model has none that can be compiled, or there is no compiler.
    """
    if not isinstance(model, StateSpaceForecaster):
        raise InputError(
            f"{type(model).__name__} has no transition to compile. Set train.compiled: false."
        )
    if device.type == "cpu" and not any(shutil.which(name) for name in COMPILERS):
        raise InputError(
            f"To compile for a processor takes one of {', '.join(COMPILERS)}, and none is "
            "installed. Set train.compiled: false."
        )
    model.compile_rollout("reduce-overhead" if device.type == "cuda" else "default")


def has_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies bf16 matrices by itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cpu" and bool(supported())


def step_seconds(precision: str, model: Forecaster, batch: Batch) -> float:
    """Time of a training step's forward and backward pass, which leave the model as it was."""
    device = batch.context.values.device
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    start = 0.0
    for trial in range(TRIALS + 1):
        if trial == 1:
            start = _now(device)
        with autocast(precision, device):
            total = model.loss(batch, generator=generator_of(trial))["total"]
        total.backward()
        model.zero_grad()
    seconds = (_now(device) - start) / TRIALS
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])
    return seconds


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
