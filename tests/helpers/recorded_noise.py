"""Noise that keeps what it draws."""

from statecast.nn.noise import Noise


class RecordedNoise(Noise):
    """Noise whose draws, (sample, batch, *size) each, are kept in `recorded` to be replayed."""

    def draw(self, *size, like):
        rows = super().draw(*size, like=like)
        drawn = rows.unflatten(0, (self.batch, self.samples)).transpose(0, 1)
        self.recorded = [*getattr(self, "recorded", []), drawn]
        return rows
