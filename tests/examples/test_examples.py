"""The examples run from start to end."""

import io
import re
import runpy
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
import xarray
from helpers.small_srvp import small

from statecast import Predictor

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, monkeypatch, *words):
    """Run an example as a command."""
    monkeypatch.setattr(sys, "argv", [name, *words])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    torch.manual_seed(0)
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_the_example_of_labelled_files_writes_forecasts(tmp_path, monkeypatch, capsys):
    run("forecast_netcdf.py", monkeypatch, "--folder", str(tmp_path), "--steps", "3")
    assert "degC; of the last observed frame" in capsys.readouterr().out
    with xarray.open_dataset(tmp_path / "future.nc", decode_timedelta=True) as found:
        assert dict(found["sst"].sizes) == {
            "realization": 30, "lead_time": 20, "lat": 16, "lon": 25,
        }  # fmt: skip


def test_a_loop_of_ones_own_lowers_the_loss(monkeypatch, capsys):
    run("own_loop.py", monkeypatch, "--steps", "12")
    first, last = re.search(r"Loss (\S+) .* (\S+) at the last", capsys.readouterr().out).groups()
    assert float(last) < 0.8 * float(first)


def test_lightning_trains_a_model(monkeypatch, capsys):
    pytest.importorskip("lightning")
    run("lightning_module.py", monkeypatch, "--steps", "3")
    assert "validation/mse" in capsys.readouterr().out


def test_a_service_looks_ahead_from_the_state_of_a_client():
    module = runpy.run_path(str(EXAMPLES / "latent_service.py"))
    model = small().eval()
    predictor = Predictor(model)
    frames = torch.rand(5, *model.spec.frame_shape).numpy()
    content = io.BytesIO()
    np.save(content, frames)
    handler = module["handler_of"](module["StateStore"](predictor))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/camera"
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"{address}?horizon=3")
            with urlopen(Request(address, data=content.getvalue())) as answer:
                assert answer.status == 200
            with urlopen(f"{address}?horizon=3&seed=4") as answer:
                found = np.load(io.BytesIO(answer.read()))
            for query in ("horizon=0", "horizon=soon", "horizon=201", "horison=5", "seed=1e99"):
                with pytest.raises(HTTPError, match="400"):
                    urlopen(f"{address}?{query}")
            with pytest.raises(HTTPError, match="400") as refused:
                urlopen(Request(address, data=b"no array"))
            assert refused.value.read() == b"Send frames as a .npy file of numbers."
            for length in ("-1", "abc", str(2**40)):
                with pytest.raises(HTTPError, match="400"):
                    urlopen(Request(address, b"", {"Content-Length": length}))
            with pytest.raises(HTTPError, match="411"):
                urlopen(Request(address, iter([b"frames"])))  # in chunks
            with pytest.raises(HTTPError, match="404"):
                urlopen(Request(f"http://127.0.0.1:{server.server_port}/", content.getvalue()))
        finally:
            server.shutdown()
            thread.join()
    seeds = (torch.Generator().manual_seed(seed) for seed in (0, 4))
    latents = predictor.infer_latents(frames, samples=10, generator=next(seeds))
    path = model.continue_latents(latents, 3, generator=next(seeds))
    expected = model.decode_latents(path, [1.0, 2.0, 3.0]).samples[:, 0]
    np.testing.assert_array_equal(found, expected)


def test_a_service_keeps_the_states_of_its_latest_clients():
    module = runpy.run_path(str(EXAMPLES / "latent_service.py"))
    model = small().eval()
    store = module["StateStore"](Predictor(model))
    store.observe.__func__.__globals__["CLIENTS"] = 2
    for client in "abac":
        store.observe(client, torch.rand(5, *model.spec.frame_shape).numpy())
    assert list(store.latents) == ["a", "c"]
