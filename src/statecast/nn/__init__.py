"""Blocks, codecs, Gaussians and the normaliser that models are built from."""
