"""KVAE: codes of frames that follow a linear Gaussian state, filtered and smoothed exactly."""
