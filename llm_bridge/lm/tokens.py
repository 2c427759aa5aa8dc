"""Texts to padded batches: prompts on the left, responses on the right, and what is live."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int

from theory.errors import InputError

BREAK = "\n"
"""What a response is tokenised after."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Prompts, padded on the left, and their responses, padded on the right.

    live: tokens of a response that count, its end-of-sequence token among them.
    """

    prompts: Int[torch.Tensor, "batch prompt_time"]
    prompt_mask: Bool[torch.Tensor, "batch prompt_time"]
    responses: Int[torch.Tensor, "batch time"]
    live: Bool[torch.Tensor, "batch time"]

    @property
    def tokens(self) -> Int[torch.Tensor, "batch all_time"]:
        """Prompt and response."""
        return torch.cat([self.prompts, self.responses], dim=1)

    @property
    def mask(self) -> Bool[torch.Tensor, "batch all_time"]:
        """What is not padding."""
        return torch.cat([self.prompt_mask, self.live], dim=1)

    @property
    def positions(self) -> Int[torch.Tensor, "batch all_time"]:
        """Position of every token, counted from the first that is not padding."""
        return positions(self.mask)

    def to(self, device: Any) -> "Batch":
        """The same on a device."""
        return Batch(*(x.to(device) for x in self._tensors()))

    def trimmed(self) -> "Batch":
        """Without columns that are padding in every row."""
        ends = self.prompt_mask.any(0).long().argmax(), self.live.sum(1).max()
        first, width = torch.stack(ends).tolist()
        return Batch(
            self.prompts[:, first:], self.prompt_mask[:, first:],
            self.responses[:, :width], self.live[:, :width],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, rows: Any) -> "Batch":
        return Batch(*(x[rows] for x in self._tensors()))

    def _tensors(self) -> tuple[torch.Tensor, ...]:
        return self.prompts, self.prompt_mask, self.responses, self.live


def below(parts: Sequence[Batch]) -> Batch:
    """Batches of one width below each other."""
    return Batch(*map(torch.cat, zip(*(part._tensors() for part in parts), strict=True)))


def positions(mask: Bool[torch.Tensor, "batch time"]) -> Int[torch.Tensor, "batch time"]:
    """0, 1, 2 ... over the tokens of each row that are not padding; 0 on padding."""
    counted = mask.long().cumsum(-1) - 1
    return counted.clamp(min=0) * mask


def encode_prompts(
    tokenizer: Any, prompts: Sequence[str], *, limit: int
) -> tuple[Int[torch.Tensor, "batch time"], Bool[torch.Tensor, "batch time"]]:
    """Tokens of prompts with special tokens, padded on the left.

    Raises `InputError` for an empty prompt, one beyond `limit`, or a tokenizer without padding.
    """
    check_tokenizer(tokenizer)
    rows = [tokenizer(text).input_ids for text in prompts]
    for text, row in zip(prompts, rows, strict=True):
        if not text.strip() or not row:
            raise InputError("prompts", "not empty", repr(text))
        if len(row) > limit:
            raise InputError(
                "prompts", f"at most {limit} tokens, to leave room for a response",
                f"{len(row)} tokens: {text[:60]!r} ...", "shorten prompts, or the response length",
            )  # fmt: skip
    return _padded([row[::-1] for row in rows], tokenizer.pad_token_id, flip=True)


def encode(
    tokenizer: Any,
    prompts: Sequence[str],
    responses: Sequence[str],
    *,
    limit: int,
    empty: bool = False,
) -> Batch:
    """Prompts and whole responses, each with an end-of-sequence token.

    A response is tokenised as what follows a prompt, without a space that its text has not: what
    was drawn and made text by `llm_bridge.data.pairs.decode` is read as the same tokens. Not so
    where a policy drew a spelling that its tokenizer would not, e.g. two tokens for a word that has
    its own; tokens never span the end of a prompt, even where the tokenizer would merge across it.

    empty: whether a response may be nothing but its end, as a policy's may.

    Raises `InputError` as `encode_prompts`, and for an empty response or a text beyond `limit`.
    """
    for text in () if empty else responses:
        if not text.strip():
            raise InputError("responses", "not empty", repr(text))
    rows = _continued(tokenizer, responses)
    left, mask = encode_prompts(tokenizer, prompts, limit=limit - 1)
    right, live = _padded([[*row, tokenizer.eos_token_id] for row in rows], tokenizer.pad_token_id)
    lengths = mask.sum(1) + live.sum(1)
    if int(lengths.max()) > limit:
        worst = int(lengths.argmax())
        raise InputError(
            "responses", f"prompt, response and their end within {limit} tokens",
            f"{int(lengths[worst])} tokens: {prompts[worst][:60]!r} ...", "shorten or drop them",
        )  # fmt: skip
    return Batch(left, mask, right, live)


def _continued(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of texts that continue another.

    Tokenizers in the manner of SentencePiece put a space before a text, but none after a line
    break. Those that merge a line break with what follows put no space before a text either.
    """

    def tokens(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    before, rows = tokens(BREAK), []
    for text in texts:
        row = tokens(BREAK + text)
        merged = row[: len(before)] != before
        rows.append(tokens(text) if merged else row[len(before) :])
    return rows


def check_tokenizer(tokenizer: Any) -> None:
    """Raise unless there are tokens for padding and for the end."""
    for name in ("pad_token", "eos_token"):
        if getattr(tokenizer, name) is None:
            raise InputError(
                "tokenizer", f"one with a {name}", "none",
                f"set tokenizer.{name}, e.g. to an unused token",
            )  # fmt: skip


def _padded(
    rows: Sequence[Sequence[int]], pad: int, *, flip: bool = False
) -> tuple[Int[torch.Tensor, "batch time"], Bool[torch.Tensor, "batch time"]]:
    width = max(len(row) for row in rows)
    tokens = torch.full((len(rows), width), pad)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = True
    return (tokens.flip(1), mask.flip(1)) if flip else (tokens, mask)
