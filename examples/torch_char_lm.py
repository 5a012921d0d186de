"""A language model of any document, by characters or by words: why its head and its loss belong together.

A recurrent network reads the text and says after each token what comes next. Of characters there are a hundred, of
words thousands, and one logit is made for each, at each place of a batch: 4096 places of 4000 words are 66 megabytes,
held once for the softmax and once more for its gradient, while the whole network takes 3. With

    lossary.linear(lossary.softmax_cross_entropy, hidden, embedding.weight, following, bias)

the logits are made for a few places at a time, and their gradients are added up on the way. The numbers are the same.
`memory` says how many bytes that may take; left alone it is 48 MiB, for vocabularies of today's models.

The vocabulary is that of the first nine tenths of the text; a word that occurs in the last tenth only has no class. Its
label is ``ignore_index``: nothing is computed for it, and the perplexity is that of the words that could be said.

Run it:  python examples/torch_char_lm.py                            (words of Python's own help pages)
         python examples/torch_char_lm.py --level character
         python examples/torch_char_lm.py my_document.txt --steps 500
"""

from __future__ import annotations

import argparse
import gc
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track

import lossary
from lossary import nn

Tensor = torch.Tensor

WIDTH = 128
PLACES, ROWS = 32, 32  # tokens of a window, windows of a batch
MEMORY = 4 * 2**20  # bytes for the logits that are there at a time
UNKNOWN = -100
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux knows its own peak


@dataclass(frozen=True)
class Cost:
    """What one evaluation of head and loss, with all gradients, takes."""

    way: str
    loss: float
    seconds: float
    megabytes: float  # at most, beyond what was there before; NaN where the system does not tell


@dataclass(frozen=True)
class Outcome:
    """How well the text is predicted, and what the two ways to compute the head cost."""

    vocabulary: int
    guess: float  # perplexity of the frequencies alone
    perplexity: float  # of the network, on text that it has not seen
    costs: tuple[Cost, ...]
    sample: str


def document(path: str | None) -> str:
    """Return the text of a file, or of the help pages that come with Python."""
    if path is not None:
        return Path(path).read_text(encoding="utf-8")
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


