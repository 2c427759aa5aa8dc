"""Prompts, texts and comparisons, from files or labelled by a judge."""
