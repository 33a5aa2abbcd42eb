"""Multilayer and convolutional blocks, and initialisations of their weights."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from statecast.nn.fast.convolution import Geometry, convolve
from statecast.nn.fast.switches import enabled
from statecast.nn.fast.weight_cache import cached

LEAK = 0.2  # negative slope of the leaky rectifiers of published codecs


class MLP(nn.Sequential):
    """Linear layers with a rectifier between any two.

    The layers are applied as functions of their weights: a small forecast runs many small layers,
    where calling a module takes longer than its matrix product.
    """

    def forward(self, values: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        first, *others = cached(self, self._weights)
        values = functional.linear(values, *first)
        for weight, bias in others:
            values = functional.linear(torch.relu(values), weight, bias)
        return values

    def _weights(self) -> list[tuple[Tensor, Tensor]]:
        return [(layer.weight, layer.bias) for layer in self if isinstance(layer, nn.Linear)]


def mlp(inputs: int, hidden: int, outputs: int, *, layers: int) -> MLP:
    """A multilayer perceptron of `layers` linear layers."""
    sizes = [inputs, *[hidden] * (layers - 1), outputs]
    modules: list[nn.Module] = []
    for before, after in pairwise(sizes):
        modules += [nn.Linear(before, after), nn.ReLU()]
    return MLP(*modules[:-1])


def beside(
    maps: Float[Tensor, "row channel y x"], vector: Float[Tensor, "row number"] | None
) -> Float[Tensor, "row wider y x"]:
    """Maps with a vector appended at each point, as further channels."""
    if vector is None:
        return maps
    return torch.cat([maps, vector[:, :, None, None].expand(-1, -1, *maps.shape[2:])], dim=1)


def apply_in_parts(module: nn.Module, rows: Float[Tensor, "row *shape"], size: int) -> Tensor:
    """Apply a module to `size` rows at a time, to bound the memory of its feature maps."""
    return torch.cat([module(part) for part in rows.split(size)])


class GroupNorm(nn.GroupNorm):
    """Group normalisation without PyTorch's checks in Python, which are slow for small maps."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in PyTorch
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class Ready(NamedTuple):
    """Weights of a convolution unit, ready to convolve with."""

    weight: Tensor
    bias: Tensor | None
    scale: Float[Tensor, " out_channel"] | None  # of outputs, folded into both; or None


