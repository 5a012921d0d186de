"""Sequences of unequal length, padded: why a loss should know the padding, and nobody should cut it out.

A small Transformer learns to write dates as ISO 8601 does: "Sun 3 Mar 1996" becomes "1996-03-03", "March 1996"
becomes "1996-03". It is trained by teacher forcing: seeing ``y[:, :-1]``, it predicts ``y[:, 1:]``. Sentences of a
batch are padded to one length, and a padded place is no mistake that anybody could make: it must count in neither the
loss, nor the number the loss is divided by, nor the accuracy. Three ways to say so, with the same value and gradient:

    cut out      kept = y != PAD; cross_entropy(logits[kept], y[kept])    a boolean selection, of a new size each step
    ignore_index nn.CrossEntropyLoss(ignore_index=PAD)(logits.mT, y)      torch's name and order of dimensions
    mask         nn.SoftmaxCrossEntropyLoss()(logits, y, mask=y != PAD)   the catalogue's, with the classes last

The selection waits for the device (how many are kept?) and makes another shape in each step, which a compiler does not
like. The other two do not.

Run it:  python examples/torch_seq2seq.py
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta

import torch

from lossary import nn

Tensor = torch.Tensor

PAD, START, END = 0, 1, 2
STEPS = 300
BATCH = 64
FORMATS = (  # how people write a date, and how ISO 8601 does
    ("{day} %B %Y", "%Y-%m-%d"),
    ("%B {day}, %Y", "%Y-%m-%d"),
    ("%a {day} %b %Y", "%Y-%m-%d"),
    ("%d.%m.%Y", "%Y-%m-%d"),
    ("%B %Y", "%Y-%m"),
    ("the year %Y", "%Y"),
)


@dataclass(frozen=True)
class Outcome:
    """How well the network does on dates it has never seen."""

    steps: int
    loss: float
    token_accuracy: float
    exact: float
    samples: tuple[tuple[str, str], ...]


def write(day: date, formats: tuple[str, str]) -> tuple[str, str]:
    """Write a day as people do and as ISO 8601 does."""
    human, iso = formats
    return day.strftime(human.replace("{day}", str(day.day))), day.strftime(iso)


def pairs() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return written days from 1900 to 2099, each day in one format: those to learn from, and 200 unseen days."""
    chance = random.Random(0)
    first = date(1900, 1, 1)
    days = [first + timedelta(days=n) for n in range((date(2100, 1, 1) - first).days)]
    chance.shuffle(days)
    written = [write(day, chance.choice(FORMATS)) for day in days]
    return written[200:], written[:200]


class Alphabet:
    """Characters as numbers, and sentences as rows padded to the longest."""

    def __init__(self, texts: list[str]) -> None:
        self.characters = sorted({character for text in texts for character in text})
        self.number = {character: n for n, character in enumerate(self.characters, start=END + 1)}

    def __len__(self) -> int:
        return len(self.characters) + END + 1

    def encode(self, texts: list[str]) -> Tensor:
        """Return one row per text: START, the characters, END, and PAD up to the longest."""
        rows = [[START, *(self.number[character] for character in text), END] for text in texts]
        longest = max(map(len, rows))
        return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])

    def decode(self, row: Tensor) -> str:
        """Return the text of a row, up to its END."""
        text = ""
        for number in row.tolist():
            if number == END:
                break
            text += self.characters[number - END - 1] if number > END else ""
        return text


class Translator(nn.Module):
    """A Transformer from characters to characters."""

    def __init__(self, characters: int, width: int = 64, longest: int = 40) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, width)
        self.place = nn.Embedding(longest, width)
        self.transformer = nn.Transformer(
            width,
            nhead=4,
            num_encoder_layers=1,
            num_decoder_layers=1,
            dim_feedforward=128,
            dropout=0.0,
            batch_first=True,
        )
        self.head = nn.Linear(width, characters)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the logits of what follows each character of the target, given the source and what precedes."""
        hidden = self.transformer(
            self._embedded(source),
            self._embedded(target),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(target.shape[1], dtype=torch.bool),
            tgt_is_causal=True,
            src_key_padding_mask=source == PAD,
            memory_key_padding_mask=source == PAD,
        )
        return self.head(hidden)

    def _embedded(self, tokens: Tensor) -> Tensor:
        return self.embed(tokens) + self.place(torch.arange(tokens.shape[1]))

    @torch.no_grad()
    def translate(self, source: Tensor, longest: int = 12) -> Tensor:
        """Write the target of each source, always taking the likeliest character."""
        target = torch.full((len(source), 1), START)
        for _ in range(longest):
            following = self(source, target)[:, -1].argmax(-1, keepdim=True)
            target = torch.cat([target, following], dim=1)
        return target


def cut_out(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the loss as it is often written: of the places that are left when the padding has been cut out."""
    kept = wanted != PAD
    return torch.nn.functional.cross_entropy(logits[kept], wanted[kept])


def ignored(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the same with torch's `ignore_index`, of logits whose classes are the second dimension."""
    return nn.CrossEntropyLoss(ignore_index=PAD)(logits.mT, wanted)


def masked(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the same with the catalogue's `mask`, of logits whose classes are the last dimension."""
    return nn.SoftmaxCrossEntropyLoss()(logits, wanted, mask=wanted != PAD)


def main(steps: int = STEPS) -> Outcome:
    """Train the translator and print how it writes dates it has never seen."""
    torch.manual_seed(0)
    known, unseen = pairs()
    alphabet = Alphabet([text for pair in known + unseen for text in pair])
    model = Translator(len(alphabet))
    optimiser = torch.optim.Adam(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    batches = random.Random(1)

    print(f"{len(known)} dates to learn from, {len(unseen)} to be judged by, {len(alphabet)} characters\n")
    print(f"{'step':>5}  {'loss':>7}  {'characters right':>16}")
    for step in range(1, steps + 1):
        sources, targets = zip(*batches.sample(known, BATCH), strict=True)
        source, target = alphabet.encode(list(sources)), alphabet.encode(list(targets))
        given, wanted = target[:, :-1], target[:, 1:]
        logits = model(source, given)
        loss = ignored(logits, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % (steps // 5) == 0:
            right = (logits.argmax(-1) == wanted)[wanted != PAD].float().mean()
            print(f"{step:5}  {loss.item():7.4f}  {right.item():16.1%}")

    sources, targets = zip(*unseen, strict=True)
    source, target = alphabet.encode(list(sources)), alphabet.encode(list(targets))
    with torch.no_grad():
        logits, wanted = model(source, target[:, :-1]), target[:, 1:]
        right = (logits.argmax(-1) == wanted)[wanted != PAD].float().mean().item()
        loss = ignored(logits, wanted).item()
    written = [alphabet.decode(row) for row in model.translate(source)]
    exact = sum(a == b for a, b in zip(written, targets, strict=True)) / len(unseen)
    samples = tuple(zip(sources[:6], written[:6], strict=True))

    print(f"\nUnseen dates: loss {loss:.4f}, {right:.1%} of the characters, {exact:.1%} of the dates without error")
    for said, found in samples:
        print(f"  {said:<28} {found}")
    return Outcome(steps, loss, right, exact, samples)


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks this small are slower on more
    main()
