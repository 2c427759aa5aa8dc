"""A published reward model as the true reward of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.utils.rnn import pad_sequence

from theory.errors import InputError


@dataclass(frozen=True, eq=False)
class PublishedReward:
    """Scalar rewards of a sequence classifier with one label; a `Judge` of `llm_bridge.data.pairs`.

    A text is the tokenizer's chat template of a user's prompt and the assistant's response where it
    has one, else prompt and response as they stand. Prompts must not be in a template already.

    limit: tokens that a text may have, beyond which there is an `InputError`; batch: texts that are
    scored at once.
    """

    model: Any
    tokenizer: Any
    limit: int
    batch: int = 16

    @torch.no_grad()
    def __call__(
        self, prompts: Sequence[str], responses: Sequence[str]
    ) -> Float[np.ndarray, " samples"]:
        """One reward a text."""
        rows = [self._encode(p, r) for p, r in zip(prompts, responses, strict=True)]
        order = np.argsort([len(row) for row in rows], kind="stable")
        rewards = np.zeros(len(rows))
        for start in range(0, len(rows), self.batch):
            places = order[start : start + self.batch]
            rewards[places] = self._score([rows[place] for place in places])
        if not np.isfinite(rewards).all():
            raise InputError("judge", "finite rewards", "NaN or infinite ones")
        return rewards

    def _encode(self, prompt: str, response: str) -> list[int]:
        text, templated = prompt + response, self.tokenizer.chat_template is not None
        if templated:
            said = [("user", prompt), ("assistant", response)]
            messages = [{"role": role, "content": content} for role, content in said]
            text = self.tokenizer.apply_chat_template(messages, tokenize=False)
        tokens = list(self.tokenizer(text, add_special_tokens=not templated).input_ids)
        if not 0 < len(tokens) <= self.limit:
            raise InputError(
                "texts", f"1 to {self.limit} tokens for the judge", f"{len(tokens)}: {text[:60]!r}"
            )
        return tokens

    def _score(self, rows: Sequence[Sequence[int]]) -> Float[np.ndarray, " rows"]:
        """Decoders are read at the last token, whatever it is; encoders pool by themselves."""
        texts, pad = [torch.tensor(row) for row in rows], self.tokenizer.pad_token_id
        tokens = pad_sequence(texts, batch_first=True, padding_value=pad)
        mask = pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)
        tokens, mask = tokens.to(self.model.device), mask.to(self.model.device)
        head = getattr(self.model, "score", None)
        if head is None:
            logits = self.model(input_ids=tokens, attention_mask=mask).logits
        else:
            out = self.model.base_model(input_ids=tokens, attention_mask=mask)
            places = torch.arange(len(rows), device=tokens.device)
            logits = head(out.last_hidden_state[places, mask.sum(1) - 1])
        return logits[:, 0].double().cpu().numpy()
