"""The device and the precision of a training, and compilation for the device."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager

import torch

from statecast.distributed import all_gather
from statecast.errors import InputError
from statecast.models.base import Forecaster
from statecast.models.state_space import StateSpaceForecaster
from statecast.training.options import Precision

COMPILERS = ("g++", "clang++", "c++")  # of C++; one of them is needed


def device_of(name: str | torch.device) -> torch.device:
    """The device of this name, or itself; `auto` is the GPU if there is one.

    Errors:
        InputError: the machine has no such device, or it holds no values.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"This machine has no device {str(name)!r}. Choose 'auto' or 'cpu'."
        ) from error
    return device


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Context that runs matrix products at this precision; weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def choose_precision(precision: Precision, device: torch.device) -> str:
    """Resolve `auto`: bf16 if the hardware of every process multiplies it, else float32."""
    if precision != "auto":
        return precision
    return "bf16" if all(all_gather(has_bf16(device))) else "float32"


def compile_rollout(model: Forecaster, device: torch.device) -> None:
    """Compile the loop of a model's transition for this device.

    Errors:
        InputError: the model has no transition, or there is no C++ compiler.
    """
    if not isinstance(model, StateSpaceForecaster):
        raise InputError(
            f"{type(model).__name__} has no transition to compile. Set train.compile: false."
        )
    if device.type == "cpu" and not any(shutil.which(name) for name in COMPILERS):
        raise InputError(
            f"Compiling for a CPU needs one of {', '.join(COMPILERS)}, but none is installed. "
            "Install one, or set train.compile: false."
        )
    model.compile_rollout("reduce-overhead" if device.type == "cuda" else "default")


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 matrices: GPUs from compute capability 8.0 on."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cpu" and bool(supported())