class Vocabulary:
    """Tokens as numbers: those of the text that is learned from."""

    def __init__(self, level: str, text: str) -> None:
        self.pattern, self.between = (".", "") if level == "character" else (r"\w+|[^\w\s]", " ")
        self.tokens = sorted({*self.split(text)})
        self.number = {token: n for n, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def split(self, text: str) -> list[str]:
        """Cut a text into tokens."""
        return re.findall(self.pattern, text, re.DOTALL)

    def encode(self, text: str) -> Tensor:
        """Return the numbers of the tokens of a text, `UNKNOWN` for those that are not known."""
        return torch.tensor([self.number.get(token, UNKNOWN) for token in self.split(text)])

    def decode(self, numbers: list[int]) -> str:
        """Return the text of some tokens."""
        return self.between.join(self.tokens[n] for n in numbers)


class Reader(nn.Module):
    """Reads tokens and gives, after each, a hidden state; the head that makes logits of it shares its embedding."""

    def __init__(self, vocabulary: int, width: int = WIDTH) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the hidden states after each token; an unknown one is read as the first of the vocabulary."""
        hidden, _ = self.recurrent(self.embedding(tokens.clamp(min=0)))
        return hidden

    def head(self) -> tuple[Tensor, Tensor]:
        """Return the weight and the bias of the head."""
        return self.embedding.weight, self.bias


def in_one(hidden: Tensor, weight: Tensor, bias: Tensor, following: Tensor) -> Tensor:
    """Return the loss by chunks of logits."""
    return lossary.linear(
        lossary.softmax_cross_entropy, hidden, weight, following, bias, ignore_index=UNKNOWN, memory=MEMORY
    )


def eager(hidden: Tensor, weight: Tensor, bias: Tensor, following: Tensor) -> Tensor:
    """Return the same loss of logits that are there as a whole."""
    logits = nn.functional.linear(hidden, weight, bias)
    return torch.nn.functional.cross_entropy(logits.flatten(0, -2), following.flatten(), ignore_index=UNKNOWN)


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {"eager": eager, "lossary.linear": in_one}


def windows(tokens: Tensor, count: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return windows of a text and, of each of their tokens, the following one."""
    places = min(PLACES, len(tokens) - 1)
    starts = torch.randint(len(tokens) - places, (count, 1), generator=chance)
    at = starts + torch.arange(places)
    return tokens[at], tokens[at + 1]


def megabytes(what: str) -> float:
    """Return how much memory is used (VmRSS), or was at most (VmHWM)."""
    if not STATUS.exists():
        return math.nan
    return int(re.search(rf"{what}:\s+(\d+)", STATUS.read_text()).group(1)) / 1024  # type: ignore[union-attr]


def cost(way: str, model: Reader, given: Tensor, following: Tensor, times: int = 3) -> Cost:
    """Measure one way to compute the loss of a batch and its gradients, after one call to warm up."""
    weight, bias = model.head()
    hidden = model(given).detach().requires_grad_()
    seconds, most, value = [], 0.0, 0.0
    for n in range(times + 1):
        hidden.grad = weight.grad = bias.grad = None
        gc.collect()
        before = megabytes("VmRSS")
        if CLEAR.exists():
            CLEAR.write_text("5")  # the highest mark is set back to what is used now
        start = time.perf_counter()
        loss = WAYS[way](hidden, weight, bias, following)
        loss.backward()
        value = loss.item()
        most = max(most, megabytes("VmHWM") - before)
        if n:
            seconds.append(time.perf_counter() - start)
    model.zero_grad()
    return Cost(way, value, sorted(seconds)[len(seconds) // 2], most)


@torch.no_grad()
def perplexity(model: Reader, tokens: Tensor) -> float:
    """Return the exponential of the mean loss of a text, read from its beginning to its end."""
    whole = tokens[: (len(tokens) - 1) // PLACES * PLACES + 1]
    given, following = whole[:-1].view(-1, PLACES), whole[1:].view(-1, PLACES)
    return in_one(model(given), *model.head(), following).exp().item()


@torch.no_grad()
def continued(model: Reader, start: list[int], count: int, chance: torch.Generator) -> list[int]:
    """Return tokens drawn one after the other from what the network expects."""
    said = list(start)
    for _ in range(count):
        weight, bias = model.head()
        logits = model(torch.tensor([said[-PLACES:]]))[0, -1] @ weight.T + bias
        said.append(int(torch.multinomial(logits.softmax(-1), 1, generator=chance)))
    return said


def main(path: str | None = None, level: str = "word", steps: int = 200, characters: int | None = None) -> Outcome:
    """Learn a document and print how well it is predicted, some text in its manner, and what the head costs."""
    torch.manual_seed(0)
    chance = torch.Generator().manual_seed(0)
    text = document(path)[:characters]
    cut = len(text) * 9 // 10
    vocabulary = Vocabulary(level, text[:cut])
    known, unseen = vocabulary.encode(text[:cut]), vocabulary.encode(text[cut:])
    model = Reader(len(vocabulary))
    print(f"{len(known)} tokens to learn from, {len(unseen)} to be judged by, {len(vocabulary)} in the vocabulary")

    counts = Counter(known.tolist())
    frequency = torch.tensor([counts[n] for n in range(len(vocabulary))]) / len(known)
    guess = (-frequency[unseen[unseen >= 0]].log().mean()).exp().item()
    with torch.no_grad():
        model.bias.copy_(frequency.log())  # a network that has learned nothing says the frequencies

    optimiser = torch.optim.Adam(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in track(range(steps), "Reading", transient=True):
        given, following = windows(known, ROWS, chance)
        loss = in_one(model(given), *model.head(), following)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()

    found = perplexity(model, unseen)
    print(f"Perplexity of unseen text: {found:.1f}; of the frequencies alone: {guess:.1f}")
    sample = vocabulary.decode(continued(model, known[:1].tolist(), 40, chance))
    print(f"In its manner: {sample!r}\n")

    batch = windows(known, 4 * ROWS, chance)
    costs = tuple(cost(way, model, *batch) for way in WAYS)
    print(f"Head and loss of {batch[0].numel()} places, {len(vocabulary)} classes, with all gradients:")
    print(f"{'':<16}{'loss':>10}{'seconds':>10}{'peak MB':>10}")
    for row in costs:
        print(f"{row.way:<16}{row.loss:10.5f}{row.seconds:10.4f}{row.megabytes:10.1f}")
    return Outcome(len(vocabulary), guess, found, costs, sample)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", nargs="?", help="a text file in UTF-8; Python's help pages if none is given")
    parser.add_argument("--level", choices=("word", "character"), default="word", help="what a token is")
    parser.add_argument("--steps", type=int, default=200, help="batches to learn from")
    chosen = parser.parse_args()
    main(chosen.document, chosen.level, chosen.steps)
