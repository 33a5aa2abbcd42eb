"""MODELS: every model class, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from statecast.registry import Registry

if TYPE_CHECKING:
    from statecast.models.base import Forecaster

MODELS: Registry[Forecaster] = Registry(
    "statecast.models",
    {
        "srvp": "statecast.models.srvp:SRVP",
        "separable": "statecast.models.separable:Separable",
        "svg": "statecast.models.svg.model:SVG",
        "convlstm": "statecast.models.convlstm:ConvLSTM",
        "predrnn": "statecast.models.predrnn:PredRNN",
        "mim": "statecast.models.mim:MIM",
        "phydnet": "statecast.models.phydnet.model:PhyDNet",
        "drnet": "statecast.models.drnet.model:DrNet",
        "dsvae": "statecast.models.dsvae.model:DSVAE",
        "pknl": "statecast.models.pknl.model:PKnl",
        "mcnet": "statecast.models.mcnet.model:MCnet",
        "ddpae": "statecast.models.ddpae.model:DDPAE",
        "kvae": "statecast.models.kvae.model:KVAE",
        "td_vae": "statecast.models.td_vae.model:TDVAE",
        "cdna": "statecast.models.pixel_motion.cdna:CDNA",
        "sv2p": "statecast.models.pixel_motion.sv2p:SV2P",
        "savp": "statecast.models.savp.model:SAVP",
        "struct_vrnn": "statecast.models.struct_vrnn.model:StructVRNN",
        "persistence": "statecast.models.baselines:Persistence",
        "climatology": "statecast.models.baselines:Climatology",
        "damped_persistence": "statecast.models.damped_persistence:DampedPersistence",
        "lagrangian_persistence": "statecast.models.lagrangian_persistence:LagrangianPersistence",
        "linear": "statecast.models.baselines:Linear",
        "analogue": "statecast.models.analogue:Analogue",
        "dmd": "statecast.models.dmd:DMD",
    },
)
BASELINES = (  # the models that `evaluate` can score beside a run
    "persistence",
    "climatology",
    "damped_persistence",
    "lagrangian_persistence",
    "linear",
    "analogue",
    "dmd",
)
