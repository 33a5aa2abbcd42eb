"""METRICS: name -> class of every metric."""
