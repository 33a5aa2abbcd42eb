"""Forecasters that move the pixels of the last frame: CDNA and SV2P."""
