"""MCnet: motion and content of a video, encoded apart and decoded together."""
