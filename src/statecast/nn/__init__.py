"""Building blocks of models: layers, codecs, Gaussians, noise and the normaliser."""
