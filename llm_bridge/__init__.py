"""The same objectives on language models."""
