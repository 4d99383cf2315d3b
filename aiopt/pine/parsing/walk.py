"""Walk a syntax tree, and compare two by what they say.  Knows no single kind of node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiopt.pine.parsing.nodes import Node

_POSITION = frozenset({"line", "column", "end_line", "end_column"})
_FIELDS: dict[type[Node], tuple[str, ...]] = {}


def fields(node: Node) -> tuple[str, ...]:
    """Return the names of what a node says, without its place."""
    kind = type(node)
    found = _FIELDS.get(kind)
    if found is None:
        found = tuple(name for name in kind.__struct_fields__ if name not in _POSITION)
        _FIELDS[kind] = found
    return found


def children(node: Node) -> Iterator[Node]:
    """Yield the nodes right below a node, in the order of their fields."""
    for name in fields(node):
        value = getattr(node, name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            for item in value:
                if isinstance(item, Node):
                    yield item


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all below it, each before what is below it, in the order of the text."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(reversed(list(children(current))))


def height(node: Node) -> int:
    """Return how many nodes lie on the longest way from a node down to a leaf, the node itself included."""
    level, count = [node], 0
    while level:
        count += 1
        level = [child for current in level for child in children(current)]
    return count


def difference(one: Node, other: Node) -> tuple[Node, Node] | None:
    """Return the first two nodes in which two trees differ, None where they say the same."""
    waiting: list[tuple[Node, Node]] = [(one, other)]
    while waiting:
        left, right = waiting.pop()
        if type(left) is not type(right):
            return left, right
        for name in fields(left):
            a, b = getattr(left, name), getattr(right, name)
            if isinstance(a, Node) and isinstance(b, Node):
                waiting.append((a, b))
            elif isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
                waiting += zip(a, b, strict=True)
            elif type(a) is not type(b) or a != b:
                return left, right
    return None


def same_tree(one: Node, other: Node) -> bool:
    """Return whether two trees say the same, wherever they stand."""
    return difference(one, other) is None


class Visitor:
    """Call ``visit_CLASS`` for the nodes of a tree, from the top; ``generic_visit`` for the rest.

    A method that wants what is below its node visited calls ``self.generic_visit(node)``.
    """

    def visit(self, node: Node) -> Any:
        """Call the method of the node's class."""
        method = getattr(self, f"visit_{type(node).__name__}", None)
        return self.generic_visit(node) if method is None else method(node)

    def generic_visit(self, node: Node) -> None:
        """Visit what is right below a node."""
        for child in children(node):
            self.visit(child)
