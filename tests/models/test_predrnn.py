"""PredRNN and PredRNN-V2: what the published code gave, number by number."""

import pytest
import torch
from helpers.recurrent_twin import Golden, check_against_twin
from helpers.seeds import seeded

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.predrnn import PredRNN
from statecast.runs.official import from_arrays

VERSIONS = ("v1", "v2")


@pytest.fixture(params=VERSIONS)
def golden(request):
    found = Golden("predrnn", f"{request.param}.")
    found.version = request.param
    return found


def test_cells(golden):
    found = golden.model.cells[0](*(golden[f"cell_{name}"] for name in "xhcm"))
    for value, name in zip(found[:3], "hcm", strict=True):
        golden.close(value, f"{golden.version}_cell_{name}_next")
    if golden.version == "v2":
        golden.close(found.cell_increment, "v2_cell_delta_c")
        golden.close(found.memory_increment, "v2_cell_delta_m")


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_training_and_forecast(golden, direction):
    run = f"{golden.version}_{direction}"
    mask = golden.mask(golden[f"{run}_mask_bits"])
    golden.close(golden.outputs(mask), f"{run}_outputs")
    golden.close(golden.model.forecast(golden.batch.context, 3).samples[0], f"{run}_forecast")
    terms = golden.model.loss_given(golden.batch, mask)
    torch.testing.assert_close(terms["mse"], golden[f"{run}_mse"])
    torch.testing.assert_close(terms["total"], golden[f"{run}_loss"])
    if golden.version == "v2":
        weighted = golden[f"{run}_loss"] - golden[f"{run}_mse"]
        expected = weighted / golden.config["decouple_beta"]
        torch.testing.assert_close(terms["decoupling"], expected, rtol=1e-5, atol=1e-6)
    order = golden.order[golden.version]
    golden.check_gradients(terms["total"], f"{run}_grad_norms", order)


def test_the_published_cell_with_layer_normalisation():
    check_against_twin("predrnn")


def test_both_versions_in_one_file_are_told_apart(golden):
    both = {f"{v}.{n}": a for v in VERSIONS for n, a in Golden("predrnn", f"{v}.").arrays.items()}
    model = from_arrays("predrnn", both, golden.config | {"version": golden.version})
    assert all(map(torch.equal, model.parameters(), golden.model.parameters()))
    assert (model.adapter is not None) == (golden.version == "v2")
    assert from_arrays("predrnn", both, golden.config).adapter is not None


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda arrays: {"net_param": arrays},
        lambda arrays: {"state_dict": {f"model.{name}": a for name, a in arrays.items()}},
    ],
)
def test_checkpoints_as_published(golden, wrapped):
    model = from_arrays("predrnn", wrapped(golden.arrays), golden.config)
    assert all(map(torch.equal, model.parameters(), golden.model.parameters()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays, config: arrays.pop("conv_last.weight"), "lack the tensor conv_last.weight"),
        (lambda arrays, config: arrays.update(more=torch.zeros(2)), "does not have: more"),
        (lambda arrays, config: config.update(filter=3), "should have shape"),
        (lambda arrays, config: config.update(hidden=[5, 5, 4]), "the same width"),
        (lambda arrays, config: config.pop("patch"), "should set 'patch'"),
        (lambda arrays, config: config.update(frame_size=[16]), "needs images"),
    ],
)
def test_weights_that_do_not_fit(golden, change, message):
    change(golden.arrays, golden.config)
    with pytest.raises(InputError, match=message):
        from_arrays("predrnn", golden.arrays, golden.config)


def test_parallel_increments_are_the_most_coupled():
    spec = FrameSpec(channels=("c",), space=(8, 4), context=2, horizon=2, value_range=(0.0, 1.0))
    generator = seeded(1)
    model = PredRNN(spec, layers=1, width=3, decoupling_weight=0.5, generator=generator)
    batch = Batch.of(torch.rand(2, 4, 1, 8, 4, generator=generator), 2)
    terms = {name: term.detach() for name, term in model.loss(batch, generator=seeded(2)).items()}
    assert 0 < float(terms["decoupling"]) < 1
    torch.testing.assert_close(terms["total"], terms["mse"] + 0.5 * terms["decoupling"])
    cell = model.cells[0]
    with torch.no_grad():  # the gates of the memory become those of the cell
        cell.input_gates[0].weight[9:18] = cell.input_gates[0].weight[:9]
        cell.hidden_gates[0].weight.zero_()
        cell.memory_gates[0].weight.zero_()
    coupled = model.loss(batch, generator=seeded(2))["decoupling"]
    torch.testing.assert_close(coupled, torch.ones(()))
