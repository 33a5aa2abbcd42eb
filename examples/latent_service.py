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
import re
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import torch

import statecast
from statecast import Latents, Predictor, StatecastError
from statecast.models.latent_space import require_latents

Array = np.ndarray[Any, np.dtype[Any]]
LARGEST = 64 * 2**20  # bytes of a request
LONGEST = 200  # frames of an answer; its time and its size grow with them
CLIENTS = 1000  # states kept; beyond, that of the client is dropped whose frames are the oldest
PATIENCE = 30  # seconds that a client may be silent in the middle of a request


class RequestError(Exception):
    """A request that cannot be answered: the status, and what to tell the client."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class StateStore:
    """The latent state of each client. Threads may share it: a model does not change as it runs."""

    def __init__(self, predictor: Predictor, *, samples: int = 10) -> None:
        self.predictor, self.samples = predictor, samples
        self.model = require_latents(predictor.model)
        self.latents: dict[str, Latents] = {}
        self.lock = Lock()

    def observe(self, client: str, frames: Array) -> None:
        """Infer a client's state from its last frames, (time, channel, *space)."""
        found = self.predictor.infer_latents(
            frames, samples=self.samples, generator=torch.Generator().manual_seed(0)
        )
        with self.lock:
            self.latents.pop(client, None)
            self.latents[client] = found  # a dict keeps the order in which keys came
            if len(self.latents) > CLIENTS:
                del self.latents[next(iter(self.latents))]

    def look_ahead(self, client: str, horizon: int, seed: int) -> Array:
        """Futures of a client, (sample, time, channel, *space)."""
        latents = self.latents.get(client)
        if latents is None:
            raise RequestError(404, f"No frames of {client} are here. Send some by POST.")
        path = self.model.continue_latents(
            latents, horizon, generator=torch.Generator().manual_seed(seed)
        )
        times = torch.arange(1.0, horizon + 1.0)
        return self.model.decode_latents(path, times).samples[:, 0].numpy()


def handler_of(store: StateStore) -> type[BaseHTTPRequestHandler]:
    """A handler of requests to a store."""

    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE

        def do_POST(self) -> None:
            self.answer(self.observe)

        def do_GET(self) -> None:
            self.answer(self.look_ahead)

        def observe(self, client: str) -> None:
            store.observe(client, self.frames())

        def look_ahead(self, client: str) -> Array:
            asked = {"horizon": "10", "seed": "1"}
            for name, texts in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items():
                if name not in asked:
                    raise RequestError(400, f"A request takes horizon and seed, got {name}.")
                asked[name] = texts[-1]
            horizon = number(asked["horizon"], "horizon", range(1, LONGEST + 1))
            return store.look_ahead(client, horizon, number(asked["seed"], "seed", range(2**32)))

        def frames(self) -> Array:
            """The array in the body of a request."""
            length = self.headers.get("Content-Length")
            if length is None:
                raise RequestError(411, "Say by Content-Length how many bytes come.")
            size = number(length, "Content-Length", range(LARGEST + 1))
            try:
                body = io.BytesIO(self.rfile.read(size))
                found: Array = np.lib.format.read_array(body, allow_pickle=False)
            except (ValueError, MemoryError):
                raise RequestError(400, "Send frames as a .npy file of numbers.") from None
            return found

        def answer(self, act: Callable[[str], Array | None]) -> None:
            content, status = io.BytesIO(), 200
            try:
                client = urlsplit(self.path).path.strip("/")
                if not client:
                    raise RequestError(404, "Name a client, as in /camera-1.")
                found = act(client)
                if found is not None:
                    np.save(content, found)
            except RequestError as error:
                content, status = io.BytesIO(str(error).encode()), error.status
            except StatecastError as error:
                content, status = io.BytesIO(str(error).encode()), 400
            self.send_response(status)
            self.send_header("Content-Length", str(len(content.getvalue())))
            self.end_headers()
            self.wfile.write(content.getvalue())

        def log_message(self, *words: object) -> None:
            """Requests are not logged."""

    return Handler


def number(text: str, name: str, allowed: range) -> int:
    """A whole number that a client sent."""
    if not re.fullmatch("[0-9]{1,12}", text) or int(text) not in allowed:
        raise RequestError(
            400,
            f"{name} must be a whole number from {allowed[0]} to {allowed[-1]}, got {text:.40}.",
        )
    return int(text)


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
