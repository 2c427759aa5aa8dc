"""Exact solvers on plain arrays: closed forms and root finding, and the same problems in CVXPY."""
