"""Run recurrent layers over sequences and over single steps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

LSTMState = tuple[Tensor, Tensor]  # hidden state and cell, each (layer, row, unit)


def run_lstm(
    lstm: nn.LSTM, inputs: Float[Tensor, "row time input"], state: LSTMState | None = None
) -> tuple[Float[Tensor, "row time unit"], LSTMState]:
    """Outputs and last state of batch-first layers; a state of None stands for zeros.

    A single step calls the cells directly: PyTorch prepares weights for each sequence, which takes
    several times as long as the step.
    """
    if inputs.shape[1] != 1:
        outputs, after = lstm(inputs, state)
        return outputs, after
    if state is None:
        zeros = inputs.new_zeros(lstm.num_layers, len(inputs), lstm.hidden_size)
        state = (zeros, zeros)
    found, hidden = [], inputs[:, 0]
    for weights, *before in zip(lstm.all_weights, *state, strict=True):
        found.append(torch.lstm_cell(hidden, before, *weights))
        hidden = found[-1][0]
    states, cells = zip(*found, strict=True)
    return hidden.unsqueeze(1), (torch.stack(states), torch.stack(cells))
