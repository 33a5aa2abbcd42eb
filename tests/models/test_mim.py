"""MIM: it gives what the published codes gave, number by number, and what it does by itself."""

import math

import pytest
import torch
from helpers.recurrent_twin import Golden, check_against_twin
from helpers.seeds import seeded

from statecast.frames import Batch, FrameSpec
from statecast.models.mim import MIM
from statecast.models.patch_rnn import reversed_in_time
from statecast.nn.patches import fold_patches, unfold_patches

SPEC = FrameSpec(channels=("u", "v"), space=(6, 10), context=3, horizon=2)
RUNS = {  # of the golden files: horizon frames that are true inputs, None where recorded
    "train_free": [[0, 0], [0, 0]],
    "train_teacher": [[1, 1], [1, 1]],
    "train_mixed": None,
}


@pytest.fixture
def original():
    return Golden("mim_original")


@pytest.fixture
def port():
    return Golden("mim")


def mask_of(golden, run):
    bits = golden["mixed_mask_bits"] if RUNS[run] is None else RUNS[run]
    return golden.mask(bits)


def channels_first(golden, *keys):
    return [golden[key].movedim(-1, 1) for key in keys]


# The original


def test_cells_of_the_original(original):
    first, block = original.model.first, original.model.blocks[0]
    x, h, c, m = channels_first(original, "stlstm_x", "cell_h", "cell_c", "cell_m")
    found = first(x, h, c, m)
    for value, name in zip(found[:3], "hcm", strict=True):
        original.close(value.movedim(1, -1), f"stlstm_{name}_next")
    x, d, s = channels_first(original, "cell_x", "cell_d", "cell_s")
    for value, name in zip(block(x, h, c, m, (d, s)), "hcms", strict=True):
        original.close(value.movedim(1, -1), f"mimblock_{name}_next")
    for value, name in zip(original.model.difference_cells[0](x, h, c), "hc", strict=True):
        original.close(value.movedim(1, -1), f"mimn_{name}_next")


@pytest.mark.parametrize("run", ["train_free", "train_mixed", "train_mixed_reversed"])
def test_training_of_the_original(original, run):
    batch = reversed_in_time(original.batch) if "reversed" in run else original.batch
    mask = mask_of(original, run.removesuffix("_reversed"))
    original.close(original.outputs(mask, batch), f"{run}_outputs")
    terms = original.model.loss_given(batch, mask)
    torch.testing.assert_close(terms["total"], original[f"{run}_l2_loss"])
    torch.testing.assert_close(terms["total"] / len(batch), original[f"{run}_displayed_loss"])
    half_count = original[f"{run}_outputs"].numel() / 2
    torch.testing.assert_close(terms["mse"], original[f"{run}_l2_loss"] / half_count)
    original.check_gradients(terms["total"], f"{run}_grad_norms", original.order)


def test_forecast_of_the_original(original):
    forecast = original.model.forecast(original.batch.context, 3)
    original.close(forecast.samples[0], "forecast")


def test_first_weights_of_the_original():
    model = MIM(SPEC, patch=2, layers=3, width=6, generator=seeded(1))
    bounds = {
        model.first.input_gates[0].weight: math.sqrt(6 / (8 + 24)),
        model.blocks[1].hidden_gates[0].weight: math.sqrt(6 / (6 + 18)),
        model.blocks[0].stationary_cell.input_gates[0].weight: math.sqrt(6 / (6 + 24)),
        model.blocks[0].fusion.weight: math.sqrt(6 / 18),
        model.difference_cells[1].input_gates[0].weight: 1e-3,
        model.difference_cells[0].memory_peephole: math.sqrt(6 / (3 * (5 + 12))),
        model.blocks[0].stationary_cell.output_peephole: math.sqrt(6 / (3 * (5 + 6))),
        model.output.weight: math.sqrt(6 / (6 + 8)),
    }
    for weight, bound in bounds.items():
        assert 0.8 * bound < float(weight.detach().abs().max()) <= bound
    assert not any(bool(w.any()) for n, w in model.named_parameters() if n.endswith(".0.bias"))


# OpenSTL's port


