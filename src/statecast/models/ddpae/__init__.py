"""DDPAE: a video as a sum of objects with constant content and moving pose."""
