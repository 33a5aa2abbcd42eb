"""Streams: each sequence draws what it would draw alone."""

import pytest
import torch

from statecast.data.base import generator_of, streams_of
from statecast.errors import InputError
from statecast.nn.gaussian import DiagonalGaussian
from statecast.nn.streams import Streams

NUMBERS = torch.tensor([4, 0, 9])


def gaussian(*shape):
    return DiagonalGaussian(torch.zeros(*shape), torch.ones(*shape))


def test_each_sequence_draws_from_its_own_stream_time_after_time():
    streams = streams_of(NUMBERS, 3)
    first = gaussian(3, 6).draw(streams, 2)  # (sample, batch, latent)
    second = gaussian(2, 3, 5).draw(streams)
    for index, number in enumerate(NUMBERS.tolist()):
        own = generator_of(3, number)
        assert torch.equal(first[:, index], torch.randn(2, 6, generator=own))
        assert torch.equal(second[:, index], torch.randn(2, 5, generator=own))


def test_streams_differ_by_window_and_by_seed():
    drawn = torch.cat([gaussian(3, 500).draw(streams_of(NUMBERS, s), 1)[0] for s in (1, 2)])
    correlation = torch.corrcoef(drawn) - torch.eye(6)
    assert float(correlation.abs().max()) < 0.2


def test_streams_of_no_sequence_or_of_another_batch_are_refused():
    with pytest.raises(InputError, match="at least 1 generator"):
        Streams([])
    with pytest.raises(InputError, match=r"\(sample, 3, …\), got the shape \(2, 4, 6\)"):
        gaussian(4, 6).draw(streams_of(NUMBERS, 1), 2)
