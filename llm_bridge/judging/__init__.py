"""Judges of texts, and comparisons of policies by them."""