def test_cells_of_the_port(port):
    model = port.model
    port.close(fold_patches(port.batch.values, 2).movedim(2, -1), "patched")
    x, h, c, m = (port[f"stlstm_{name}"] for name in "xhcm")
    for value, name in zip(model.first(x, h, c, m)[:3], "hcm", strict=True):
        port.close(value, f"stlstm_{name}_next")
    x, d, s = port["cell_x"], port["cell_d"], port["mimblock_s_memory"]
    zeros = torch.zeros_like(x)
    for start, key in (((h, c), "next"), ((zeros, zeros), "first")):
        for value, name in zip(model.difference_cells[0](x, *start), "hc", strict=True):
            port.close(value, f"mimn_{name}_{key}")
    block = model.blocks[0]
    for value, name in zip(block.stationary_cell(d, c, s), "hc", strict=True):
        port.close(value, f"mims_{name}_next")
    keys = [*(f"mimblock_{name}_next" for name in "hcm"), "mimblock_s_memory_next"]
    for value, key in zip(block(x, h, c, m, (d, s)), keys, strict=True):
        port.close(value, key)


@pytest.mark.parametrize("run", RUNS)
def test_training_of_the_port(port, run):
    mask = mask_of(port, run)
    port.close(port.outputs(mask), f"{run}_outputs")
    terms = port.model.loss_given(port.batch, mask)
    torch.testing.assert_close(terms["total"], port[f"{run}_loss"])
    port.check_gradients(terms["total"], f"{run}_grad_norms", port.order)


def test_training_of_the_port_backward_in_time(port):
    terms = port.model.loss_given(reversed_in_time(port.batch), mask_of(port, "train_mixed"))
    torch.testing.assert_close(terms["total"], port["train_mixed_reversed_loss"])


def test_gradients_through_the_stationary_memory(port):
    port.model.detach_stationary = False
    terms = port.model.loss_given(port.batch, mask_of(port, "train_free"))
    port.check_gradients(terms["total"], "train_free_grad_norms_without_detach", port.order)


def test_forecasts_of_the_port_do_not_depend_on_earlier_ones(port):
    for _ in range(2):
        port.close(port.model.forecast(port.batch.context, 3).samples[0], "forecast")


def test_a_memory_that_is_never_reset_gives_what_the_port_leaks(port):
    mask = mask_of(port, "train_free")
    patches = fold_patches(port.batch.values, 2)
    _, states = port.model.predict_window(patches, mask)
    zeros = port.model.initial_state(patches[:, 0])
    port.model.initial_state = lambda _: zeros._replace(stationary=states[-1].stationary)
    leaked = port.model.predict_window(patches, mask)[0]
    port.close(unfold_patches(leaked, 2)[:, -3:], "forecast_second_call_leaking")


def test_the_port_with_layer_normalisation():
    check_against_twin("mim")


# Either


def test_the_reversed_clip_has_the_same_true_frames():
    model = MIM(SPEC, patch=2, layers=2, width=3, sampling_end=2)
    batch = Batch.of(torch.randn(8, 6, 2, 6, 10, generator=seeded(3)), 3)
    found = model.reversed_loss(batch, generator=seeded(7))["total"]
    assert torch.equal(found, model.loss(reversed_in_time(batch), generator=seeded(7))["total"])
    assert not torch.equal(found, model.loss(batch, generator=seeded(7))["total"])


@pytest.mark.parametrize("variant", ["original", "openstl"])
def test_unknown_values_do_not_count(variant):
    model = MIM(SPEC, patch=2, layers=2, width=3, variant=variant, generator=seeded(7))
    values = torch.rand(2, 5, 2, 6, 10, generator=seeded(1))
    known = torch.rand(values.shape, generator=seeded(2)) < 0.7
    gaps = Batch.of(values.masked_fill(~known, torch.nan), 3, mask=known)
    filled = Batch.of(values.masked_fill(~known, 0.0), 3)
    mask = torch.ones(2, 3, dtype=torch.bool)
    patches = fold_patches(filled.values, 2)
    squares = (unfold_patches(model.predict_window(patches, mask)[0], 2) - values[:, 1:]).square()
    terms = model.loss_given(gaps, mask)
    torch.testing.assert_close(terms["mse"], squares[known[:, 1:]].mean())
    total = squares[known[:, 1:]].sum() / 2 if variant == "original" else terms["mse"]
    torch.testing.assert_close(terms["total"], total)
