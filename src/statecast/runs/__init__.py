"""Recipes and run folders: create, open, train, evaluate, verify."""
