"""What transformers reads passes one door: no code of a folder runs, no weight is NaN."""

import ast
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
)

from llm_bridge.embedded.tiny import build_tokenizer
from llm_bridge.lm.checkpoints import load_judge, load_policy, load_trunk
from llm_bridge.lm.loading import build, load_config, load_tokenizer
from llm_bridge.lm.sampling import NONE, Sampling, choose, draw
from llm_bridge.plans.architectures import architecture
from llm_bridge.rewards.ensembles import Ensemble, EnsembleSettings
from llm_bridge.rewards.kinds import Workshop
from theory.errors import InputError

ROOT = Path(__file__).parents[2]
DOOR = "llm_bridge/lm/loading.py"
OWN = {"Ensemble", "StackedLora"}
"""Classes of ours with a method of that name, which reads files of ours."""


def calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in ("from_pretrained", "from_config"):
            yield ast.unparse(node.value)


def test_transformers_reads_through_one_door():
    found = {
        (str(path.relative_to(ROOT)), owner)
        for package in ("theory", "bandits", "llm_bridge", "figures")
        for path in (ROOT / package).rglob("*.py")
        for owner in calls(path)
    }
    assert {file for file, owner in found if owner not in OWN} == {DOOR}
    opened = (ROOT / DOOR).read_text()
    assert opened.count("**_NO_CODE") == sum(owner != "PeftModel" for owner in calls(ROOT / DOOR))
    files = (ROOT / "llm_bridge").rglob("*.py")
    assert [file for file in files if "trust_remote" in file.read_text()] == [ROOT / DOOR]


@pytest.fixture
def model():
    with torch.random.fork_rng():
        config = GPT2Config(
            vocab_size=len(build_tokenizer()), n_positions=64, n_embd=16, n_layer=1, n_head=2
        )
        return GPT2LMHeadModel(config).eval()


def saved(folder, model):
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def judge_of(folder, model):
    config = GPT2Config(**{**model.config.to_dict(), "num_labels": 1, "pad_token_id": 0})
    return saved(folder, GPT2ForSequenceClassification(config))


def ensemble_of(folder, model):
    settings = EnsembleSettings("heads", 2)
    models = Workshop(settings, model, build_tokenizer(), 64, seed=0).untrained()
    Ensemble(models, settings).save(folder)
    return folder


WAYS = {
    "policy": (saved, load_policy), "trunk": (saved, load_trunk), "judge": (judge_of, load_judge),
    "ensemble": (ensemble_of, Ensemble.from_pretrained), "plan": (saved, architecture),
    "config": (saved, load_config), "tokenizer": (saved, load_tokenizer),
    "built": (saved, lambda folder: build(AutoModel, load_config(folder), torch.float32)),
}  # fmt: skip
MAPS = {
    "config": {"AutoConfig": "evil.Evil"}, "model": {"AutoModel": "evil.Evil"},
    "language model": {"AutoModelForCausalLM": "evil.Evil", "AutoConfig": "evil.Evil"},
    "judge": {"AutoModelForSequenceClassification": "evil.Evil"},
    "tokenizer": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
    "elsewhere": {"AutoConfig": "someone/else--evil.Evil", "AutoModel": "someone/else--evil.Evil"},
}  # fmt: skip


@pytest.mark.parametrize("kind", ["gpt2", "evil"])
@pytest.mark.parametrize("where", MAPS)
@pytest.mark.parametrize("way", WAYS)
def test_code_of_a_folder_neither_runs_nor_is_asked_about(
    way, where, kind, model, tmp_path, monkeypatch
):
    make, load = WAYS[way]
    folder, ran = make(tmp_path / "model", model), tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Evil: pass\n")
    for name in ("config.json", "tokenizer_config.json"):
        about = json.loads((folder / name).read_text())
        about["auto_map"] = MAPS[where]
        if kind == "evil":
            about |= {"model_type": "evil", "tokenizer_class": "Evil"}
        (folder / name).write_text(json.dumps(about))
    asked = []
    monkeypatch.setattr("builtins.input", lambda *text: asked.append(text) or "y")
    with suppress(InputError):
        load(folder)
    assert not ran.exists()
    assert asked == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("way", ["policy", "trunk", "judge", "ensemble"])
def test_weights_that_are_not_finite_are_named(way, value, model, tmp_path):
    make, load = WAYS[way]
    spoilt = model.transformer.h[0].mlp.c_fc.weight
    spoilt.data[3, 5] = value
    if way == "judge":
        folder = judge_of(tmp_path, model)
        found = GPT2ForSequenceClassification.from_pretrained(folder)
        found.transformer.h[0].mlp.c_fc.weight.data[3, 5] = value
        found.save_pretrained(folder)
    else:
        folder = make(tmp_path, model)
    with pytest.raises(
        InputError, match=r"weights of .*mlp\.c_fc\.weight are not finite"
    ) as raised:
        load(folder)
    assert str(folder) in str(raised.value)


def drawn(model, **settings):
    tokenizer = build_tokenizer()
    return draw(
        model, tokenizer, [tokenizer.decode([5])] * 3, Sampling(4), limit=16,
        uniforms=torch.full((3, 4), 0.5), **settings,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["wte", "ln_f", "h.0.attn.c_attn"])
def test_a_policy_of_nan_weights_draws_nothing(name, model):
    model.transformer.get_submodule(name).weight.data.fill_(np.nan)
    with pytest.raises(InputError, match=r"weights of .* are not finite.*learning rate"):
        drawn(model)


def test_a_policy_of_infinite_products_draws_nothing(model):
    model.transformer.ln_f.weight.data.fill_(3e38)
    model.transformer.wte.weight.data.mul_(1e10)
    with pytest.raises(InputError, match="finite probabilities"):
        drawn(model)
    assert (drawn(model, finite=False).responses >= 0).all()


def test_nothing_is_chosen_from_shares_that_are_not_finite():
    shares = [[0.5, 0.5, 0.0], [np.nan, 0.5, 0.5], [0.0, np.inf, 1.0], [0.0, 0.0, 1.0]]
    found = choose(torch.tensor(shares), torch.tensor([[0.9]] * 4))[:, 0].tolist()
    assert found == [1, NONE, NONE, 2]
