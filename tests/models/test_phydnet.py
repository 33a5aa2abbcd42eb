"""PhyDNet: both published versions number by number, and what ours adds to them."""

import pytest
import torch
from helpers.golden import Golden
from helpers.seeds import seeded

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.phydnet.cells import moment_matrix
from statecast.models.phydnet.model import PhyDNet, teacher_forcing_ratio
from statecast.nn.conv_lstm import ConvLSTMState
from statecast.runs.official.phydnet import published_names, read_tensors
from statecast.runs.official.settings import Settings

VERSIONS = {"released": "phydnet", "paper": "phydnet_2020"}
SPEC = FrameSpec(channels=("a",), space=(8, 12), context=3, horizon=2, value_range=(0.0, 1.0))
SMALL = {"state_channels": 16, "residual_hidden": (6,), "kernel_size": 3, "groups": 2}


class GoldenPhyDNet(Golden):
    def __init__(self, version):
        super().__init__(VERSIONS[version])
        self.version = version
        context, target = (self[name].float() / 255 for name in ("context", "target"))
        self.frames, self.context = torch.cat([context, target], dim=1), context.shape[1]

    def check_terms(self, mode, name):
        """Squared error of each step, and the moment loss."""
        observed = self.frames.shape[1] - 1 if mode == "teacher" else self.context
        forecast = self.model.training_forecast(self.frames, observed)
        errors = (forecast - self.frames[:, 1:]).square().mean(dim=(0, 2, 3, 4))
        self.check(errors, f"{name}_mse_terms")
        self.check(self.model.physical.moment_losses().sum(), f"{name}_moment")
        return forecast, errors


@pytest.fixture(params=VERSIONS)
def golden(request):
    return GoldenPhyDNet(request.param)


@pytest.fixture
def released():
    return GoldenPhyDNet("released")


@pytest.fixture
def paper():
    return GoldenPhyDNet("paper")


def small(spec=SPEC, **options):
    return PhyDNet(spec, **(SMALL | options), generator=seeded())


def frames(batch=3, length=SPEC.length, seed=2):
    return torch.rand(batch, length, *SPEC.frame_shape, generator=seeded(seed))


# The published code


@torch.no_grad()
def test_codec_of_the_released_version(released):
    codec, known = released.model.codec, released.expected
    released.check(codec.encoder(released.frames[:, 0]), "part_encoder_E")
    inputs = codec.encode(released.frames[:, 0])
    released.check(inputs.physical, "part_encoder_Ep")
    released.check(inputs.residual, "part_encoder_Er")
    states = inputs._replace(physical=known["cell_x"], residual=known["cell_x"])
    physical, residual = codec.branch_maps(states)
    released.check(physical, "part_decoder_Dp")
    released.check(residual, "part_decoder_Dr")
    released.check(codec.decode(known["cell_x"], ()), "part_decoder_D_logits")


@torch.no_grad()
def test_codec_of_the_paper(paper):
    codec = paper.model.codec
    inputs = codec.encode(paper.frames[:, 0])
    paper.check(inputs.physical, "part_encoder")
    assert len(inputs.skips) == 6
    for index, skip in enumerate(inputs.skips):
        paper.check(skip.mean(dim=1), f"part_skip{index}_mean_over_channels")
    paper.check(codec.decode(paper.expected["cell_x"], inputs.skips), "part_decoder_logits")


@torch.no_grad()
def test_cells(golden):
    known, cell = golden.expected, golden.model.physical
    inputs, hidden = known["cell_x"], known["cell_h"]
    predicted = cell.predict(hidden)
    golden.check(predicted, "phycell_prediction")
    golden.check(cell.gain(inputs, hidden, predicted), "phycell_gate")
    golden.check(cell(inputs, hidden), "phycell_next")
    found = golden.model.residual.layer(0, inputs, ConvLSTMState(known["lstm_h"], known["lstm_c"]))
    golden.check(found.hidden, "lstm_h_next")
    golden.check(found.cell, "lstm_c_next")


@torch.no_grad()
def test_moments(golden, released):
    golden.check(golden.model.physical.moment_losses(), "moment_loss_per_channel")
    released.check(released.model.physical.moments(), "moments")
    released.check(moment_matrix(7).float(), "moment_matrix_1d")


@torch.no_grad()
def test_moments_of_a_model_that_was_cast(released):
    released.check(released.model.float().physical.moment_losses(), "moment_loss_per_channel")


@torch.no_grad()
def test_finite_differences_have_no_moment_loss(released):
    cell, ideal = released.model.physical, released.expected["ideal_filters"]
    cell.filters.weight.copy_(ideal.unsqueeze(1).expand_as(cell.filters.weight))
    assert float(cell.moment_losses().max()) < 1e-8
    # Filter 7 i + j is the derivative of order i down and j across: here of 3 x² y, once each.
    y, x = torch.meshgrid(torch.arange(-3.0, 4.0), torch.arange(-3.0, 4.0), indexing="ij")
    derivative = (ideal[7 * 1 + 1] * 3 * (x + 2) ** 2 * y).sum()
    assert float(derivative) == pytest.approx(12, abs=1e-3)


