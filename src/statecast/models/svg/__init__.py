"""SVG: stochastic video generation with a learned or a fixed prior."""
