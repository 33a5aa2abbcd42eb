"""Evaluation: scores under a recorded protocol, and comparison of runs."""
