"""Figures of Efficient Reward Model Ensemble (2024), on the grid world. They need PyTorch."""
