"""A language model and reward models made once for all tests, in a folder of their own."""

import pytest


@pytest.fixture(scope="session")
def quick(tmp_path_factory):
    """Barely trained: for what does not depend on quality."""
    from llm_bridge.data.pairs import Labelling
    from llm_bridge.lm.sampling import Sampling
    from llm_bridge.lm.sft import FineTuning
    from llm_bridge.rewards.ensembles import EnsembleSettings
    from llm_bridge.rewards.models import RewardTraining
    from llm_bridge.sources import Embedded
    from llm_bridge.text_world import TextWorld

    return TextWorld(
        Embedded(sft=FineTuning(steps=60)),
        labelling=Labelling(60),
        ensemble=EnsembleSettings(members=3, training=RewardTraining(epochs=1)),
        references=8,
        sampling=Sampling(10),
        normalise="standardised",
        cache=tmp_path_factory.mktemp("quick"),
    )


@pytest.fixture
def brief():
    """PPO of a few responses."""
    from llm_bridge.settings import Settings

    return Settings(batch=16)
