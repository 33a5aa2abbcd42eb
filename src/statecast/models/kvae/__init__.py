"""KVAE: frame codes driven by a linear Gaussian state, filtered and smoothed exactly."""
