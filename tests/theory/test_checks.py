"""Each validator: what passes, and what its message says otherwise."""

import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from theory import checks
from theory.binding import Binding
from theory.errors import InputError, SolveError, UnboundError
from theory.utilities import Mean

NAN, INF = float("nan"), float("inf")


def refused(message, check, *arguments, **options):
    """The check raises, with these words in this order."""
    pattern = ".*".join(re.escape(part) for part in message.split(" ... "))
    with pytest.raises(InputError, match=pattern):
        check(*arguments, **options)


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_finite(kind):
    checks.finite("r", kind([[1.0, -2.0]]))
    checks.finite("r", kind([]))
    bad = kind([[1.0, 2.0], [NAN, INF]])
    refused("`r` ... finite ... 2 NaN or infinite of 4 entries, first at index (1, 0)",
            checks.finite, "r", bad)  # fmt: skip
    refused("drop or rescore", checks.finite, "r", bad)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_finite_number(value):
    refused(f"`beta` must be finite, got {value}", checks.finite, "beta", value)


def test_positive():
    checks.positive("s", np.array([1e-300, 2.0]))
    checks.positive("s", 0.0, zero_allowed=True)
    checks.positive("s", INF)
    refused("`s` must be > 0, got a minimum of 0", checks.positive, "s", np.array([0.0, 1.0]))
    refused("`s` must be >= 0, got a minimum of -0.5", checks.positive, "s", torch.tensor([-0.5]),
            zero_allowed=True)  # fmt: skip
    refused("`s` must be > 0, got nan", checks.positive, "s", NAN)


def test_positive_number():
    checks.positive_number("beta", 1)
    checks.positive_number("lam", 0.0, zero_allowed=True)
    refused("`beta` must be > 0, got 0", checks.positive_number, "beta", 0.0)
    refused("`beta` must be finite, got inf", checks.positive_number, "beta", INF)
    refused("`beta` must be finite, got nan", checks.positive_number, "beta", NAN)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.floats(0.001, 3))
def test_probabilities_must_sum_to_one(weights, excess):
    rows = np.array([weights, weights]) / sum(weights)
    checks.probabilities("pi", rows)
    checks.probabilities("pi", rows.astype(np.float32))
    rows[1] *= 1 + excess
    message = (
        f"`pi` ... sum to 1 over the last axis, got a sum off by {rows[1].sum() - 1:+.3g} ... "
    )
    refused(message + "divide by the sum", checks.probabilities, "pi", rows)


def test_probabilities_report_a_deficit_and_a_sign():
    refused("off by -0.3", checks.probabilities, "pi", np.array([[0.6, 0.5], [0.2, 0.5]]))
    refused("`pi` must be non-negative probabilities, got a minimum of -0.1",
            checks.probabilities, "pi", np.array([1.1, -0.1]))  # fmt: skip
    refused("`pi` must be finite", checks.probabilities, "pi", np.array([NAN, 1.0]))


def test_shapes_that_do_not_broadcast_are_both_named():
    checks.broadcastable("a", np.ones((2, 3)), "b", torch.ones(3))
    refused("`b` must be broadcastable with `a` of shape (2, 3), got (4,)",
            checks.broadcastable, "a", np.ones((2, 3)), "b", np.ones(4))  # fmt: skip


def test_covariance():
    checks.covariance("S", np.diag([1e-9, 1.0]))
    checks.covariance("S", np.array([np.eye(2), np.eye(2) * 1e-20]))
    refused("`S` must be square ... (2, 3)", checks.covariance, "S", np.ones((2, 3)))
    refused("`S` must be square ... (3,)", checks.covariance, "S", np.ones(3))
    refused("`S` must be finite", checks.covariance, "S", np.full((2, 2), NAN))
    refused("`S` must be symmetric, got max |S - S'| = 0.5; pass (S + S.T) / 2",
            checks.covariance, "S", np.array([[1.0, 0.5], [0.0, 1.0]]))  # fmt: skip
    indefinite = np.array([np.eye(2), [[1.0, 2.0], [2.0, 1.0]]])
    refused("`S` must be positive definite, got a smallest eigenvalue of -1; regularise it "
            "(S + tau * I ... ledoit_wolf", checks.covariance, "S", indefinite)  # fmt: skip
    refused("smallest eigenvalue", checks.covariance, "S", np.ones((2, 2)))
    refused("smallest eigenvalue of 0", checks.covariance, "S", np.zeros((2, 2)))
    for singular in (np.ones((2, 2)), np.zeros((2, 2))):
        checks.covariance("S", singular, semidefinite=True)
    with pytest.raises(InputError, match=r"`S` must be positive semidefinite, got .* of -1"):
        checks.covariance("S", indefinite, semidefinite=True)


def test_names_come_with_the_nearest():
    checks.one_of("form", "kl", ("kl", "norm"))
    refused("`form` must be one of kl, quadratic, got 'quadrtic'; did you mean 'quadratic'?",
            checks.one_of, "form", "quadrtic", ("quadratic", "kl"))  # fmt: skip
    refused("got 'zzz'; see the list", checks.one_of, "form", "zzz", ("kl",))


@pytest.mark.usefixtures("without_shape_annotations")
def test_no_name_is_no_known_name():
    refused("`form` must be one of kl, got None", checks.one_of, "form", None, ("kl",))


@pytest.mark.parametrize(
    "error",
    [
        InputError("beta", "> 0", -1, "flip it"),
        InputError("r", "finite", np.array([1.0])),
        UnboundError(Mean(), "member_weights"),
        SolveError("no policy"),
    ],
)
def test_errors_survive_the_way_back_from_a_worker(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)


def test_what_is_not_bound_names_who_asks_and_the_call():
    words = re.escape("Mean() needs `mean_variance`") + ".*" + re.escape("bind(objective, scores")
    with pytest.raises(UnboundError, match=words):
        Binding().need("mean_variance", Mean())
    assert Binding(mean_variance=np.array(2.0)).need("mean_variance", Mean()) == 2
