"""Forecasts from files to files."""
