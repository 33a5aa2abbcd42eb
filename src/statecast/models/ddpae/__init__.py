"""DDPAE: a video as a sum of objects, each with a content that stays and a pose that moves."""