@pytest.mark.parametrize("mode", ["free", "teacher"])
def test_training(golden, mode):
    forecast, _ = golden.check_terms(mode, f"train_{mode}")
    golden.check(forecast, f"train_{mode}_predictions")
    model = golden.model
    terms = model.loss_terms(golden.frames, golden.context, teacher_forcing=mode == "teacher")
    errors = golden.expected[f"train_{mode}_mse_terms"]
    first = golden.context - 1
    torch.testing.assert_close(terms["context"], errors[:first].sum(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(terms["forecast"], errors[first:].sum(), atol=1e-5, rtol=1e-5)
    total = terms["context"] + terms["forecast"] + model.moment_weight * terms["moment"]
    golden.check(total, f"train_{mode}_total")
    total.backward()
    weights = dict(model.named_parameters())
    ours = {theirs: name for name, theirs in published_names(model).items()}
    norms = [weights[ours[name]].grad.norm() for name in golden.config["parameter_order"]]
    golden.check(torch.stack(norms), f"train_{mode}_grad_norms")
    assert len(norms) == len(weights)


def test_terms_after_a_step_of_adam(golden):
    model, settings = golden.model, golden.config["adam"]
    optimizer = torch.optim.Adam(
        model.parameters(), settings["lr"], tuple(settings["betas"]), settings["eps"]
    )
    model.teacher_forcing = 0.0
    batch = Batch.of(golden.frames, golden.context, channels=model.spec.channels)
    model.loss(batch)["total"].backward()
    optimizer.step()
    golden.check_terms("free", "after_adam_step")


@torch.no_grad()
def test_states_and_forecasts(golden):
    model, context = golden.model, golden.frames[:, : golden.context]
    _, state = model.feed(context[:, :-1])
    golden.check(state.physical, "state_phycell")
    for layer, (hidden, cell) in enumerate(state.residual):
        golden.check(hidden, f"state_lstm_h{layer}")
        golden.check(cell, f"state_lstm_c{layer}")
    golden.check(model.forecast(context, 3).samples[0], "forecast")
    for branch in ("physical", "residual"):
        found = model.branch_view(branch).forecast(context, 3).samples[0]
        golden.check(found, f"forecast_{branch}_only")
    golden.check(model.forecast(context, 3).samples[0], "forecast")  # a view leaves it as it was


# Published weights


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_a_state_dict_is_its_own_configuration(version, prefix):
    options = {"state_channels": 32, "residual_hidden": (6, 5), "kernel_size": 5, "width": 16}
    model = PhyDNet(SPEC, version=version, **options, generator=seeded())
    own = model.state_dict()
    published = {f"{prefix}{theirs}": own[name] for name, theirs in published_names(model).items()}
    if prefix:  # as OpenSTL has it: parts a second time, and constants of the moment loss
        published |= {"phycell.cell_list.0.F.conv1.bias": own["physical.filters.bias"]}
    shape = [3, len(SPEC.channels), *SPEC.space]
    beside = {"in_shape": shape, "pre_seq_length": 3, "aft_seq_length": 2}
    found = read_tensors(published, Settings("model_param.json", beside)).model()
    context = frames(length=3)
    assert torch.equal(found.forecast(context).samples, model.forecast(context).samples)


def test_a_state_dict_of_another_model_is_refused(golden):
    with pytest.raises(InputError, match="not weights of PhyDNet"):
        read_tensors({"a": torch.zeros(3)}, Settings("model_param.json", {}))
    tensors = {k: torch.from_numpy(v) for k, v in golden.weights.items()}
    del tensors["phycell.cell_list.0.F.conv1.weight"]
    with pytest.raises(InputError, match=r"lack the convolution .*F\.conv1\.weight"):
        read_tensors(tensors, Settings("model_param.json", {}))


# What is ours


def test_teacher_forcing_ends_when_it_did():
    published = {"initial": 1.0, "decay": 0.003, "interval": 625}
    found = [teacher_forcing_ratio(625 * epoch, **published) for epoch in (0, 1, 333, 334, 2000)]
    assert found == pytest.approx([1, 0.997, 0.001, 0, 0])
    assert teacher_forcing_ratio(624, **published) == 1


def test_teacher_forcing_is_drawn_once_per_batch_at_the_ratio_of_the_step():
    model, batch = small(forcing_decay=0.1, forcing_interval=10), Batch.of(frames(), 3)
    with torch.no_grad():
        free, forced = (
            float(model.loss_terms(frames(), 3, teacher_forcing=on)["forecast"])
            for on in (False, True)
        )
        assert free != forced

        def found(step, seeds):
            losses = (
                model.loss(batch, step=step, generator=seeded(seed))["forecast"] for seed in seeds
            )
            return [{free: False, forced: True}[float(loss)] for loss in losses]

        assert found(0, range(3)) == [True] * 3
        assert found(100, range(3)) == [False] * 3
        drawn = [bool(torch.rand((), generator=seeded(seed)) < 0.3) for seed in range(9)]
        assert found(70, range(9)) == drawn
        assert set(drawn) == {False, True}
    # The default options of the loss are the first step.
    assert float(model.loss(batch)["forecast"].detach()) == forced


def test_a_context_of_one_frame_has_no_error_of_its_own():
    spec = FrameSpec(channels=("a",), space=(8, 12), context=1, horizon=4, value_range=(0.0, 1.0))
    model = small(spec, teacher_forcing=0.0)
    terms = model.loss(Batch.of(frames(), 1))
    assert float(terms["context"].detach()) == 0
    found = model.forecast(frames()[:, :1], 4).samples[0]
    expected = (found - frames()[:, 1:]).square().mean() * 4
    torch.testing.assert_close(terms["forecast"].detach(), expected)


def test_errors_are_means_over_known_values():
    mask = torch.rand(3, 5, *SPEC.frame_shape, generator=seeded(3)) > 0.2
    model, values = small(), frames().masked_fill(~mask, 0.0)
    found = model.loss_terms(values, 3, teacher_forcing=True, mask=mask)["forecast"]
    errors = (model.training_forecast(values, 4) - values[:, 1:]).square()[:, 2:]
    torch.testing.assert_close(found, 2 * errors[mask[:, 3:]].mean())


def test_branches_are_known():
    with pytest.raises(InputError, match="joint, physical, residual, got 'both'"):
        small().branch_view("both")
