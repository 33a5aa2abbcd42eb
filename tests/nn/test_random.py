"""Streams and parts: each sequence draws what it would draw alone, or in the whole batch."""

import pytest
import torch

from statecast.data.base import seeded_generator, window_generators
from statecast.distributed import Part
from statecast.errors import InputError
from statecast.nn.gaussian import DiagonalGaussian
from statecast.nn.random import PartGenerator, Streams, draw_rows

NUMBERS = torch.tensor([4, 0, 9])


def gaussian(*shape):
    return DiagonalGaussian(torch.zeros(*shape), torch.ones(*shape))


def test_each_sequence_draws_from_its_own_stream_time_after_time():
    streams = window_generators(NUMBERS, 3)
    first = gaussian(3, 6).draw(streams, 2)  # (sample, batch, latent)
    second = gaussian(2, 3, 5).draw(streams)
    for index, number in enumerate(NUMBERS.tolist()):
        own = seeded_generator(3, number)
        assert torch.equal(first[:, index], torch.randn(2, 6, generator=own))
        assert torch.equal(second[:, index], torch.randn(2, 5, generator=own))


def test_streams_differ_by_window_and_by_seed():
    drawn = torch.cat([gaussian(3, 500).draw(window_generators(NUMBERS, s), 1)[0] for s in (1, 2)])
    correlation = torch.corrcoef(drawn) - torch.eye(6)
    assert float(correlation.abs().max()) < 0.2


def test_streams_of_no_sequence_or_of_another_batch_are_refused():
    with pytest.raises(InputError, match="at least 1 generator"):
        Streams([])
    with pytest.raises(InputError, match=r"\(sample, 3, …\), got the shape \(2, 4, 6\)"):
        gaussian(4, 6).draw(window_generators(NUMBERS, 1), 2)


def test_parts_of_a_batch_draw_what_the_whole_does_time_after_time():
    parts = [Part(0, 3, 5), Part(3, 5, 5)]
    whole, own = seeded_generator(3), [PartGenerator(seeded_generator(3), part) for part in parts]
    for samples in (2, 1):
        expected = gaussian(5, 6).draw(whole, samples)
        found = [gaussian(len(p), 6).draw(g, samples) for p, g in zip(parts, own, strict=True)]
        assert torch.equal(torch.cat(found, dim=1), expected)
    common = [torch.rand(2, generator=generator) for generator in own]
    assert torch.equal(common[0], common[1])


def test_a_part_of_other_size_than_its_values_is_refused():
    generator = PartGenerator(seeded_generator(1), Part(0, 3, 5))
    with pytest.raises(InputError, match=r"draws as many along axis 0, got the shape \(2, 4\)"):
        draw_rows(lambda shape: torch.rand(shape, generator=generator), (2, 4), generator, axis=0)
