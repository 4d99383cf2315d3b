"""Scripts for fuzzing: trees as the grammar allows them, texts as accidents make them."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import strategies as st

from aiopt.pine.parsing import nodes as n
from aiopt.pine.parsing.expressions import PRECEDENCE

_FOLDER = Path(__file__).parents[1] / "corpus" / "valid"
CORPUS = [path.read_bytes().decode() for path in sorted(_FOLDER.glob("*.pine"))]

_NAMES = ["a", "close", "x1", "_b", "type", "method", "to", "series", "na", "Point"]
_NUMBERS = ["0", "14", "1.5", ".5", "2.", "1e-3", "7E2", "123456789012345678901"]
_WORDS = ["", "a", "// no comment", "über 日本 🚀", "#fff", "(", "  "]

# A made tree stands nowhere: only what it says is compared.
_AT = (1, 1, 1, 1)


class TreeMaker:
    """Makes trees from a seed; plain Python, since Hypothesis' own recursion is a hundred times slower."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._pick = self._random.choice

    def script(self) -> n.Script:
        makers = [self.statement, self.function, self.declared_type, self.imported]
        return n.Script(*_AT, tuple(self._pick(makers)() for _ in range(self._random.randint(0, 6))))

    def _flip(self, chance: float = 0.5) -> bool:
        return self._random.random() < chance

    def name(self) -> n.Name:
        return n.Name(*_AT, self._pick(_NAMES))

    def type_name(self, depth: int = 0) -> n.TypeName:
        if depth < 2 and self._flip(0.3):
            arguments = tuple(self.type_name(depth + 1) for _ in range(self._random.randint(1, 2)))
            return n.TypeName(*_AT, self._pick(["array", "map"]), arguments, False)
        return n.TypeName(*_AT, self._pick(["int", "chart.point", "Own"]), (), self._flip(0.2))

    def literal(self) -> n.Expression:
        kind = self._random.randrange(6)
        if kind == 0:
            text = self._pick(_NUMBERS)
            return n.Number(*_AT, text, int(text) if text.isdigit() and len(text) < 20 else float(text))
        if kind == 1:
            word, quote = self._pick(_WORDS), self._pick("\"'")
            return n.String(*_AT, quote + word + quote, word)
        if kind == 2:
            return n.Boolean(*_AT, self._flip())
        if kind == 3:
            return n.Color(*_AT, self._pick(["#ff0000", "#00FF0080"]))
        return self.name()

    def expression(self, depth: int = 0) -> n.Expression:
        if depth > 4 or self._flip(0.3):
            return self.literal()
        kind = self._random.randrange(8)
        below = depth + 1
        if kind < 2:
            operator = self._pick(sorted(PRECEDENCE))
            return n.Binary(*_AT, operator, self.expression(below), self.expression(below))
        if kind == 2:
            return n.Unary(*_AT, self._pick(["-", "+", "not"]), self.expression(below))
        if kind == 3:
            parts = [self.expression(below) for _ in range(3)]
            return n.Conditional(*_AT, *parts)
        if kind == 4:
            return n.History(*_AT, self.expression(below), self.expression(below))
        if kind == 5:
            return n.Attribute(*_AT, self.expression(below), self._pick(_NAMES))
        if kind == 6:
            return n.TupleValue(
                *_AT, tuple(self.expression(below) for _ in range(self._random.randint(0, 3)))
            )
        callee = self.name() if self._flip() else n.Attribute(*_AT, self.name(), self._pick(_NAMES))
        template = tuple(self.type_name() for _ in range(self._random.randint(0, 2)))
        if len(template) == 2:  # as map.new alone has
            callee = n.Attribute(*_AT, self.name(), "new")
        arguments = tuple(
            n.Argument(*_AT, self._pick(_NAMES) if self._flip(0.3) else None, self.expression(below))
            for _ in range(self._random.randint(0, 3))
        )
        return n.Call(*_AT, callee, template, arguments)

    def body(self, depth: int) -> tuple[n.Statement, ...]:
        return tuple(self.statement(depth + 1) for _ in range(self._random.randint(1, 3)))

    def value(self, depth: int) -> n.Expression:
        return self.structure(depth) if depth < 3 and self._flip(0.2) else self.expression()

    def structure(self, depth: int) -> n.Expression:
        kind = self._random.randrange(5)
        if kind == 0:
            branches = tuple(
                n.Branch(*_AT, self.expression(), self.body(depth)) for _ in range(self._random.randint(1, 3))
            )
            return n.If(*_AT, branches, self.body(depth) if self._flip() else None)
        if kind == 1:
            subject = self.expression() if self._flip() else None
            return n.Switch(*_AT, subject, tuple(self.case(depth) for _ in range(self._random.randint(1, 3))))
        if kind == 2:
            return n.While(*_AT, self.expression(), self.body(depth))
        if kind == 3:
            type_ = self.type_name() if self._flip(0.2) else None
            step = self.literal() if self._flip() else None
            return n.For(
                *_AT, type_, self.name(), self.expression(3), self.expression(3), step, self.body(depth)
            )
        targets = tuple(self.name() for _ in range(self._random.randint(1, 2)))
        return n.ForIn(*_AT, targets, self.expression(), self.body(depth))

    def case(self, depth: int) -> n.Case:
        test = self.expression() if self._flip(0.8) else None
        if self._flip():
            return n.Case(*_AT, test, (n.ExpressionStatement(*_AT, self.expression()),), True)
        return n.Case(*_AT, test, self.body(depth), False)

    def statement(self, depth: int = 0) -> n.Statement:
        kind = self._random.randrange(6)
        if kind == 0:
            names = tuple(self.name() for _ in range(self._random.randint(1, 3)))
            return n.TupleDeclaration(*_AT, names, self.value(depth))
        if kind == 1:
            target = self.name() if self._flip() else n.Attribute(*_AT, self.name(), "x")
            return n.Reassignment(*_AT, target, self._pick([":=", "+=", "%="]), self.value(depth))
        if kind == 2:
            return self._pick([n.Break, n.Continue])(*_AT)
        if kind == 3 and depth < 3:
            return n.ExpressionStatement(*_AT, self.structure(depth))
        if kind == 4:
            return n.ExpressionStatement(*_AT, self.expression())
        mode = self._pick(["", "var", "varip"])
        qualifier = self._pick(["", "", "series", "simple"])
        type_ = self.type_name() if self._flip() or qualifier else None
        return n.Declaration(*_AT, False, mode, qualifier, type_, self.name(), self.value(depth))

    def parameter(self) -> n.Parameter:
        default = self.literal() if self._flip(0.3) else None
        return n.Parameter(*_AT, "", self.type_name() if self._flip() else None, self._pick(_NAMES), default)

    def function(self) -> n.Statement:
        parameters = tuple(self.parameter() for _ in range(self._random.randint(0, 3)))
        exported, method = self._flip(0.2), self._flip(0.2)
        if self._flip():
            inline = (n.ExpressionStatement(*_AT, self.expression()),)
            return n.FunctionDeclaration(*_AT, exported, method, "f", parameters, inline, True)
        return n.FunctionDeclaration(*_AT, exported, method, "f", parameters, self.body(0), False)

    def declared_type(self) -> n.Statement:
        exported = self._flip(0.2)
        if self._flip():
            members = tuple(
                n.EnumMember(*_AT, self._pick(_NAMES), self.literal() if self._flip() else None)
                for _ in range(2)
            )
            return n.EnumDeclaration(*_AT, exported, "Kind", members)
        fields = tuple(
            n.Field(
                *_AT,
                self._pick(["", "varip"]),
                "",
                self.type_name(),
                self._pick(_NAMES),
                self.literal() if self._flip() else None,
            )
            for _ in range(self._random.randint(1, 3))
        )
        return n.TypeDeclaration(*_AT, exported, "Own", fields)

    def imported(self) -> n.Statement:
        return n.Import(*_AT, "Some-One", "lib_1", 3, self._pick(["", "m"]))


