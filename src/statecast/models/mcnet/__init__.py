"""MCnet: motion and content of a video, encoded separately and decoded together."""
