"""Figures of Banerjee and Gopalan (2024)."""
