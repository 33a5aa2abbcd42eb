"""Forecasts from a file to a file."""
