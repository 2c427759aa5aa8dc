"""TRL's PPOTrainer on random GPT-2s and words that are numbers.

TRL 1.12 is the last with PPO; it is imported where it is used.
"""

from importlib.metadata import PackageNotFoundError, version

import torch
from transformers import GPT2Config


def has_trl():
    try:
        return version("trl").startswith("1.12.")
    except PackageNotFoundError:
        return False


def config(words, *, layers, width, heads, **more):
    """The last two words end and pad."""
    eos, pad = words - 2, words - 1
    return GPT2Config(
        vocab_size=words, n_layer=layers, n_embd=width, n_head=heads, bos_token_id=eos,
        eos_token_id=eos, pad_token_id=pad, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **more,
    )  # fmt: skip


def make_tokenizer(words):
    """Words "0", "1", ... are their own tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    found = Tokenizer(models.WordLevel({str(i): i for i in range(words)}, unk_token="0"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=found, eos_token=str(words - 2), pad_token=str(words - 1),
        padding_side="left",
    )  # fmt: skip


class Lengths(torch.nn.Module):
    """A reward in the form that TRL takes: the "last hidden state" is it already."""

    base_model_prefix = "backbone"

    def __init__(self):
        super().__init__()
        self.backbone, self.score = _Backbone(), torch.nn.Identity()


class _Backbone(torch.nn.Module):
    def forward(self, input_ids, attention_mask, **_):
        from transformers.modeling_outputs import BaseModelOutput

        score = (input_ids.double().log1p() * attention_mask).mean(1)
        score = score.to(torch.get_default_dtype())
        return BaseModelOutput(hidden_states=(score[:, None, None].expand(*input_ids.shape, 1),))


def their_trainer(
    model, reference, value_model, tokenizer, prompts, folder, callback, *, batch, tokens, **more
):
    """Trains `model` and `value_model` in place, on the CPU in float32, a minibatch at a time."""
    from datasets import Dataset
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    args = PPOConfig(
        output_dir=str(folder), use_cpu=True, bf16=False, report_to="none", save_strategy="no",
        logging_strategy="no", num_sample_generations=0, disable_tqdm=True,
        per_device_train_batch_size=batch, gradient_accumulation_steps=1, response_length=tokens,
        local_rollout_forward_batch_size=batch, **more,
    )  # fmt: skip
    data = Dataset.from_dict({"input_ids": prompts})
    return PPOTrainer(
        args=args, processing_class=tokenizer, model=model, ref_model=reference,
        reward_model=Lengths(), train_dataset=data, eval_dataset=data, value_model=value_model,
        callbacks=[callback],
    )  # fmt: skip
