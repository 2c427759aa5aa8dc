"""Figures of the adaptive KL coefficient of a reward ensemble (2024), on the grid world."""
