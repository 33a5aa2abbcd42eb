"""Test protocols and published scores, as data."""
