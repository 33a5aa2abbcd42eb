"""Models that filter frames: those that are missing, and half precision."""

import pytest
import torch
from helpers.gaps import with_gaps
from helpers.seeds import seeded
from helpers.small_models import SPEC, build

from statecast.frames import Batch, Frames

MODELS = ["kvae", "td_vae"]


def videos(length):
    return torch.rand(3, length, *SPEC.frame_shape, generator=seeded())


@pytest.mark.parametrize("name", MODELS)
def test_missing_frames_are_frames_left_out_with_times_that_tell(name):
    model, masked = build(name), with_gaps(videos(6), [1, 3, 4], channels=SPEC.channels)
    there = [0, 2, 5]
    kept = Frames(values=videos(6)[:, there], times=masked.times[there], channels=SPEC.channels)
    one, other = (
        model.forecast(frames, 3, samples=2, generator=seeded(2)).samples
        for frames in (masked, kept)
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("name", "options"),
    [("kvae", {"estimator": "exact"}), ("kvae", {"estimator": "published"}), ("td_vae", {})],
)
def test_in_half_precision_only_the_codec_is_rounded(name, options):
    model, batch, losses = build(name, **options), Batch.of(videos(5), 3), []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            terms = model.loss(batch, generator=seeded(2))
        losses.append(terms["total"])
        assert all(term.dtype == torch.float32 for term in terms.values())
    torch.testing.assert_close(*losses, rtol=0.02, atol=0)
