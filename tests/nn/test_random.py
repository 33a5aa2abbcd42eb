"""Draws: each sample of each window has its own, whatever is drawn beside it."""

import numpy as np
import pytest
import torch
from scipy import stats

from statecast.data.base import seeded_generator, window_generators
from statecast.distributed import Part
from statecast.errors import InputError
from statecast.nn.random import (
    LaterSamples,
    PartGenerator,
    Streams,
    branch,
    normal_draws,
    standard_normal,
    uniform,
)

NUMBERS = torch.tensor([4, 0, 9])
LIKE = torch.empty(())


def normal(shape, generator):
    return standard_normal(shape, LIKE, generator)


@pytest.mark.parametrize("streams", [False, True])
def test_the_first_samples_are_the_same_however_many_are_drawn(streams):
    few, many = (
        window_generators(NUMBERS, 3) if streams else seeded_generator(3) for _ in range(2)
    )
    for shape in ((6,), (2, 5), (7,)):  # time after time, of any shape
        one, other = normal((2, 3, *shape), few), normal((50, 3, *shape), many)
        assert torch.equal(one, other[:2])


@pytest.mark.parametrize("streams", [False, True])
def test_a_branch_is_apart_and_takes_one_number_however_much_it_gives(streams):
    def generator():
        return window_generators(NUMBERS, 3) if streams else seeded_generator(3)

    found = []
    for size in (2, 50):
        whole = generator()
        made = branch(whole)
        found.append(
            (normal((2, 3, size), made), normal((2, 3, 5), made), normal((2, 3, 4), whole))
        )
    assert torch.equal(found[0][2], found[1][2])
    plain = generator()
    normal((2, 3, 4), plain)
    assert not torch.equal(normal((2, 3, 5), plain), found[0][1])
    later = LaterSamples(seeded_generator(3), 4)
    assert torch.equal(
        normal((3, 3, 6), branch(later)), normal((7, 3, 6), branch(seeded_generator(3)))[4:]
    )
    part = PartGenerator(seeded_generator(3), Part(1, 3, 3))
    assert torch.equal(
        normal((2, 2, 6), branch(part)), normal((2, 3, 6), branch(seeded_generator(3)))[:, 1:]
    )


@pytest.mark.parametrize("streams", [False, True])
def test_several_draws_at_once_are_those_of_one_after_another(streams):
    one, other = (
        window_generators(NUMBERS, 3) if streams else seeded_generator(3) for _ in range(2)
    )
    found = torch.stack([normal((2, 3, 5), one) for _ in range(4)])
    assert torch.equal(normal_draws(4, (2, 3, 5), LIKE, other), found)


def test_samples_drawn_later_are_those_of_all_at_once():
    whole = normal((5, 3, 4), seeded_generator(2))
    assert torch.equal(normal((3, 3, 4), LaterSamples(seeded_generator(2), 2)), whole[2:])


def test_each_window_draws_from_its_own_stream_time_after_time():
    streams = window_generators(NUMBERS, 3)
    first, second = normal((2, 3, 6), streams), normal((2, 3, 5), streams)
    for index, number in enumerate(NUMBERS.tolist()):
        own = seeded_generator(3, number)
        assert torch.equal(first[:, index : index + 1], normal((2, 1, 6), own))
        assert torch.equal(second[:, index : index + 1], normal((2, 1, 5), own))


def test_values_are_standard_normal_and_independent():
    values = normal((40, 50, 101), seeded_generator(1)).double()
    assert stats.kstest(values.flatten(), "norm").pvalue > 0.01
    assert float(values.mean()) == pytest.approx(0, abs=4 / values.numel() ** 0.5)
    assert float((values**4).mean()) == pytest.approx(3, abs=0.1)
    # Neighbours along every axis, and in the next draw.
    again = normal((40, 50, 101), seeded_generator(2)).double()
    generator = seeded_generator(1)
    later = [normal((40, 50, 101), generator).double() for _ in range(2)][1]
    pairs = [(values.narrow(d, 0, n - 1), values.narrow(d, 1, n - 1))
             for d, n in enumerate(values.shape)]  # fmt: skip
    for one, other in [*pairs, (values, again), (values, later), (values.abs(), later.abs())]:
        found = np.corrcoef(one.flatten(), other.flatten())[0, 1]
        assert abs(found) < 4.5 / one.numel() ** 0.5


def test_uniform_values_fill_the_unit_interval_and_not_its_end():
    values = uniform((200, 500), LIKE, seeded_generator(1))
    assert stats.kstest(values.flatten(), "uniform").pvalue > 0.01
    assert 0 <= float(values.min()) < 1e-4 < 1 - 1e-4 < float(values.max()) < 1


def test_streams_of_no_window_or_of_another_batch_are_refused():
    with pytest.raises(InputError, match="at least 1 generator"):
        Streams([])
    with pytest.raises(InputError, match=r"for 3 windows cannot draw for a batch of 4"):
        normal((2, 4, 6), window_generators(NUMBERS, 1))
    with pytest.raises(InputError, match=r"for 3 windows cannot draw for a batch of 2"):
        uniform((2, 4), LIKE, PartGenerator(seeded_generator(1), Part(0, 3, 5)))


def test_parts_of_a_batch_draw_what_the_whole_does_time_after_time():
    parts = [Part(0, 3, 5), Part(3, 5, 5)]
    whole, own = seeded_generator(3), [PartGenerator(seeded_generator(3), part) for part in parts]
    for samples in (2, 1):
        expected = normal((samples, 5, 6), whole)
        found = [normal((samples, len(p), 6), g) for p, g in zip(parts, own, strict=True)]
        assert torch.equal(torch.cat(found, dim=1), expected)
    expected = uniform((5, 2), LIKE, whole)
    found = [uniform((len(p), 2), LIKE, g) for p, g in zip(parts, own, strict=True)]
    assert torch.equal(torch.cat(found), expected)
    common = [torch.rand(2, generator=generator) for generator in own]
    assert torch.equal(common[0], common[1])
