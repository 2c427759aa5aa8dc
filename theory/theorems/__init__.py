"""Audited claims of the papers: each one as data, with a check that computes both statements."""

from theory.theorems.catalogue import CLAIMS
from theory.theorems.claim import Claim, Evidence, Finding, Trial, claim

__all__ = ["CLAIMS", "Claim", "Evidence", "Finding", "Trial", "claim"]
