"""Causal language models: loading, adapters, sampling, reading, fine-tuning."""
