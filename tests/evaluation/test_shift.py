"""Test windows that lie outside of what was trained on are told of."""

import numpy as np
import pytest

from statecast.data.user.arrays import Arrays
from statecast.evaluation.shift import shift_warnings


@pytest.mark.parametrize(("trend", "side"), [(0.0, None), (0.2, "above"), (-0.2, "below")])
def test_a_climate_that_moves_is_told_of(tmp_path, trend, side):
    values = np.random.default_rng(1).standard_normal((40, 20, 6, 6))
    values += trend * np.arange(40)[:, None, None, None]  # the last sequences are the tests
    np.save(tmp_path / "a.npy", values.astype(np.float32))
    data = Arrays(path=str(tmp_path / "a.npy"), axes="ntyx", context=4, horizon=3)
    found = shift_warnings(data.windows("train"), data.windows("test"))
    assert [side in text for text in found] == ([True] if side else [])
    assert not shift_warnings(data.windows("train"), data.windows("train"))
