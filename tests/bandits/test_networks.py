"""Batched networks against plain modules, and the numbers that belong to a member."""

import pytest
import torch

from bandits.networks import NETWORKS, Concatenated, PerPrompt, Table, init_layers
from tests.tolerance import FLOAT32
from theory.errors import InputError

SHAPE = (5, 3)


def plain(network, layers, seed, member):
    """The same function as a `torch.nn` module on one-hot inputs."""
    act = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[network.activation]
    modules = []
    for index in range(0, len(layers), 2):
        weight, bias = layers[index][seed, member], layers[index + 1][seed, member, 0]
        linear = torch.nn.Linear(*weight.shape)
        linear.weight.data, linear.bias.data = weight.mT, bias
        modules += [linear, act()]
    return torch.nn.Sequential(*modules[:-1])


def inputs(network):
    prompts, responses = SHAPE
    if isinstance(network, PerPrompt):
        return torch.eye(prompts)
    prompt = torch.eye(prompts).repeat_interleave(responses, 0)
    return torch.cat([prompt, torch.eye(responses).repeat(prompts, 1)], dim=1)


@pytest.mark.parametrize("kind", [PerPrompt, Concatenated])
@pytest.mark.parametrize("hidden", [(4,), (4, 6), (4, 6, 5)])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_they_compute_what_a_plain_module_computes(kind, hidden, activation):
    network = kind(hidden, activation)
    layers = network.init([0, 7], "test", SHAPE, members=3)
    batched = network(layers, SHAPE)
    assert batched.shape == (2, 3, *SHAPE)
    expected = plain(network, layers, 1, 2)(inputs(network)).reshape(SHAPE)
    torch.testing.assert_close(batched[1, 2], expected, atol=FLOAT32, rtol=FLOAT32)


@pytest.mark.parametrize("network", [PerPrompt((4, 6)), Concatenated((4, 6)), Table()])
def test_the_kernel_is_that_of_the_last_linear_step(network):
    """K = J J', J the gradient of every cell with respect to the last step's weights."""
    layers = network.init([0], "test", SHAPE, dtype=torch.float64)
    last = layers[-2:]
    cells = SHAPE[0] * SHAPE[1]

    def scores(*tensors):
        return network([*layers[: -len(last)], *tensors], SHAPE).flatten()

    jacobian = torch.autograd.functional.jacobian(scores, tuple(last))
    flat = torch.cat([part.reshape(cells, -1) for part in jacobian], dim=1)
    torch.testing.assert_close(network.kernel(layers, SHAPE)[0, 0], flat @ flat.mT)


@pytest.mark.parametrize("name", NETWORKS)
def test_members_and_seeds_have_weights_of_their_own(name):
    network = NETWORKS[name]()
    few = network.init([4], "reward", SHAPE, members=2)
    many = network.init([1, 4], "reward", SHAPE, members=3)
    for small, large in zip(few, many, strict=True):
        torch.testing.assert_close(small[0], large[1, :2])
    assert not torch.equal(many[0][0, 0], many[0][0, 1])
    other = network.init([4], "policy", SHAPE, members=2)
    assert not torch.equal(few[0], other[0])


def test_initial_weights_fill_their_interval():
    weights = init_layers(range(200), "test", (16, 4))[0].detach()
    assert float(weights.abs().max()) <= 0.25
    assert float(weights.abs().max()) > 0.249
    table = Table(2.0).init(range(200), "test", SHAPE)[0].detach()
    assert abs(float(table.std()) - 2) < 0.1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PerPrompt(activation="gelu"),
        lambda: PerPrompt(hidden=()),
        lambda: Concatenated(hidden=(0,)),
        lambda: Table(scale=-1.0),
    ],
)
def test_bad_input(wrong):
    with pytest.raises(InputError):
        wrong()
