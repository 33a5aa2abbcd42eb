"""DSVAE: a disentangled sequential auto-encoder, whose content has a prior."""
