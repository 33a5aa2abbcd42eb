"""A service that keeps a latent state for each of its clients, and looks ahead from it.

    statecast train srvp-digits-small --output runs/digits
    python examples/latent_service.py runs/digits --port 8000

`POST /CLIENT` takes observed frames, (time, channel, height, width) in a .npy file, and infers the
client's state. `GET /CLIENT?horizon=20` gives futures that follow from that state,
(sample, time, channel, height, width) in a .npy file; no frame is encoded again.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import torch

import statecast
from statecast import Latents, Predictor, StatecastError
from statecast.models.latent_space import require_latents

Array = np.ndarray[Any, np.dtype[Any]]
LARGEST = 64 * 2**20  # bytes of a request


class StateStore:
    """The latent state of each client. Threads may share it: a model does not change as it runs."""

    def __init__(self, predictor: Predictor, *, samples: int = 10) -> None:
        self.predictor, self.samples = predictor, samples
        self.model = require_latents(predictor.model)
        self.latents: dict[str, Latents] = {}

    def observe(self, client: str, frames: Array) -> None:
        """Infer a client's state from its last frames, (time, channel, *space)."""
        self.latents[client] = self.predictor.infer_latents(
            frames, samples=self.samples, generator=torch.Generator().manual_seed(0)
        )

    def look_ahead(self, client: str, horizon: int, *, seed: int = 1) -> Array:
        """Futures of a client, (sample, time, channel, *space)."""
        path = self.model.continue_latents(
            self.latents[client], horizon, generator=torch.Generator().manual_seed(seed)
        )
        times = torch.arange(1.0, horizon + 1.0)
        return self.model.decode_latents(path, times).samples[:, 0].numpy()


def handler_of(store: StateStore) -> type[BaseHTTPRequestHandler]:
    """A handler of requests to a store."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            self.answer(lambda client: self.observe(client, size))

        def do_GET(self) -> None:
            self.answer(self.look_ahead)

        @property
        def query(self) -> str:
            return urlsplit(self.path).query

        def look_ahead(self, client: str) -> Array:
            asked = {name: int(found[0]) for name, found in parse_qs(self.query).items()}
            return store.look_ahead(client, **{"horizon": 10, **asked})

        def observe(self, client: str, size: int) -> None:
            if size > LARGEST:
                raise ValueError(f"A request has at most {LARGEST} bytes, got {size}.")
            body = io.BytesIO(self.rfile.read(size))
            store.observe(client, np.lib.format.read_array(body, allow_pickle=False))

        def answer(self, act: Callable[[str], Array | None]) -> None:
            content, status = io.BytesIO(), 200
            try:
                found = act(urlsplit(self.path).path.strip("/"))
                if found is not None:
                    np.save(content, found)
            except KeyError as error:
                content, status = io.BytesIO(f"No frames of {error} came yet.".encode()), 404
            except (StatecastError, TypeError, ValueError) as error:
                content, status = io.BytesIO(str(error).encode()), 400
            self.send_response(status)
            self.send_header("Content-Length", str(len(content.getvalue())))
            self.end_headers()
            self.wfile.write(content.getvalue())

        def log_message(self, *words: object) -> None:
            """Requests are not logged."""

    return Handler


def main() -> None:
    """Serve a run, or a model that comes with the package, until stopped."""
    parser = argparse.ArgumentParser(description="Serve forecasts from latent states.")
    parser.add_argument("run", help="run folder, or name of a model that comes with the package")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    store = StateStore(statecast.load(options.run))
    with ThreadingHTTPServer(("127.0.0.1", options.port), handler_of(store)) as server:
        print(f"Listening on http://127.0.0.1:{server.server_port}", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
