"""SAVP: stochastic adversarial video prediction."""
