"""Figures that go beyond the papers."""
