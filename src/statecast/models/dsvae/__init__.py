"""DSVAE: a disentangled sequential auto-encoder with a prior for content and for motion."""
