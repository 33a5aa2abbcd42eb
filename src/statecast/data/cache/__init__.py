"""Prepared data, stored once and checked when read."""
