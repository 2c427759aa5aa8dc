"""The report: one self-contained page of what was drawn, claimed, measured and audited."""
