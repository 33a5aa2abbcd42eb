"""Whether sampled digits can be recognised: a classifier of true digits reads them.

    python benchmarks/recognisable.py [MODEL]

trains a support vector machine on the training digits, centred, and prints the share of test
windows whose digit it names rightly in true frames and in samples, at leads 1, 5, 10 and 15.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn.svm import SVC

import statecast
from statecast.data.base import window_generators
from statecast.data.synthetic.digit_images import load_glyphs
from statecast.data.synthetic.moving_digits import MovingDigits

LEADS, SAMPLES, SIDE, SHIFTS = (1, 5, 10, 15), 4, 20, (-1, 0, 1)


def centred(frames: np.ndarray) -> np.ndarray:
    """Windows of 20 × 20 pixels around the centre of mass of frames (n, y, x), flattened."""
    padded = np.pad(frames, ((0, 0), (SIDE, SIDE), (SIDE, SIDE)))
    mass = frames.sum(axis=(1, 2)) + 1e-9
    grid = np.arange(frames.shape[1])
    rows = np.rint((frames.sum(axis=2) * grid).sum(axis=1) / mass).astype(int) + SIDE
    columns = np.rint((frames.sum(axis=1) * grid).sum(axis=1) / mass).astype(int) + SIDE
    half = SIDE // 2
    cut = [
        frame[y - half : y + half, x - half : x + half]
        for frame, y, x in zip(padded, rows, columns, strict=True)
    ]
    return np.stack(cut).reshape(len(frames), -1)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "digits"
    data = MovingDigits(
        digits=1, frame_size=32, digit_size=SIDE, max_speed=2, standing=False, context=5,
        horizon=5, test_horizon=15, test_videos=256,
    )  # fmt: skip
    glyphs = load_glyphs(None, "train", side=SIDE)
    placed = np.pad(glyphs.images.astype(np.float32) / 255, ((0, 0), (6, 6), (6, 6)))
    shifted = [np.roll(placed, (y, x), axis=(1, 2)) for y in SHIFTS for x in SHIFTS]
    classifier = SVC(C=10).fit(
        centred(np.concatenate(shifted)), np.tile(glyphs.labels, len(shifted))
    )
    numbers = torch.arange(256)
    batch = data.windows("test").batch(numbers)
    labels = batch.latents["label"][:, 0].numpy()
    forecast = statecast.load(name).forecast(
        batch.context, 15, samples=SAMPLES, generator=window_generators(numbers, 7)
    )
    for lead in LEADS:
        true = classifier.predict(centred(batch.target.values[:, lead - 1, 0].numpy()))
        drawn = classifier.predict(
            centred(forecast.samples[:, :, lead - 1, 0].flatten(0, 1).numpy())
        )
        print(
            f"lead {lead:2}: true frames {np.mean(true == labels):.1%}, samples "
            f"{np.mean(drawn == np.tile(labels, SAMPLES)):.1%}"
        )


if __name__ == "__main__":
    main()
