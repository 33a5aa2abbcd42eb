"""Tables of a recipe for the data, training and evaluation in published settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from statecast.data.base import DataSource
from statecast.runs.official.settings import Official, Settings

Table = dict[str, Any]
DIGITS_EPOCH = 200_000  # sequences that Separable's code calls an epoch of moving digits
WAVES, WAVE_FRAMES = 240, 64  # training sequences, and frames of each that windows reach
WAVE_STRIDE = 2  # frames of the simulation per frame kept (`downsample`)
IMAGES = ["psnr", "ssim", "mse"]
POINTS = ["mse", "rmse", "mae"]


class Guess(NamedTuple):
    """The tables of a recipe that published settings determine."""

    published: str  # name of the data set
    data: Table  # empty if statecast cannot make the data
    train: Table
    evaluate: Table
    length: Callable[[DataSource], Table]  # options of training that depend on the data


def guess_tables(official: Official) -> Guess:
    """Data and training that the settings of a published checkpoint describe."""
    if official.name == "separable":
        return separable_tables(official)
    return srvp_tables(official) if official.name == "srvp" else optimiser_tables(official)


def optimiser_tables(official: Official) -> Guess:
    """Other systems: the options of the optimiser, if they are published with the weights."""
    config = official.settings
    train: Table = {"precision": "float32"}
    if "lr" in config:
        train["learning_rate"] = config.number("lr")
    if "batch_size" in config:
        train["batch_size"] = config.whole("batch_size")
    if "beta1" in config:
        second = config.number("beta2") if "beta2" in config else 0.999
        train["adam_betas"] = [config.number("beta1"), second]
    published = config.get("dataset", config.get("dataname", "of these weights"))
    return Guess(str(published), {}, train, {"metrics": IMAGES}, lambda _: {})


def srvp_tables(official: Official) -> Guess:
    """SRVP counts iterations, and lowers the learning rate linearly after a burn-in."""
    config, context = official.settings, official.spec.context
    single = bool(config.get("deterministic", False))
    data: Table = {}
    if config["dataset"] == "smmnist":
        data = {
            "name": "moving_digits",
            "stochastic": not single,
            "digits": config.whole("ndigits"),
            "max_speed": config.whole("max_speed"),
            "frame_size": official.spec.space[0],
            "context": context,
            "horizon": official.spec.horizon,
            "test_horizon": 95 if single else 20,
            "test_videos": 5000,
        }
        if isinstance(longer := config.get("seq_len_test"), int) and longer > context:
            data["validation_horizon"] = longer - context
    decay_start = config.whole("lr_scheduling_burnin", 0)
    samples = 1 if single else 100
    train = {
        "steps": decay_start + config.whole("lr_scheduling_n_iter", 0),
        "batch_size": config.whole("batch_size"),
        "learning_rate": config.number("lr"),
        "schedule": "linear",
        "decay_start": decay_start,
        "validate_every": 20_000,
        "validation_windows": 400,
        "validation_samples": samples,
        "validation_metric": "psnr",
        "validation_reduction": "best",
        "checkpoint_every": 5000,
        "precision": "float32",
        "seed": seed_of(config),
    }
    evaluate = {"samples": samples, "metrics": IMAGES if single else [*IMAGES, "crps"]}
    return Guess(str(config["dataset"]), data, train, evaluate, lambda _: {})


def separable_tables(official: Official) -> Guess:
    """Separable counts epochs, and lowers the learning rate at some of them."""
    config = official.settings
    train = {
        "batch_size": config.whole("batch_size"),
        "learning_rate": config.number("lr"),
        "adam_betas": [config.number("beta1"), config.number("beta2")],
        "validate_every": 5000,
        "validation_windows": 400,
        "checkpoint_every": 5000,
        "precision": "float32",
    }

    def length(source: DataSource) -> Table:
        windows = epoch_of(config) or len(source.windows("train"))
        per_epoch = max(1, round(windows / config.whole("batch_size")))
        timed: Table = {"steps": config.whole("epochs") * per_epoch}
        if not config.flag("scheduler"):
            return timed
        drops = config["scheduler_milestones"]
        if not isinstance(drops, list) or not all(type(epoch) is int for epoch in drops):
            raise config.unfit("scheduler_milestones", "a list of whole numbers")
        return timed | {
            "schedule": "milestones",
            "milestones": [epoch * per_epoch for epoch in drops],
            "decay_factor": config.number("scheduler_decay"),
        }

    images = len(official.spec.space) == 2 and not str(config["data"]).startswith("wave")
    evaluate = {"samples": 1, "metrics": IMAGES if images else POINTS}
    return Guess(str(config["data"]), separable_data(official), train, evaluate, length)


def separable_data(official: Official) -> Table:
    """The data set of published settings; empty if statecast cannot make it."""
    config = official.settings
    windows = {"context": official.spec.context, "horizon": official.spec.horizon}
    if config["data"] == "mnist":
        digits = {"stochastic": False, "digits": config.whole("n_object"), "max_speed": 4}
        lengths = {"test_horizon": 95, "test_videos": 5000}
        return {"name": "moving_digits", **digits, **windows, **lengths}
    if config["data"] in ("wave", "wave_partial") and config["downsample"] == WAVE_STRIDE:
        points = config.whole("n_wave_points") if config["data"] == "wave_partial" else None
        waves = {"points": points, "test_horizon": 40, "protocol": "paper"}
        return {"name": "wave_equation", **waves, **windows}
    return {}


def epoch_of(config: Settings) -> int | None:
    """Windows of a published epoch; None if they depend on files."""
    if config["data"] == "mnist":
        return DIGITS_EPOCH
    if config["data"] in ("wave", "wave_partial"):
        return WAVES * (WAVE_FRAMES - config["nt_cond"] - config["nt_pred"] + 1)
    return None


def seed_of(config: Settings) -> int:
    """The published seed, 1 by default."""
    seed = config.get("seed")
    return seed if type(seed) is int else 1
