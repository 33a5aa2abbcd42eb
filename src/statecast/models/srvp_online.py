"""SRVP that follows frames as they come: samples of its latent, carried on by each new frame."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Frames
from statecast.models.carried_states import interval_keys
from statecast.models.frame_grid import grid_of_times
from statecast.models.online import OnlineForecaster, check_rows
from statecast.models.roll_out import State
from statecast.models.srvp_gaps import known_codes
from statecast.models.srvp_process import LatentProcess
from statecast.nn.codecs.base import Content, Encoding
from statecast.nn.gaussian import DiagonalGaussian
from statecast.nn.random import copy_of


class SRVPState(NamedTuple):
    """The state of SRVP after the frames it has seen; its size does not grow with their number."""

    samples: int
    generator: torch.Generator  # of the next draws; a state does not change it
    encoding: Encoding | None = None  # of the last frames, which content is of
    first: Float[Tensor, "batch time code"] | None = None  # codes that y₁ waits for
    memory: tuple[Tensor, Tensor] | None = None  # of the filter
    latent: Float[Tensor, "sample batch latent"] | None = None  # at the last frame
    elapsed: int = 0  # frame intervals from the first frame to the last one that was there
    waiting: int = 0  # frame intervals since then, in which frames were missing


class OnlineLatentProcess(LatentProcess, OnlineForecaster[SRVPState]):
    """A latent process whose samples new frames carry on."""

    state_type = SRVPState
    draws_in_filter = True

    @abstractmethod
    def encode(self, frames: Float[Tensor, "batch time channel *space"]) -> Encoding:
        """Code and skip maps of each frame separately, (batch, time, …); NaN for missing ones."""

    @abstractmethod
    def content_of_last_frames(self, codes: Encoding) -> Content:
        """Content of the last frames that are there."""

    def filter(
        self,
        frames: Frames | Any,
        state: Any = None,
        dt: float = 1.0,
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> SRVPState:
        """Update samples of the latent with new frames, in constant time and memory.

        y₁ is drawn once `inference_frames` frame times have passed; until then the state holds
        codes, and cannot be forecast from. Each new frame then carries the samples on by its own
        posterior. They are those of all frames at once, for the same generator; those of noise
        `held` on `frames` in distribution only, since it takes the draws of a context together.

        Args:
            frames: one or more new frames of each sequence, as `forecast` takes a context.
            state: after the frames before; None for the first ones.
            dt: frame intervals from the last frame before to the first new one; values other
                than 1, and frames that are missing, need `gap_input`.
            samples: paths to carry, for a new state.
            generator: source of their draws, for a new state; it is copied.

        Errors:
            InputError: frames do not fit the model or the state, some sequences lack a frame that
                others have, or dt is not a positive whole number.
        """
        if samples < 1:
            raise InputError(f"A state needs at least 1 sample, got samples={samples}.")
        if state is None:
            if generator is None:
                generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
            state, dt = SRVPState(samples, generator), 1.0
        return super().filter(frames, state, dt)

    def check_context_length(self, length: int, what: str = "context") -> None:
        if what != "frames":  # a state waits for as many as it needs
            super().check_context_length(length, what)

    def filter_frames(self, frames: Frames, state: SRVPState | None, dt: float) -> SRVPState:
        assert state is not None
        gap = grid_of_times(torch.tensor([0.0, dt])).length - 1
        if gap != 1 and self.gaps is None:
            raise InputError(
                f"A gap of {dt:g} frame intervals needs a model that knows of gaps. Train "
                "with model.gap_input: true."
            )
        encoding = self.encode(self.inputs(frames))
        known = known_codes(encoding.code)
        if state.encoding is not None:
            check_rows(len(state.encoding.code), len(known))
        if bool((known != known[:1]).any()):
            raise InputError(
                "New frames must be present in every sequence or in none. Give sequences that lack "
                "other frames a state of their own."
            )
        state = state._replace(generator=copy_of(state.generator))
        before = -state.waiting - gap
        for place in torch.nonzero(known[0]).flatten().tolist():
            one = Encoding(
                encoding.code[:, place : place + 1],
                tuple(skip[:, place : place + 1] for skip in encoding.skips),
            )
            state = self.follow_frame(state, one, place - before)
            before = place
        state = state._replace(waiting=known.shape[1] - 1 - before)
        return state if state.first is None else self.begin(state)

    def follow_frame(self, state: SRVPState, encoding: Encoding, gap: int) -> SRVPState:
        """The state one frame later, which comes `gap` intervals after the one before."""
        state = state._replace(encoding=self.last_encodings(state.encoding, encoding))
        code = encoding.code
        if state.latent is not None:
            return self.carry_on(state, code, gap)
        absent = torch.full_like(code, torch.nan).expand(-1, gap - 1, -1)
        first = () if state.first is None else (state.first,)
        code = torch.cat([*first, absent, code], dim=1)
        return state._replace(first=code)

    def begin(self, state: SRVPState) -> SRVPState:
        """The state with a draw of y₁, once enough frame times have passed."""
        code = state.first
        assert code is not None
        wanted = self.inference_frames - code.shape[1]
        if wanted > state.waiting:
            return state
        absent = torch.full_like(code[:, :1], torch.nan).expand(-1, max(wanted, 0), -1)
        code = torch.cat([code, absent], dim=1)
        latent = self.initial_state(code).draw(state.generator, state.samples)
        if self.noise_model is not None:
            carried = latent.new_zeros(*latent.shape[:2], self.noise_model.carried)
            latent = torch.cat([latent, carried], dim=-1)
        state = state._replace(first=None, latent=latent)
        before = -1
        for place in torch.nonzero(known_codes(code)[0]).flatten().tolist():
            state = self.carry_on(state, code[:, place : place + 1], place - before, place)
            before = place
        return state

    def last_encodings(self, before: Encoding | None, new: Encoding) -> Encoding:
        """As many of the last frames as content is of."""
        if before is None:
            return new
        parts = zip((before.code, *before.skips), (new.code, *new.skips), strict=True)
        code, *skips = (torch.cat(pair, dim=1)[:, -self.inference_frames :] for pair in parts)
        return Encoding(code, tuple(skips))

    def carry_on(
        self,
        state: SRVPState,
        code: Float[Tensor, "batch 1 code"],
        gap: int,
        elapsed: int | None = None,
    ) -> SRVPState:
        """The state at a frame, `gap` intervals after the one before it.

        Args:
            elapsed: intervals from the first frame time, at which y₁ is, to this frame.
        """
        latent = state.latent
        assert latent is not None
        state, hidden = self.remember(state, code, gap)
        gap = gap if elapsed is None else elapsed - state.elapsed
        if gap == 0:
            return state
        evidence, noise = None, None
        if hidden is not None and self.posterior is not None:
            hidden = hidden.expand(-1, gap, -1)
            if self.gaps is not None:
                later = torch.arange(gap - 1, -1, -1, device=code.device)
                hidden = self.gaps.placed(hidden, later.expand(len(code), -1))
            evidence = self.posterior(hidden)
            if self.noise_from_keys:
                noise = interval_keys(state.generator, state.samples, len(code), gap)
            else:
                gaussian = DiagonalGaussian.from_output(evidence)
                noise, evidence = gaussian.draw(state.generator, state.samples), None
        path = self.roll_out(
            latent,
            (self.choose_solver(),) * gap,
            noise=noise,
            evidence=evidence,
            elapsed=state.elapsed,
        ).states
        return state._replace(latent=path[:, :, -1].contiguous(), elapsed=state.elapsed + gap)

    def remember(
        self, state: SRVPState, code: Float[Tensor, "batch 1 code"], gap: int
    ) -> tuple[SRVPState, Float[Tensor, "batch 1 hidden"] | None]:
        """The state whose filter has seen one more code, and what it holds then."""
        if self.lstm is None:
            return state, None
        told = code if self.gaps is None else self.gaps.told(code, code.new_tensor([[gap]]))
        hidden, memory = self.lstm(told, state.memory)
        return state._replace(memory=memory), hidden

    def predict_from(
        self,
        state: SRVPState,
        times: Float[Tensor, " time"],
        *,
        samples: int,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        if state.latent is None or state.encoding is None:
            raise InputError(
                f"This model draws its first state from {self.inference_frames} frames: filter as "
                "many before a forecast."
            )
        if state.samples not in (1, samples):
            raise InputError(
                f"The state carries {state.samples} samples, got samples={samples}. Ask for as "
                "many, or filter with others."
            )
        latent = state.latent.expand(samples, -1, -1)
        content = self.content_of_last_frames(state.encoding)
        latents = self.advance(
            State(content, latent, 0.0, -float(state.elapsed)),
            times + state.waiting,
            generator=copy_of(state.generator) if generator is None else generator,
        )
        return self.normaliser.restore(self.decode_all(content, latents), axis=3)
