"""SAVP: stochastic adversarial video prediction, a variational and adversarial CDNA."""
