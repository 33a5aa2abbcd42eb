"""Principal directions in parts: those of the whole, whatever the parts."""

import pytest
import torch

from statecast.errors import InputError
from statecast.models.incremental_svd import IncrementalBasis


def rows(count, columns, rank, seed=0):
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(count, rank, generator=generator, dtype=torch.float64)
    right = torch.randn(rank, columns, generator=generator, dtype=torch.float64)
    return 3 + left @ right


def basis_of(parts, rank):
    basis = IncrementalBasis(rank)
    for part in parts:
        basis.add(part)
    return basis


@pytest.mark.parametrize("columns", [7, 300])  # fewer and more than there are rows in a part
@pytest.mark.parametrize("sizes", [(60,), (1, 2, 57), (20, 20, 20)])
def test_it_is_the_singular_value_decomposition_of_all_rows(columns, sizes):
    everything = rows(60, columns, 5)
    basis = basis_of(everything.split(list(sizes)), 5)
    mean = everything.mean(dim=0)
    _, singular, directions = torch.linalg.svd(everything - mean, full_matrices=False)
    assert basis.count == 60
    torch.testing.assert_close(basis.mean, mean)
    torch.testing.assert_close(basis.singular, singular[:5])
    overlap = (basis.directions @ directions[:5].T).abs()
    torch.testing.assert_close(overlap, torch.eye(5, dtype=torch.float64), atol=1e-6, rtol=0)


def test_directions_that_are_not_there_are_not_made_up():
    basis = basis_of(rows(40, 30, 3).split(10), 20)
    assert len(basis.directions) == 3
    assert len(basis_of([torch.ones(4, 5, dtype=torch.float64)], 2).directions) == 0


def test_dropped_directions_cost_little_where_they_vary_little():
    full = rows(400, 120, 100) * torch.logspace(0, -3, 120, dtype=torch.float64)
    basis = basis_of(full.split(50), 20)
    singular = torch.linalg.svdvals(full - full.mean(dim=0))[:20]
    torch.testing.assert_close(basis.singular, singular, rtol=1e-3, atol=0)


def test_rank_of_an_energy_is_the_fewest_directions_that_hold_it():
    start = torch.eye(4, dtype=torch.float64) * torch.tensor([8.0, 4.0, 2.0, 1.0])
    basis = basis_of([start, -start], 4)
    # Variances 64 : 16 : 4 : 1 of 85.
    assert [basis.rank_of(share) for share in (0.1, 0.75, 0.76, 0.94, 0.95, 1.0)] == [
        1, 1, 2, 2, 3, 4,
    ]  # fmt: skip


def test_a_basis_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        IncrementalBasis(0)
