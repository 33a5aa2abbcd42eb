"""Recurrent networks of SVG: frame predictor, posterior and prior."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.nn.gaussian import DiagonalGaussian, widened
from statecast.nn.recurrent import LSTMState, run_lstm


class EmbeddedLSTM(nn.Module):
    """A linear layer, then an LSTM; a state of None stands for zeros."""

    def __init__(self, inputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, hidden)
        self.lstm = nn.LSTM(hidden, hidden, layers, batch_first=True)

    def run(
        self, inputs: Float[Tensor, "row time input"], state: LSTMState | None
    ) -> tuple[Float[Tensor, "row time unit"], LSTMState]:
        """Outputs for inputs in order, and the state after the last."""
        return run_lstm(self.lstm, self.embed(inputs), state)


class FramePredictor(EmbeddedLSTM):
    """Network from the code of a frame and the noise of the next to the code of the next."""

    def __init__(self, code_size: int, noise_size: int, hidden: int, layers: int) -> None:
        super().__init__(code_size + noise_size, hidden, layers)
        self.output = nn.Linear(hidden, code_size)

    def forward(
        self,
        codes: Float[Tensor, "row time code"],
        noise: Float[Tensor, "row time noise"],
        state: LSTMState | None = None,
    ) -> tuple[Float[Tensor, "row time code"], LSTMState]:
        """Code of the next frame after each, and the state after the last."""
        outputs, state = self.run(torch.cat([codes, noise], dim=-1), state)
        return torch.tanh(self.output(outputs)), state


class GaussianLSTM(EmbeddedLSTM):
    """Network from codes of frames to a distribution of noise given all codes so far."""

    def __init__(self, code_size: int, noise_size: int, hidden: int, layers: int) -> None:
        super().__init__(code_size, hidden, layers)
        self.mean = nn.Linear(hidden, noise_size)
        self.log_variance = nn.Linear(hidden, noise_size)

    def forward(
        self, codes: Float[Tensor, "row time code"], state: LSTMState | None = None
    ) -> tuple[DiagonalGaussian, LSTMState]:
        """The distribution after each code, (row, time, noise), and the state after the last."""
        outputs, state = self.run(codes, state)
        std = torch.exp(0.5 * widened(self.log_variance(outputs)))
        return DiagonalGaussian(widened(self.mean(outputs)), std), state
