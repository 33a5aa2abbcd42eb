"""Stencils, time integration and random increments."""
