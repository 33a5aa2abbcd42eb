"""ConvLSTM: OpenSTL's equations, and Shi's peepholes."""

import torch
from helpers.recurrent_twin import check_against_twin

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
