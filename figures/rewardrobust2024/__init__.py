"""Figures of Reward-Robust RLHF in LLMs (2024), on the grid world. They need PyTorch."""
