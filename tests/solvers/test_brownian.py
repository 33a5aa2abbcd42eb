"""Brownian paths: golden values, and one path whatever is asked of it, in any order."""

import math

import numpy as np
import pytest
import torch
from helpers.golden import tensors_of
from scipy import stats

from statecast.errors import InputError
from statecast.solvers.brownian import BrownianPath, bridge
from statecast.solvers.counters import counter_normals, counter_uniforms, numbers

LIKE = torch.empty((), dtype=torch.float64)


def path(rows=4, size=3):
    return BrownianPath.of_keys(numbers(1, rows) * np.uint64(977), size, LIKE)


def test_given_noise_leads_to_the_golden_path():
    expected = tensors_of("continuous_time", "brownian")

    def noise(node):
        if node == 0:
            return expected["xi_end"]
        level = int(math.log2(node))
        return expected[f"xi_level_{level}"][node - 2**level]

    found = BrownianPath(noise)
    for level in range(9):
        times = [index / 2**level for index in range(2**level + 1)]
        values = torch.stack([found.at(time) for time in times])
        torch.testing.assert_close(values, expected[f"path_level_{level}"], atol=1e-14, rtol=0)
    a, b, t = (float(expected[f"bridge_{name}"]) for name in "abt")
    value = bridge(found.at(a), found.at(b), (t - a) / (b - a), b - a, expected["bridge_noise"])
    torch.testing.assert_close(value, expected["bridge_value"], atol=1e-14, rtol=0)


def test_a_path_does_not_depend_on_the_times_or_the_order_asked_for():
    times = [1.0, 1 / 3, 0.5, 0.123456, 2 / 3, 0.75, 0.1, 0.0]
    together, backwards = path(), path()
    found = {time: together.at(time) for time in times}
    for time in reversed(times):
        assert torch.equal(backwards.at(time), found[time])
        assert torch.equal(path().at(time), found[time])


def test_more_rows_do_not_change_the_first():
    few, many = path(rows=2), path(rows=9)
    for time in (0.3, 0.5, 1.0):
        assert torch.equal(many.at(time)[:2], few.at(time))


@pytest.mark.parametrize("parts", [1, 4, 6])
def test_increments_are_independent_and_as_long_as_their_steps(parts):
    found = path(rows=20_000, size=1)
    steps = [found.increment(index / parts, (index + 1) / parts) for index in range(parts)]
    scaled = torch.stack(steps)[..., 0] * parts**0.5
    for step in scaled:
        assert stats.kstest(step, "norm").pvalue > 1e-3
    if parts > 1:
        correlation = np.corrcoef(scaled) - np.eye(parts)
        assert np.abs(correlation).max() < 4.5 / 20_000**0.5


def test_a_time_outside_is_refused():
    with pytest.raises(InputError, match=r"in \[0, 1\], got 1\.5"):
        path().at(1.5)


def test_values_of_neighbouring_keys_are_independent():
    keys = numbers(0, 4000)
    normals, uniforms = counter_normals(keys, 7, double=True), counter_uniforms(keys, 7)
    assert stats.kstest(normals.ravel(), "norm").pvalue > 1e-3
    assert stats.kstest(uniforms.ravel(), "uniform").pvalue > 1e-3
    for values in (normals, uniforms):
        assert abs(np.corrcoef(values[1:].ravel(), values[:-1].ravel())[0, 1]) < 0.03
