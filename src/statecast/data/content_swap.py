"""Windows whose content can be swapped, with the true result of each swap."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor

from statecast.data.base import Windows
from statecast.frames import Frames


class SwappedContent(NamedTuple):
    """Content for windows that keep their own dynamics."""

    content: Frames  # observed frames of other content, a context for each window
    truths: tuple[Frames, ...]  # targets of the windows with that content; any of them is right


class SwappableWindows(Windows):
    """Windows that a data set can also make with other content and the same dynamics."""

    @abstractmethod
    def swap_content(self, indices: Tensor, *, seed: int) -> SwappedContent:
        """Other content for the windows of these indices, by the seed and each index alone."""
