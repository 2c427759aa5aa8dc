"""Reward models: training, ensembles, normalisation, evaluation."""
