"""The moving picture of README: `python docs/images/moving_picture.py` writes it beside itself."""

from pathlib import Path

import statecast
from statecast.data.base import seeded_generator
from statecast.plots.animations import animate_forecast

HERE = Path(__file__).parent


def main() -> None:
    """Observed digits, what came, and sampled futures of the shipped model."""
    batch = statecast.example("digits").select(slice(0, 3))
    forecast = statecast.load("digits").forecast(
        batch.context, len(batch.target), samples=20, generator=seeded_generator(3)
    )
    animate_forecast(batch.context, forecast, HERE / "digits.gif", target=batch.target, sequences=3)


if __name__ == "__main__":
    main()
