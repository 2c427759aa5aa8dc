"""Worlds small enough to see everything: bandits and the 8x8 toy."""
