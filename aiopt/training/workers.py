"""The processes that train one model together: their sums and where they wait for each other.

Owns this seam.  One process is `Alone`; several in a process group of torch (gloo, nccl) are `Group`, whoever
started them.  Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

BUCKET_VALUES = 1 << 25
"""Values of one exchange at most: 128 MiB of float32."""


class Workers(Protocol):
    """What a training asks of the processes beside it.

    Attributes
    ----------
    rank : int
        Number of this process; 0 writes the files.
    size : int
        How many there are.
    """

    @property
    def rank(self) -> int:
        """Number of this process."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all processes, the same bits in all of them."""
        ...

    def wait(self) -> None:
        """Return when every process has called."""
        ...


class Alone:
    """One process."""

    rank, size = 0, 1

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Leave the sums as they are."""

    def wait(self) -> None:
        """Return at once."""


class Group:
    """The processes of torch's default process group, which the caller has set up."""

    def __init__(self) -> None:
        self.rank = torch.distributed.get_rank()
        self.size = torch.distributed.get_world_size()

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Sum by all-reduce, many tensors in one exchange."""
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            torch.distributed.all_reduce(flat)
            start = 0
            for tensor in bucket:
                tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
                start += tensor.numel()

    def wait(self) -> None:
        """Wait at a barrier."""
        torch.distributed.barrier()


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Cut tensors into runs of one type with at most `BUCKET_VALUES` values, or one larger tensor."""
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        size = sum(part.numel() for part in bucket) + tensor.numel()
        if bucket and (size > BUCKET_VALUES or bucket[0].dtype != tensor.dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
