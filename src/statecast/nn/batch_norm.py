"""Batch normalisation over a batch that several processes share, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from statecast.distributed import size, summed


@contextmanager
def synchronised(model: nn.Module) -> Iterator[None]:
    """Context in which the batch normalisations of a model use statistics of all processes.

    In training mode alone; all processes must then pass through them equally often.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    if size() == 1:
        layers = []
    for layer in layers:
        layer.forward = partial(normalised, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # and that of its class shows again


def normalised(layer: _BatchNorm, values: Tensor) -> Tensor:
    """What a batch normalisation gives, with mean and variance of the values of all processes."""
    if not layer.training:
        return type(layer).forward(layer, values)
    layer._check_input_dim(values)
    mean, variance, count = moments_of_all(values.detach())
    if layer.track_running_stats and layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        new = layer.momentum
        if new is None:  # the mean over all batches
            new = 1.0 / float(layer.num_batches_tracked)
        with torch.no_grad():
            unbiased = variance * (count / (count - 1))
            for buffer, value in ((layer.running_mean, mean), (layer.running_var, unbiased)):
                assert buffer is not None
                buffer.lerp_(value.to(buffer.dtype), new)
    weight = torch.ones_like(mean, dtype=torch.float32) if layer.weight is None else layer.weight
    arguments = (values, weight, layer.bias, mean, variance, count, layer.eps)
    return _Normalised.apply(*arguments)  # type: ignore[no-untyped-call]


def moments_of_all(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance (biased) of each channel, and number of values, over all processes.

    In float64, in which a variance can be had from sums: one exchange does for all three.
    """
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    mean, variance = torch.batch_norm_update_stats(wide, None, None, 0.0)
    number = values.new_full((1,), values.numel() // values.shape[1], dtype=torch.float64)
    mean, variance = mean.double(), variance.double()
    sums = summed(torch.cat([number, number * mean, number * (variance + mean.square())]))
    number, first, second = sums.split([1, len(mean), len(mean)])
    mean = first / number
    return mean, (second / number - mean.square()).clamp_min(0), number


class _Normalised(torch.autograd.Function):
    r"""(x − mean) / √(variance + ε) · weight + bias, whose moments depend on x of all processes.

    With $\hat x$ for the normalised values and bars for means over all processes,
    $\nabla x = \frac{w}{\sigma}(\nabla y - \overline{\nabla y} - \hat x
    \overline{\hat x \nabla y})$. The gradients of weight and bias are this process's own.
    """

    @staticmethod
    def forward(  # noqa: PLR0917, autograd passes by position
        context: Any,
        values: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        epsilon: float,
    ) -> Tensor:
        kind = torch.promote_types(values.dtype, torch.float32)
        mean, variance = mean.to(kind), variance.to(kind)
        context.save_for_backward(values, weight, mean, variance, count)
        context.epsilon = epsilon
        return nn.functional.batch_norm(
            values, mean, variance, weight, bias, training=False, eps=epsilon
        )

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, variance, count = context.saved_tensors
        # As if the moments were constants, in one pass over the values …
        inner, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], values, weight, mean, variance, None, None, False, context.epsilon,
            [True, True, True],
        )  # fmt: skip
        # … and then what they depend on.
        sums = summed(torch.cat([of_bias, of_weight]).double()) / count
        plain, along = sums.to(mean.dtype).chunk(2)
        inverse = torch.rsqrt(variance + context.epsilon)
        scale = weight * inverse
        shape = [1, -1, *[1] * (values.ndim - 2)]
        slope = scale * along * inverse
        constant = scale * plain - slope * mean
        inner -= torch.addcmul(constant.view(shape), values, slope.view(shape))
        needed = context.needs_input_grad
        return (
            inner,
            of_weight if needed[1] else None,
            of_bias if needed[2] else None,
            None, None, None, None,
        )  # fmt: skip
