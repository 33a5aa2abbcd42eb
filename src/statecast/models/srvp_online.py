"""Online SRVP: samples of its latent, which each new frame carries forward."""

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
from statecast.models.online import OnlineForecaster, check_rows, shapes_of
from statecast.models.roll_out import State
from statecast.models.srvp_gaps import known_codes
from statecast.models.srvp_process import LatentProcess
from statecast.nn.codecs.base import Content, Encoding
from statecast.nn.gaussian import DiagonalGaussian
from statecast.nn.random import branch, copy_of


class SRVPState(NamedTuple):
    """State of SRVP after some frames; its size does not depend on their number."""

    samples: int
    generator: torch.Generator  # source of the next draws; never changed in place
    encoding: Encoding | None = None  # of the last frames, which give the content
    first: Float[Tensor, "batch time code"] | None = None  # codes collected until y₁ can be drawn
    memory: tuple[Tensor, Tensor] | None = None  # state of the filter
    latent: Float[Tensor, "sample batch latent"] | None = None  # at the last frame
    elapsed: int = 0  # frame intervals from the first to the last existing frame
    waiting: int = 0  # frame intervals since then, whose frames are missing

    def __repr__(self) -> str:
        return shapes_of(self)


class OnlineLatentProcess(LatentProcess, OnlineForecaster[SRVPState]):
    """A latent process with samples that new frames carry forward."""

    state_type = SRVPState
    draws_in_filter = True

    @abstractmethod
    def encode(self, frames: Float[Tensor, "batch time channel *space"]) -> Encoding:
        """Code and skip maps of each frame, (batch, time, …); NaN for missing frames."""

    @abstractmethod
    def content_of_last_frames(self, codes: Encoding) -> Content:
        """Content of the last existing frames."""

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

        y₁ is drawn once `inference_frames` frame times have passed. Until then, the state holds
        codes, and cannot give a forecast. Each later frame carries the samples forward by its own
        posterior. With the same generator, they equal the samples inferred from all frames at once.
        Noise `held` on `frames` draws for a whole context together, so that its samples agree in
        distribution only.

        Args:
            frames: one or more new frames of each sequence, as `forecast` takes a context.
            state: the state after the frames before; None to start.
            dt: frame intervals from the last frame before to the first new one; values other
                than 1, and missing frames, need `gap_input`.
            samples: number of paths of a new state.
            generator: source of the draws of a new state, which holds a copy of it.

        Errors:
            InputError: frames do not fit the model or the state, some sequences lack a frame that
                others have, or dt is not a positive whole number.
        """
        if samples < 1:
            raise InputError(f"A state needs at least 1 sample, got samples={samples}.")
        if state is None:
            state, dt = SRVPState(samples, generator or branch(None)), 1.0
        return super().filter(frames, state, dt)

    def check_context_length(self, length: int, what: str = "context") -> None:
        if what != "frames":  # a state may start with fewer frames
            super().check_context_length(length, what)

    def filter_frames(self, frames: Frames, state: SRVPState | None, dt: float) -> SRVPState:
        assert state is not None
        gap = grid_of_times(torch.tensor([0.0, dt])).length - 1
        if gap != 1 and self.gaps is None:
            raise InputError(
                f"A gap of {dt:g} frame intervals needs a model that sees gaps. Train "
                "with model.gap_input: true."
            )
        encoding = self.encode(self.inputs(frames))
        known = known_codes(encoding.code)
        if state.encoding is not None:
            check_rows(len(state.encoding.code), len(known))
        if bool((known != known[:1]).any()):
            raise InputError(
                "New frames must exist in every sequence or in none. Filter sequences with "
                "different gaps separately."
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
        """The state after an existing frame, `gap` intervals after the one before."""
        state = state._replace(encoding=self.last_encodings(state.encoding, encoding))
        code = encoding.code
        if state.latent is not None:
            return self.carry_on(state, code, gap)
        absent = torch.full_like(code, torch.nan).expand(-1, gap - 1, -1)
        first = () if state.first is None else (state.first,)
        code = torch.cat([*first, absent, code], dim=1)
        return state._replace(first=code)

    def begin(self, state: SRVPState) -> SRVPState:
        """The state with a draw of y₁ if enough frame times have passed; else the same state."""
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
        """Codes and skip maps of the last `inference_frames` frames."""
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
        """The state at an existing frame, with its samples carried forward.

        Args:
            state: the state at the frame before.
            code: code of the frame.
            gap: frame intervals since the frame before.
            elapsed: frame intervals from y₁, at the first frame time, to this frame; by default
                `gap` more than those of the state.
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
        """The state after the filter has read one more code, and the filter's output."""
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
                f"This model draws its first state from {self.inference_frames} frames: filter "
                "that many frames before a forecast."
            )
        if state.samples not in (1, samples):
            raise InputError(
                f"The state holds {state.samples} samples, got samples={samples}. Ask for that "
                "many, or filter with another number of samples."
            )
        latent = state.latent.expand(samples, -1, -1)
        content = self.content_of_last_frames(state.encoding)
        latents = self.advance(
            State(content, latent, 0.0, -float(state.elapsed)),
            times + state.waiting,
            generator=copy_of(state.generator) if generator is None else generator,
        )
        return self.normaliser.restore(self.decode_all(content, latents), axis=3)
