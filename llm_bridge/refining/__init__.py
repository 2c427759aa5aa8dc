"""Refinement of reward models by relabelled interactions [ugda2025]."""
