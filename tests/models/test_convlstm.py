"""ConvLSTM: OpenSTL's equations, and Shi's peepholes."""

import torch
from helpers.recurrent_twin import check_against_twin

from statecast.frames import FrameSpec
from statecast.models.convlstm import ConvLSTM
from statecast.nn.st_lstm import ConvLSTMCell, Gates


def test_equations_of_the_published_port():
    check_against_twin("convlstm")


def test_peepholes_and_forget_bias_at_one_point():
    """On a grid of one point, a cell of width 1 is an LSTM with peepholes of numbers."""
    cell = ConvLSTMCell(1, 1, Gates(kernel=1, grid=(1, 1)), peepholes=True, forget_bias=0.5)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in cell.parameters():
            weight.normal_(generator=generator)
    x, h, c = torch.randn(3, 2, 1, 1, 1, generator=generator)
    w, u = cell.input_gates[0].weight.flatten(), cell.hidden_gates[0].weight.flatten()
    (p_i, p_f), q = cell.memory_peephole.flatten(), cell.output_peephole.flatten()
    i, g, f, o = (w[k] * x + u[k] * h for k in range(4))
    expected = (f + p_f * c + 0.5).sigmoid() * c + (i + p_i * c).sigmoid() * g.tanh()
    hidden, found = cell(x, h, c)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(hidden, (o + q * expected).sigmoid() * expected.tanh())


def test_frames_of_any_units_and_shape():
    spec = FrameSpec(channels=("sst",), space=(6, 10), context=2, horizon=2, unit="K")
    generator = torch.Generator().manual_seed(2)
    model = ConvLSTM(
        spec, patch=2, layers=2, width=3, peepholes=True, normalise="none", generator=generator
    )
    model.normaliser.method = "standard"
    model.normaliser.location.fill_(290.0)
    model.normaliser.scale.fill_(4.0)
    forecast = model.forecast(290 + 4 * torch.randn(3, 2, 1, 6, 10, generator=generator), 3)
    assert 280 < float(forecast.samples.min()) < float(forecast.samples.max()) < 300
