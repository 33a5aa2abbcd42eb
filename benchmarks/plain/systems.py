"""SYSTEMS: plain losses and forecasts of systems, by the name of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from plain import (
    ddpae,
    drnet,
    dsvae,
    kvae,
    mcnet,
    phydnet,
    pixel_motion,
    pknl,
    recurrent,
    savp,
    struct_vrnn,
    svg,
    td_vae,
)
from plain.given import Given
from plain.layers import Weights
from torch import Tensor

Loss = Callable[[Weights, Tensor, Given], Tensor]  # of frames (window, time, channel, y, x)
Forecast = Callable[[Weights, Tensor, int, Given], Tensor]  # (row, time, …) of a context


class System(NamedTuple):
    """The losses of the updates of a step by name, in their order, and the forecast."""

    losses: Mapping[str, Loss]
    forecast: Forecast


SYSTEMS = {
    "svg": System({"model": svg.loss}, svg.forecast),
    "phydnet": System({"model": phydnet.loss}, phydnet.forecast),
    "mim": System(
        {"model": recurrent.loss_of(recurrent.mim, halved=True)},
        recurrent.forecast_of(recurrent.mim),
    ),
    "predrnn": System(
        {"model": recurrent.loss_of(recurrent.predrnn)}, recurrent.forecast_of(recurrent.predrnn)
    ),
    "convlstm": System(
        {"model": recurrent.loss_of(recurrent.convlstm)}, recurrent.forecast_of(recurrent.convlstm)
    ),
    "cdna": System({"model": pixel_motion.cdna_loss}, pixel_motion.cdna_forecast),
    "sv2p": System({"model": pixel_motion.sv2p_loss}, pixel_motion.sv2p_forecast),
    "savp": System(
        {"discriminator": savp.discriminator_loss, "generator": savp.generator_loss},
        savp.forecast,
    ),
    "struct_vrnn": System({"model": struct_vrnn.loss}, struct_vrnn.forecast),
    "drnet": System(
        {"discriminator": drnet.discriminator_loss, "autoencoder": drnet.autoencoder_loss},
        drnet.forecast,
    ),
    "mcnet": System({"model": mcnet.loss}, mcnet.forecast),
    "pknl": System({"model": pknl.loss}, pknl.forecast),
    "ddpae": System({"model": ddpae.loss}, ddpae.forecast),
    "dsvae": System({"model": dsvae.loss}, dsvae.forecast),
    "kvae": System({"model": kvae.loss}, kvae.forecast),
    "td_vae": System({"model": td_vae.loss}, td_vae.forecast),
}
