"""The memory of a forecast grows with its horizon by the frames returned, and by nothing else."""

import gc
from itertools import islice

import pytest
import torch

from statecast.data.base import seeded_generator
from statecast.frames import FrameSpec
from statecast.models import MODELS
from statecast.models.build import own_options
from statecast.models.frame_feedback import FrameFeedback
from statecast.nn.noise import Noise
from statecast.runs.recipes import recipe_names
from statecast.runs.recipes.resolve import read_recipe

SPEC = FrameSpec(channels=("c",), space=(32, 32), context=5, horizon=5, value_range=(0.0, 1.0))
RECIPES = {
    name: recipe
    for name, model in MODELS.items()
    if issubclass(model, FrameFeedback)
    and (recipe := f"{name.replace('_', '-')}-digits-small") in recipe_names()
}


def tensors():
    """All tensors that anything holds on to."""
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]


def bytes_beside(others):
    """Bytes of all tensors but these, which are those of other tests."""
    known = set(map(id, others))
    storages = [tensor.untyped_storage() for tensor in tensors() if id(tensor) not in known]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def test_systems_that_feed_frames_back_are_here():
    assert {"svg", "phydnet", "mim", "cdna", "sv2p", "savp", "struct_vrnn"} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_longer_roll_out_holds_no_more(name):
    others = tensors()
    table = read_recipe(RECIPES[name])["model"]
    model = MODELS[name](SPEC, **own_options(table), generator=seeded_generator(0)).eval()
    context = torch.rand(1, 5, 1, 32, 32, generator=seeded_generator(1))
    frames = model.roll_out(context, noise=Noise(2, 1, seeded_generator(2)))
    with torch.no_grad():
        frame = next(islice(frames, 3, None))  # no frame of the context is used any more
        before = bytes_beside(others)
        del frame
        frame = next(islice(frames, 6, None))
        assert bytes_beside(others) == before
    assert torch.isfinite(frame).all()