class ConvolutionUnit(nn.Module):
    """A (transposed) convolution, then optional batch normalisation and leaky rectifier.

    The input may have two parts, one that differs between the frames of a sequence and one that
    they share (a content code, a skip map). A convolution is linear, so the shared part is
    convolved once per sequence and added: $W * [a, b] = W_a * a + W_b * b$.
    """

    def __init__(
        self,
        convolution: nn.Conv2d | nn.ConvTranspose2d,
        *,
        norm: bool = True,
        rectify: bool = True,
    ) -> None:
        super().__init__()
        self.convolution = convolution
        self.geometry = Geometry.of(convolution)
        self.norm = nn.BatchNorm2d(convolution.out_channels) if norm else None
        self.rectify = rectify

    def forward(
        self,
        each: Float[Tensor, "many channel y x"],
        shared: Float[Tensor, "few shared_channel y x"] | None = None,
        *,
        shared_first: bool = False,
    ) -> Float[Tensor, "many out_channel out_y out_x"]:
        """Apply the unit.

        Args:
            each: one map per frame, `many / few` consecutive frames per sequence.
            shared: one map per sequence, concatenated to each of its frames.
            shared_first: whether the shared channels come before the others.
        """
        once = None if shared is None else self.convolve_shared(shared, first=shared_first)
        return self.with_shared(each, once, shared_first=shared_first)

    def convolve_shared(
        self, shared: Float[Tensor, "few shared_channel y x"], *, first: bool
    ) -> Float[Tensor, "few out_channel out_y out_x"]:
        """Contribution of shared maps to the convolution of each frame.

        With `content_once` switched off, the maps themselves.
        """
        if not enabled("content_once"):
            return shared
        weight = self.ready(shared.shape[1], start=first, fold=False).weight
        return convolve(shared, weight, self.convolution.bias, self.geometry)

    def with_shared(
        self,
        each: Float[Tensor, "many channel y x"],
        once: Float[Tensor, "few out_channel out_y out_x"] | None,
        *,
        shared_first: bool,
    ) -> Float[Tensor, "many out_channel out_y out_x"]:
        """Apply the unit, given the output of `convolve_shared` for the shared maps."""
        if once is not None and not enabled("content_once"):
            repeated = once.repeat_interleave(len(each) // len(once), dim=0)
            parts = (repeated, each) if shared_first else (each, repeated)
            each, once = torch.cat(parts, dim=1), None
        ready = self.ready(each.shape[1], start=not shared_first, fold=self.folds)
        bias = ready.bias if once is None or ready.scale is not None else None  # else in `once`
        output = convolve(each, ready.weight, bias, self.geometry)
        if once is not None:
            if ready.scale is not None:
                once = once * ready.scale[:, None, None]
            # In place: a convolution's gradient does not need its output.
            output.unflatten(0, (len(once), -1)).add_(once.unsqueeze(1))
        norm = self.norm
        if norm is not None and ready.scale is None:
            output = norm(output)
        if self.rectify:
            output = nn.functional.leaky_relu(output, LEAK, inplace=True)
        return output

    @property
    def folds(self) -> bool:
        """Whether to fold normalisation into the weight: neither training nor gradients need it."""
        return not self.training and not torch.is_grad_enabled() and enabled("fold_batch_norm")

    def ready(self, channels: int, *, start: bool, fold: bool) -> Ready:
        """The weight for the first or last `channels` input channels, ready to convolve with."""
        convolution, norm = self.convolution, self.norm if fold else None
        weight, bias = convolution.weight, convolution.bias
        dim = 0 if self.geometry.transposed else 1
        whole = weight.shape[dim] == channels
        if whole and norm is None:
            return Ready(weight, bias, None)

        def make() -> Ready:
            part = weight
            if not whole:
                part = weight.narrow(dim, 0 if start else weight.shape[dim] - channels, channels)
            if norm is None:
                return Ready(part, bias, None)
            scale, shift = folded(norm)
            # With stored statistics, normalisation and the convolution before it are both linear.
            part = part * scale.view(-1, 1, 1, *() if self.geometry.transposed else (1,))
            if bias is not None and whole:  # else the shared part has it
                shift = torch.addcmul(shift, bias, scale)
            return Ready(part, shift, scale)

        return cached((self, channels, start, fold), make)


def folded(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift per channel that equal batch normalisation by stored statistics."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return scale, torch.addcmul(norm.bias, mean, scale, value=-1)


class MapLayers(nn.Sequential):
    """3×3 convolutions of maps with batch normalisation; all but the last are rectified.

    Inputs may have any number of batch dimensions, as for linear layers.
    """

    def __init__(self, channels: int, hidden: int, *, layers: int) -> None:
        sizes = [channels, *[hidden] * (layers - 1), channels]
        super().__init__(
            *(
                ConvolutionUnit(nn.Conv2d(before, after, 3, 1, 1), rectify=index < layers - 1)
                for index, (before, after) in enumerate(pairwise(sizes))
            )
        )

    def forward(
        self, maps: Float[Tensor, "*batch channel y x"]
    ) -> Float[Tensor, "*batch channel y x"]:
        flat = maps.flatten(0, -4)
        for layer in self:
            flat = layer(flat)
        return flat.view_as(maps)


def initialise_normal(module: nn.Module, std: float, generator: torch.Generator | None) -> None:
    """Draw weights from N(0, std²) and batch-norm scales from N(1, std²); biases are zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, std, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, std, generator=generator)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def initialise_he(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw weights from N(0, 2 / inputs), which preserves the size of signals; biases are zero.

    Reference: He et al. (2015), https://arxiv.org/abs/1502.01852.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            transposed = isinstance(layer, nn.ConvTranspose2d)
            mode: Literal["fan_in", "fan_out"] = "fan_out" if transposed else "fan_in"
            nn.init.kaiming_normal_(
                layer.weight, mode=mode, nonlinearity="relu", generator=generator
            )
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialise_orthogonal(
    module: nn.Module, gain: float, generator: torch.Generator | None
) -> None:
    """Draw orthogonal weights, scaled by `gain`, and batch-norm scales from N(1, gain²).

    Biases are zero.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(layer.weight, gain, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, gain, generator=generator)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def initialise_convolutions(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw weights of convolutions as PyTorch does by default, from `generator`.

    They are uniform in ±1/√n, where n is the size of a weight over its first dimension.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for weight in layer.parameters(recurse=False):
                nn.init.uniform_(weight, -bound, bound, generator=generator)


def initialise_uniform(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw weights of linear and recurrent layers as PyTorch does by default, from `generator`.

    They are uniform in ±1/√n, where n is the number of inputs of a linear layer, or of units of a
    recurrent one.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
        elif isinstance(layer, nn.RNNBase | nn.RNNCellBase):
            bound = 1 / math.sqrt(layer.hidden_size)
        else:
            continue
        for weight in layer.parameters(recurse=False):
            nn.init.uniform_(weight, -bound, bound, generator=generator)
