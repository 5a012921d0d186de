"""The contenders: Lossary by its several entry points, and the libraries that it is measured against."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lossary.errors import ArgumentError, MissingExtraError, suggest


@dataclass(frozen=True)
class Peer:
    """A contender's name, what must be importable for it, how that is installed, and whom its ratio refers to.

    `beside` lists keys of ours; the first that takes part is the one a ratio divides by: what the same user would call
    instead. Ours have none.
    """

    key: str
    label: str
    modules: tuple[str, ...]
    install: str
    beside: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        """Whether everything it needs can be imported."""
        return all(importlib.util.find_spec(module) for module in self.modules)


_TORCH = ("torch",), "pip install 'lossary[torch]'"
_FROM_TORCH, _FROM_NUMPY = ("tensors", "nn", "arrays", "definitions"), ("arrays", "tensors")

PEERS: dict[str, Peer] = {
    peer.key: peer
    for peer in (
        Peer("arrays", "Lossary (NumPy)", (), ""),
        Peer("out", "Lossary (out given)", ("numba",), "pip install 'lossary[fast]'"),
        Peer("tensors", "Lossary (torch)", *_TORCH),
        Peer("nn", "lossary.nn", *_TORCH),
        Peer("definitions", "lossary.nn without kernels", *_TORCH),
        Peer("torch", "torch eager", *_TORCH, _FROM_TORCH),
        Peer("compile", "torch.compile", *_TORCH, _FROM_TORCH),
        Peer("chunked", "torch linear_cross_entropy", *_TORCH, _FROM_TORCH),
        Peer("products", "the products alone", *_TORCH, _FROM_TORCH),
        Peer("jax", "JAX jit + optax", ("jax", "optax"), "pip install jax optax", _FROM_NUMPY),
        Peer("numpy", "NumPy formula", (), "", _FROM_NUMPY),
        Peer("sklearn", "scikit-learn _loss", ("sklearn",), "pip install 'lossary[app]'", _FROM_NUMPY),
    )
}
OURS = tuple(key for key, peer in PEERS.items() if not peer.beside)
THEIRS = tuple(key for key, peer in PEERS.items() if peer.beside)


def chosen(against: Iterable[str]) -> tuple[str, ...]:
    """Return the keys of the peers named; raise if a name is unknown or its library is not installed.

    >>> chosen(["numpy"])
    ('numpy',)
    """
    keys = tuple(dict.fromkeys(against))
    for key in keys:
        if key not in THEIRS:
            raise ArgumentError(f'against: unknown peer "{key}"{suggest(key, THEIRS)}; known are {", ".join(THEIRS)}')
        peer = PEERS[key]
        if not peer.installed:
            raise MissingExtraError(f"against {key}: {peer.label} is not installed: {peer.install}")
    return keys


def missing(keys: Sequence[str]) -> list[str]:
    """Return a sentence for each of these peers that is not installed."""
    return [
        f"{PEERS[key].label} is not installed and takes no part: {PEERS[key].install}"
        for key in keys
        if not PEERS[key].installed
    ]
