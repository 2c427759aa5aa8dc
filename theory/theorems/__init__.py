"""Each audited claim of the papers as data, with checks that compute both sides."""
