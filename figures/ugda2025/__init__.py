"""Figures and tables of ugda2025."""
