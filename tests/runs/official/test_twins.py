"""Published configurations without golden files: our models agree with a slow twin of each."""

import pytest
import torch
from helpers.published_separable import Twin

from statecast.runs.official.loading import load_official

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
SST = {"architecture": "encoderSST", "decoder_architecture": "decoderSST", "data": "sst",
       "offset": 0}  # fmt: skip
CHAIRS = {"architecture": "resnet", "decoder_architecture": "dcgan", "data": "chairs"}
VGG32 = {"architecture": "vgg", "data": "taxibj"}
POINTS = {"architecture": "mlp", "data": "wave_partial"}
CASES = {
    "chairs": CHAIRS,
    "sst": SST,
    "sst, skips": SST | {"skipco": True},
    "vgg, skips": {"architecture": "vgg", "skipco": True, "data": "chairs"},
    "vgg32, skips": VGG32 | {"skipco": True},
    "wave": {"architecture": "mlp", "data": "wave", "mixing": "mul", "code_size_s": 5},
    "mlp with a dcgan decoder": {"architecture": "mlp", "decoder_architecture": "dcgan"},
    "dcgan without S": {"no_s": True},
    "resnet without S": CHAIRS | {"no_s": True},
    "vgg32 without S": VGG32 | {"no_s": True},
    "points without S": POINTS | {"no_s": True},
}


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def pair(request, tmp_path):
    twin = Twin(**request.param)
    return twin, load_official(twin.save(tmp_path / "published"))


def sequences(twin, seed=1, batch=2):
    length = twin.s.nt_cond + twin.s.nt_pred
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, length, *twin.shape, generator=generator)


@torch.no_grad()
def test_forecasts_and_codes(pair):
    twin, model = pair
    full, n = sequences(twin), twin.s.nt_cond
    context, other = full[:, :n], sequences(twin, seed=2)[:, :n]
    first = 1 - twin.s.offset
    times = list(range(first, twin.s.nt_pred + 1))
    code, _ = twin.content(context)
    frames, latents = twin.forecast(context, len(times))
    assert float(latents.std(dim=1).mean()) > 0.1  # it moves
    torch.testing.assert_close(model.forecast(context, times=times).samples[0], frames, **CLOSE)
    torch.testing.assert_close(
        model.path_from(model.dynamics_of(context), len(times)), latents, **CLOSE
    )
    torch.testing.assert_close(model.content_of(context).code, code, **CLOSE)
    swapped = model.forecast(context, times=times, content_from=other).samples[0]
    expected = twin.forecast(context, len(times), content_from=other)[0]
    torch.testing.assert_close(swapped, expected, **CLOSE)
    assert twin.s.no_s == torch.equal(swapped, model.forecast(context, times=times).samples[0])


@torch.no_grad()
def test_loss_terms(pair):
    twin, model = pair
    full = sequences(twin)
    for window in range(model.alignment_windows(full.shape[1])):
        found, expected = model.loss_terms(full, window), twin.losses(full, window)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert model.prior_weight == (0.0 if twin.s.no_s else twin.s.lamb_t)
