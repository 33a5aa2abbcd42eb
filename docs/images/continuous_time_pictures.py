"""Pictures of continuous time: `continuous_time_pictures.py [WAVE [DIGITS [DRUM]]]`.

Runs that it needs:
    statecast train separable-wave-small --output WAVE
    statecast train srvp-digits-small --output DIGITS --model.renewal poisson \
        --model.renewal_rate 0.5 --model.largest_rate 2 --model.substeps 2
    statecast train kvae-oscillators --output DRUM
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from statecast.models.latent_space import infer_and_continue, reverse_latents
from statecast.nn.diffusive_noise import WhiteNoise
from statecast.nn.noise_model import Dynamics
from statecast.runs.run import open_run
from statecast.solvers.counters import numbers
from statecast.solvers.interval_noise import Interval, follow, step_times
from statecast.solvers.solvers import Solver

HERE = Path(__file__).parent
COLOURS = ("#DDCC77", "#117733", "#332288")


def draw_path() -> None:
    """One path of dy = (1.5 tanh 2y − y) dt + 0.8 dW, by 2, 8 and 64 steps per frame."""
    model = WhiteNoise(1, 1, diffusion="constant", smallest=0.1).requires_grad_(False).double()
    model.mixing.weight.fill_(1.0)
    model.raw_std.zero_()
    parts = [lambda y: 1.5 * torch.tanh(2 * y) - y]
    dynamics = Dynamics(lambda _: parts, torch.zeros_like, lambda solver: solver)
    figure, axis = plt.subplots(figsize=(6, 2.6), layout="constrained")
    for substeps, colour in zip((2, 8, 64), COLOURS, strict=True):
        times, values = [0.0], [torch.zeros(1, 1, 1, dtype=torch.float64)]
        for frame in range(6):
            interval = Interval(numbers(40 + frame, 1).reshape(1, 1), frame, None)
            ends = step_times(substeps)
            noise, solver = model.interval(interval, dynamics), Solver(substeps=substeps)
            values += follow(noise, solver, values[-1], ends)
            times += [frame + end for end in ends]
        label = f"{substeps} steps per frame"
        axis.plot(times, torch.stack(values).flatten(), color=colour, label=label, lw=1)
    axis.set(xlabel="time, frames", ylabel="y")
    axis.legend(frameon=False)
    figure.savefig(HERE / "continuous_path.png", dpi=100)


def draw_backwards(folder: str) -> None:
    """Frames of a forecast, the way back from its last state, and the error of each."""
    run = open_run(folder)
    model = run.load("last")
    batch = run.data().windows("test").batch(torch.tensor([0]))
    model.solver, model.substeps = "reversible_heun", 4
    path = infer_and_continue(model, batch.context, 20)
    back = reverse_latents(model, path, 4)
    shown = [-8, -4, -2, 0, 5, 10, 20]
    frames = {
        "forwards": model.decode_latents(path, shown[1:]).samples[0, 0, :, 0],
        "backwards": model.decode_latents(back, shown).samples[0, 0, :, 0],
    }
    figure, axes = plt.subplots(2, len(shown), figsize=(7, 2.3), layout="constrained")
    for row, (name, values) in zip(axes, frames.items(), strict=True):
        for axis, time in zip(row, shown, strict=True):
            axis.set(xticks=[], yticks=[])
            index = time if name == "backwards" else shown.index(time) - 1
            number = shown.index(time) if name == "backwards" else index
            if number < 0:
                axis.axis("off")
                continue
            axis.imshow(values[number], cmap="RdBu_r", vmin=0, vmax=1)
            axis.set_title(f"t = {time}", fontsize=8)
        row[0 if name == "backwards" else 1].set_ylabel(name, fontsize=8)
    figure.savefig(HERE / "continuous_backwards.png", dpi=100)
    error = (back.states[:, :, 4:] - path.states).abs().max()
    print(f"largest error of a latent after 24 frames and back: {float(error):.2g}")


def draw_renewals(folder: str) -> None:
    """Learned rates of renewal along videos of a digit, aligned at its bounces."""
    run = open_run(folder)
    model = run.load("last").eval()
    batch = run.data().windows("test").batch(torch.arange(64))
    frames = torch.cat([batch.context.values, batch.target.values], dim=1)
    latents = model.infer_latents(frames, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        prior = model.renewal_rates(latents.states)[0, :, :-1]
        posterior = model.noise_model.rate(latents.evidence)
    steps = batch.latents["position"][:, :, 0].diff(dim=1)
    bounces = (steps[:, 1:] * steps[:, :-1] < 0).any(dim=-1)  # at frames 1 … T − 2
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained", width_ratios=(2, 1))
    video = int(bounces.sum(dim=1).argmax())
    for rates, colour, name in zip(
        (posterior, prior), COLOURS[1:], ("posterior", "prior λ(y)"), strict=True
    ):
        axes[0].step(
            np.arange(rates.shape[1]), rates[video], where="post", color=colour, label=name
        )
    for frame in torch.nonzero(bounces[video]).flatten().tolist():
        axes[0].axvline(frame + 1, color="0.7", lw=1, zorder=0)
    axes[0].set(xlabel="frame; bounces in grey", ylabel="renewals per frame")
    axes[0].legend(frameon=False)
    lags = range(-3, 4)
    for rates, colour in zip((posterior, prior), COLOURS[1:], strict=True):
        means = []
        for lag in lags:
            rows, columns = torch.nonzero(bounces, as_tuple=True)
            at = columns + 1 + lag
            inside = (at >= 0) & (at < rates.shape[1])
            means.append(float(rates[rows[inside], at[inside]].mean()))
        axes[1].plot(list(lags), means, color=colour, marker="o", ms=3)
    axes[1].set(xlabel="frames from a bounce", title="mean of 64 videos")
    figure.savefig(HERE / "continuous_renewals.png", dpi=100)


def draw_filtering(folder: str) -> None:
    """A pixel of a drum: forecasts of 40 paths, each time that a frame has arrived."""
    run = open_run(folder)
    model, samples, place = run.load(), 40, (0, 5, 8)  # channel, row and column
    batch = run.data().windows("test").batch(torch.tensor([0]))
    values, there = batch.values, batch.mask[0].flatten(1).any(dim=1)
    arrivals = torch.nonzero(there[:10]).flatten().tolist()
    figure, axes = plt.subplots(1, 3, figsize=(7, 2.3), layout="constrained", sharey=True)
    state, before, shown = None, -1, arrivals[-3:]
    for arrival in arrivals:
        state = model.filter(values[:, arrival, None], state, arrival - before)
        before = arrival
        if arrival not in shown:
            continue
        axis = axes[shown.index(arrival)]
        forecast = model.forecast_from(
            state, 12, samples=samples, generator=torch.Generator().manual_seed(1)
        )
        paths = forecast.samples[:, 0][:, :, *place]
        known = [frame for frame in arrivals if frame <= arrival]
        axis.plot(arrival + np.arange(1, 13), paths.T, color=COLOURS[1], lw=0.4, alpha=0.5)
        axis.plot(range(10, 23), values[0, 10:23][:, *place], color="0.6", lw=1)
        axis.plot(known, values[0, known][:, *place], "o", color=COLOURS[2], ms=4)
        axis.set(xlabel="time, frames", title=f"{len(known)} frames have arrived")
    axes[0].set_ylabel("a pixel")
    figure.savefig(HERE / "continuous_filtering.png", dpi=100)


if __name__ == "__main__":
    draw_path()
    for folder, draw in zip(
        sys.argv[1:], (draw_backwards, draw_renewals, draw_filtering), strict=False
    ):
        draw(folder)
