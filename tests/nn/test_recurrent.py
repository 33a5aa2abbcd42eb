"""Recurrent layers step by step are recurrent layers over a sequence."""

import torch
from torch import nn

from statecast.nn.recurrent import run_lstm


def test_single_steps_are_those_of_a_sequence():
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 5, 2, batch_first=True)
    inputs = torch.randn(4, 6, 3)
    wanted, last = lstm(inputs)
    state, found = None, []
    for time in range(6):
        shown, state = run_lstm(lstm, inputs[:, time : time + 1], state)
        found.append(shown)
    torch.testing.assert_close(torch.cat(found, dim=1), wanted)
    torch.testing.assert_close(state, last)
    torch.testing.assert_close(run_lstm(lstm, inputs[:, 2:], None)[0], lstm(inputs[:, 2:])[0])
