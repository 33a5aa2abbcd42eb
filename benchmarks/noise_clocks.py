"""Which clock noise should keep: SRVP on digits that draw a new speed at every bounce.

    OMP_NUM_THREADS=1 python benchmarks/noise_clocks.py --output results/noise_clocks

Noise is needed at bounces alone, which are known. Each kind of noise is trained by three seeds, for
about as many seconds of a processor (`STEPS` were chosen so), and scored on test windows: CRPS of
samples; the bound on the likelihood, by the posterior of all frames; and in which frame intervals
noise is renewed, or brings something new. Started again it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from resumable import trained
from tables import cell
from torch import Tensor

from statecast.data.base import seeded_generator
from statecast.io.atomic_files import write_text
from statecast.models.srvp import SRVP
from statecast.models.srvp_process import Inference
from statecast.nn.held_noise import AdaptiveNoise, RandomNoise
from statecast.runs.run import Run, evaluate_run

RATE = ["--model.renewal_rate", "0.5", "--model.largest_rate", "2"]
VARIANTS = {
    "held on frames": [],
    "adaptive": ["--model.renewal", "adaptive", "--model.renewal_threshold", "1", *RATE],
    "adaptive, 6 nats": ["--model.renewal", "adaptive", "--model.renewal_threshold", "6", *RATE],
    "Poisson": ["--model.renewal", "poisson", *RATE],
    "white": ["--model.noise", "white"],
    "coloured": ["--model.noise", "coloured"],
}
STEPS = {  # 90 processor seconds of one thread at the measured 40, 51, 51, 89, 45 and 47 ms a step
    "held on frames": 2250, "adaptive": 1765, "adaptive, 6 nats": 1765, "Poisson": 1010,
    "white": 2000, "coloured": 1915,
}  # fmt: skip
SHARED = ["--model.width", "8", "--train.validation_samples", "4"]
COLUMNS = (
    "crps", "reconstruction", "divergence y₁", "divergence", "divergence at bounces",
    "divergence elsewhere", "renewals at bounces", "renewals elsewhere", "λ(y) at bounces",
    "λ(y) elsewhere", "processor seconds",
)  # fmt: skip


def bound_and_renewals(run: Run, windows: int) -> dict[str, float]:
    """Terms of the bound in nats, per frame but for y₁, and what happens at bounces and elsewhere.

    The first interval, in which noise always begins, is left out of the latter.
    """
    model = run.load()
    assert isinstance(model, SRVP)
    batch = run.data().windows("test").batch(torch.arange(windows))
    with torch.no_grad():
        terms = model.loss(batch, generator=seeded_generator(1))
        codes = model.encode(model.inputs(batch)).code
        inferred = model.infer(codes, generator=seeded_generator(1))
        places = renewals_of(model, inferred)
    length = batch.values.shape[1]
    found = {
        "reconstruction": float(terms["reconstruction"]) / length,
        "divergence y₁": float(terms["divergence_initial"]),
        "divergence": float(terms["divergence_noise"]) / length,
    }
    # A bounce turns the speed of its axis around, or stops it.
    bounces = (batch.latents["velocity"].diff(dim=1) != 0).flatten(2).any(dim=-1)[:, 1:]
    for name, values in places.items():
        found[f"{name} at bounces"] = float(values[:, 1:][bounces].mean())
        found[f"{name} elsewhere"] = float(values[:, 1:][~bounces].mean())
    return found


def renewals_of(model: SRVP, inferred: Inference) -> dict[str, Tensor]:
    """By frame interval (window, interval): divergence, renewals by the posterior, prior rate."""
    assert inferred.divergence is not None
    places, noise = {"divergence": inferred.divergence[0]}, model.noise_model
    if isinstance(noise, RandomNoise):
        assert model.prior is not None
        assert inferred.evidence is not None
        prior = model.prior(inferred.latents[0, :, :-1, : model.latent_size])
        places["λ(y)"] = noise.rate(prior)
        if isinstance(noise, AdaptiveNoise):
            places["renewals"] = noise.renewed(prior, inferred.evidence)[0].float()
        else:
            places["renewals"] = noise.rate(inferred.evidence)
    return places


def result_of(folder: Path, variant: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Everything measured of one kind of noise and one seed; read where it is known already."""
    path = folder / "clock.json"
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text())
        return known
    start = time.process_time()
    steps = round(STEPS[variant] * options.share)
    every = ["--train.validate_every", str(steps), "--train.checkpoint_every", str(steps)]
    given = [*SHARED, *VARIANTS[variant], "--train.seed", str(seed), "--train.steps", str(steps)]
    run, _ = trained("srvp-digits-small", folder, [*given, *every])
    seconds = time.process_time() - start
    scores = evaluate_run(
        run,
        [
            "--evaluate.max_windows", str(options.windows), "--evaluate.metrics", '["crps"]',
            "--evaluate.analyses", "[]",
        ],
    )  # fmt: skip
    found = {"variant": variant, "seed": seed, "steps": steps, "processor seconds": seconds}
    found["crps"] = scores.forecasters[run.name]["crps"]["ensemble"].value
    found |= bound_and_renewals(run, options.windows)
    write_text(path, json.dumps(found, indent=1) + "\n")
    return found


def main() -> None:
    """Read the command line; train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, for a trial")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows = []
    for seed in options.seeds:
        for variant in VARIANTS:
            folder = options.output / f"{variant.replace(' ', '-')}-{seed}"
            rows.append(result_of(folder, variant, seed, options))
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    write_text(options.output / "noise_clocks.json", json.dumps(rows, indent=1) + "\n")
    print("\n| noise | steps | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for variant in VARIANTS:
        own = [row for row in rows if row["variant"] == variant]
        cells = [cell([row[column] for row in own if column in row]) for column in COLUMNS]
        print(" | ".join([f"| {variant}", str(own[0]["steps"]), *cells]) + " |")


if __name__ == "__main__":
    main()
