"""What PPO trains: a copy of a language model, or adapters on it."""

from copy import deepcopy
from typing import Any

from llm_bridge.lm.actor import Actor
from llm_bridge.lm.head import at_least_float32, widened
from llm_bridge.settings import Settings


def make_actor(model: Any, settings: Settings, *, temperature: float, seed: int) -> Actor:
    """A copy of a language model to be trained: all of it, or adapters on it.

    What is trained is float32 at least, whatever the model is: smaller numbers lose most updates.
    """
    copy = deepcopy(model)
    if settings.lora is None:
        at_least_float32(copy).requires_grad_(True)
    else:
        settings.lora.attach(copy, "default", seed=seed)
        for parameter in copy.parameters():
            if parameter.requires_grad:
                parameter.data = widened(parameter.data)
    critic = None
    if settings.critic == "separate":
        critic = at_least_float32(deepcopy(model.base_model)).requires_grad_(True)
    return Actor(copy, temperature=temperature, critic=critic, precision=settings.precision)