trees: st.SearchStrategy[n.Script] = st.integers(0, 2**48).map(lambda seed: TreeMaker(seed).script())

_WORD_PIECES = (
    "if else for to by in while switch var varip type enum method export import break and or not true na"
)
_MARK_PIECES = '=> := = == + - * / % < > <= ? : , . ( ) [ ] " \' """ \\ # #ff0000 #f 1 1.5 5x .. ; @ é 🚀'
_LINE_PIECES = [
    "\n",
    "\n    ",
    "\n        ",
    "\n  ",
    "\n\t",
    "\r\n",
    "\r",
    "\x00",
    "\ufeff",
    "// c",
    "f(x) =>",
    "x = ",
]
_PIECES = st.sampled_from(
    [*_WORD_PIECES.split(), *_MARK_PIECES.split(), *_LINE_PIECES, "[a, b] =", "float[] x"]
)
soups: st.SearchStrategy[str] = st.tuples(st.lists(_PIECES, max_size=60), st.sampled_from(["", " "])).map(
    lambda drawn: drawn[1].join(drawn[0])
)


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Return a script of the corpus after a few accidents."""
    text = draw(st.sampled_from(CORPUS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 30))
        copy = st.just(text[start : start + length])
        piece = draw(st.one_of(_PIECES, st.just(""), st.text(max_size=3), copy))
        text = text[:start] + piece + text[start + draw(st.sampled_from([0, length])) :]
    return text
