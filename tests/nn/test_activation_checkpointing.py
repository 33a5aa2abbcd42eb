"""Recomputed stages: the same step to the last bit, and fewer bytes kept for the backward pass."""

import pytest
import torch

from statecast.frames import Batch, FrameSpec
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.nn.activation_checkpointing import recompute_stages

SPEC = FrameSpec(channels=("v",), space=(32, 32), context=3, horizon=3, value_range=(0.0, 1.0))
CASES = {
    "dcgan": (SRVP, {"architecture": "dcgan", "width": 4}),
    "vgg": (SRVP, {"architecture": "vgg", "width": 4, "skips": True}),
    "resnet": (Separable, {"architecture": "resnet", "encoder_width": 4, "decoder_width": 4}),
    "maps": (Separable, {"architecture": "maps", "skips": True, "encoder_width": 4,
                         "decoder_width": 4, "latent_size": 4, "dynamics_hidden": 4}),
}  # fmt: skip

SHARE = {"dcgan": 0.85, "vgg": 0.6, "resnet": 0.75, "maps": 0.6}  # of bytes, at most


def step(name, on):
    """Loss, gradients and statistics of a training step, and the bytes kept in between."""
    kind, options = CASES[name]
    model = kind(SPEC, **options, generator=torch.Generator().manual_seed(1))
    recompute_stages(model, on)
    generator = torch.Generator().manual_seed(2)
    batch = Batch.of(torch.rand(4, 6, 1, 32, 32, generator=generator), 3, channels=("v",))
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    own = {parameter.data_ptr() for parameter in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model.train().loss(batch, generator=torch.Generator().manual_seed(3))["total"]
    loss.backward()
    found = {"loss": loss.detach()} | {n: p.grad for n, p in model.named_parameters()}
    found |= {f"buffer {n}": buffer for n, buffer in model.named_buffers()}
    return found, sum(size for place, size in kept.items() if place not in own)


@pytest.mark.parametrize("name", CASES)
def test_recomputing_changes_no_bit_and_keeps_less(name):
    usual, much = step(name, False)
    found, little = step(name, True)
    assert usual.keys() == found.keys()
    for key, value in usual.items():
        assert torch.equal(found[key], value), key
    assert little < SHARE[name] * much


def test_statistics_see_a_batch_once():
    found, _ = step("vgg", True)
    counts = [value for key, value in found.items() if key.endswith("num_batches_tracked")]
    assert counts
    assert all(int(count) == 1 for count in counts)
