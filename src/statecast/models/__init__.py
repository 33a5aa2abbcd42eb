"""MODELS: name -> class of every model."""
