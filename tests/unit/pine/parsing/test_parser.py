"""The parser reads every construct of Pine, and names every fault once."""

from __future__ import annotations

import time

import pytest

from aiopt.pine.parsing.faults import MAX_CHARACTERS, MAX_FAULTS
from aiopt.pine.parsing.nodes import (
    MAX_HEIGHT,
    Attribute,
    Binary,
    Break,
    Call,
    Conditional,
    Declaration,
    EnumDeclaration,
    Expression,
    ExpressionStatement,
    For,
    ForIn,
    FunctionDeclaration,
    History,
    If,
    Import,
    Name,
    Number,
    Reassignment,
    Statement,
    String,
    Switch,
    TupleDeclaration,
    TupleValue,
    TypeDeclaration,
    Unary,
    While,
)
from aiopt.pine.parsing.parser import parse_script
from aiopt.pine.parsing.unparse import unparse
from aiopt.pine.parsing.walk import height, walk


def statements(text: str) -> tuple[Statement, ...]:
    parsed = parse_script(text)
    assert not parsed.errors, [str(error) for error in parsed.errors]
    return parsed.tree.statements


def statement(text: str) -> Statement:
    (found,) = statements(text)
    return found


def value(text: str) -> Expression:
    found = statement(f"x = {text}")
    assert isinstance(found, Declaration)
    return found.value


def shape(node: Expression) -> str:
    """Return an expression with every operation in brackets."""
    if isinstance(node, Binary):
        return f"({shape(node.left)} {node.operator} {shape(node.right)})"
    if isinstance(node, Unary):
        return f"({node.operator} {shape(node.operand)})"
    if isinstance(node, Conditional):
        return f"({shape(node.test)} ? {shape(node.then)} : {shape(node.otherwise)})"
    if isinstance(node, History):
        return f"{shape(node.value)}[{shape(node.offset)}]"
    if isinstance(node, Attribute):
        return f"{shape(node.value)}.{node.name}"
    if isinstance(node, Call):
        return f"{shape(node.function)}({', '.join(shape(one.value) for one in node.arguments)})"
    if isinstance(node, Number):
        return node.text
    assert isinstance(node, Name), node
    return node.name


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a + b * c", "(a + (b * c))"),
        ("a - b - c", "((a - b) - c)"),
        ("(a + b) * c", "((a + b) * c)"),
        ("not a and b or c", "(((not a) and b) or c)"),
        ("not a == b", "((not a) == b)"),
        ("-a * b", "((- a) * b)"),
        ("- -a", "(- (- a))"),
        ("a < b == c > d", "((a < b) == (c > d))"),
        ("a ? b : c ? d : e", "(a ? b : (c ? d : e))"),
        ("a ? b ? c : d : e", "(a ? (b ? c : d) : e)"),
        ("a or b ? c : d", "((a or b) ? c : d)"),
        ("(a + b)[1]", "(a + b)[1]"),
        ("-a[1]", "(- a[1])"),
        ("a.b(c)[2].d", "a.b(c)[2].d"),
        ("a < b and c > (d)", "((a < b) and (c > d))"),
        ("close[1] / 2 % 3", "((close[1] / 2) % 3)"),
    ],
)
def test_precedence(text: str, wanted: str) -> None:
    assert shape(value(text)) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("14", 14), ("1.5", 1.5), (".5", 0.5), ("2.", 2.0), ("1e3", 1000.0), ("1.5E-2", 0.015)],
)
def test_numbers(text: str, wanted: float) -> None:
    found = value(text)
    assert isinstance(found, Number)
    assert found.value == wanted
    assert type(found.value) is type(wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('"a"', "a"),
        ("'it is \"it\"'", 'it is "it"'),
        (r'"a\n\"b\" \\"', 'a\n"b" \\'),
        ('"// no comment"', "// no comment"),
        ('"Ünïcode 日本 🚀"', "Ünïcode 日本 🚀"),
        ('"""one\ntwo "quoted" """', 'one\ntwo "quoted" '),
        ("''", ""),
    ],
)
def test_strings(text: str, wanted: str) -> None:
    found = value(text)
    assert isinstance(found, String)
    assert found.value == wanted


@pytest.mark.parametrize(
    ("text", "mode", "qualifier", "type_"),
    [
        ("x = 1", "", "", None),
        ("var x = 1", "var", "", None),
        ("varip int x = 1", "varip", "", "int"),
        ("var series float x = na", "var", "series", "float"),
        ("const string x = 'a'", "", "const", "string"),
        ("simple int x = 1", "", "simple", "int"),
        ("array<float> x = na", "", "", "array"),
        ("map<string, array<int>> x = na", "", "", "map"),
        ("float[] x = na", "", "", "float"),
        ("chart.point x = na", "", "", "chart.point"),
        ("lib.Kind x = na", "", "", "lib.Kind"),
    ],
)
def test_declarations(text: str, mode: str, qualifier: str, type_: str | None) -> None:
    found = statement(text)
    assert isinstance(found, Declaration)
    assert (found.mode, found.qualifier, found.name) == (mode, qualifier, "x")
    assert (found.type and found.type.name) == type_


def test_templates_of_types_and_calls() -> None:
    found = statement("map<string, array<float>> x = map.new<string, array<float>>()")
    assert isinstance(found, Declaration)
    assert found.type is not None
    assert [one.name for one in found.type.arguments] == ["string", "array"]
    assert isinstance(found.value, Call)
    assert [one.name for one in found.value.template] == ["string", "array"]
    old = statement("float[] x = array.new_float(3)")
    assert isinstance(old, Declaration)
    assert old.type is not None
    assert old.type.is_array


def test_a_comparison_is_no_template() -> None:
    assert shape(value("a.b < c")) == "(a.b < c)"
    assert shape(value("a < b and c > d")) == "((a < b) and (c > d))"
    crossed = value("f(close < open, high > (low + 1))")
    assert isinstance(crossed, Call)
    assert crossed.template == ()
    assert [shape(one.value) for one in crossed.arguments] == ["(close < open)", "(high > (low + 1))"]


@pytest.mark.parametrize("text", ["(a < b) > (c ? d : e)", "f(x, (a < b) > (c or d))", "a.new<int, b>((c))"])
def test_what_could_be_a_template_keeps_its_brackets(text: str) -> None:
    written = unparse(value(text))
    assert shape(value(written)) == shape(value(text))
    assert ("(a < b) >" in written) == ("(a < b) >" in text)


@pytest.mark.parametrize("operator", [":=", "+=", "-=", "*=", "/=", "%="])
def test_reassignments(operator: str) -> None:
    found = statement(f"x.y {operator} 1")
    assert isinstance(found, Reassignment)
    assert found.operator == operator
    assert isinstance(found.target, Attribute)


def test_tuples() -> None:
    found = statement("[a, _, b] = f()")
    assert isinstance(found, TupleDeclaration)
    assert [one.name for one in found.names] == ["a", "_", "b"]
    made = statements("f() =>\n    [1, 2]")[0]
    assert isinstance(made, FunctionDeclaration)
    assert isinstance(made.body[0], ExpressionStatement)
    assert isinstance(made.body[0].value, TupleValue)


def test_functions_and_methods() -> None:
    first, second, third = statements(
        "f(x) => x + 1\n"
        "export g(float a, simple int n = 3, series array<float> c = na) =>\n    b = a * n\n    b\n"
        "method push(Pivot this, float v) =>\n    this.levels.push(v)\n"
    )
    assert isinstance(first, FunctionDeclaration)
    assert first.is_inline
    assert isinstance(second, FunctionDeclaration)
    assert second.is_exported
    assert [one.name for one in second.parameters] == ["a", "n", "c"]
    assert [one.qualifier for one in second.parameters] == ["", "simple", "series"]
    assert len(second.body) == 2
    assert isinstance(third, FunctionDeclaration)
    assert third.is_method
    assert third.name == "push"


def test_types_and_enums() -> None:
    first, second = statements(
        "export type Pivot\n    int x\n    float y = na\n    varip array<float> levels\n    lib.Kind k\n"
        'enum Side\n    buy = "Buy it"\n    sell\n'
    )
    assert isinstance(first, TypeDeclaration)
    assert [(one.mode, one.name) for one in first.fields] == [
        ("", "x"),
        ("", "y"),
        ("varip", "levels"),
        ("", "k"),
    ]
    assert isinstance(second, EnumDeclaration)
    assert [one.name for one in second.members] == ["buy", "sell"]


def test_imports() -> None:
    first, second = statements("import TradingView/ta/7\nimport Some-User_1/my_lib/12 as lib")
    assert isinstance(first, Import)
    assert (first.owner, first.library, first.version, first.alias) == ("TradingView", "ta", 7, "")
    assert isinstance(second, Import)
    assert (second.owner, second.library, second.version, second.alias) == (
        "Some-User_1",
        "my_lib",
        12,
        "lib",
    )


def test_structures_are_statements_and_values() -> None:
    found = value("if a\n    1\nelse if b\n    2\nelse\n    3")
    assert isinstance(found, If)
    assert len(found.branches) == 2
    assert found.otherwise is not None
    switch = value("switch\n    a => 1\n    b =>\n        c = 2\n        c\n    => 3")
    assert isinstance(switch, Switch)
    assert [one.is_inline for one in switch.cases] == [True, False, True]
    assert switch.cases[2].test is None
    subject = value('switch kind\n    "a" => 1\n    => 2')
    assert isinstance(subject, Switch)
    assert subject.subject is not None
    assert isinstance(value("for i = 0 to 10 by 2\n    i"), For)
    assert isinstance(value("for [i, v] in a\n    v"), ForIn)
    assert isinstance(value("for v in a\n    v"), ForIn)
    loop = statement("while true\n    if a\n        break\n    continue")
    assert isinstance(loop, ExpressionStatement)
    assert isinstance(loop.value, While)
    assert any(isinstance(one, Break) for one in walk(loop))


def test_several_statements_on_a_line() -> None:
    assert len(statements("a = 1, b = 2, plot(a)")) == 3
    one = statement("f(x) => y = x, y + 1")
    assert isinstance(one, FunctionDeclaration)
    assert len(one.body) == 2


@pytest.mark.parametrize(
    "text",
    [
        "x = a ? b :\n     c",
        "x = a\n  and b\n\n  // why\n  and c",
        "plot(a,\n    b,\n        c\n)",
        "plot(a,\nb)",
        "if a\n     and b\n    x = 1\n      + 2",
        "f(a,\n  b) =>\n    a",
        "x = [\n    1,\n    2]",
        "if a\n\tx = 1\n\tif b\n\t\ty = 2",
        "if a\r\n    x = 1\r\ny = 2\r\n",
        "x = 1\ry = 2",
        "\ufeff//@version=6\nx = 1",
        "if a // why\n    // nothing\n\n    x = 1 // this\n// out\n    y = 2\nz = 3",
        "",
        "// only this",
        "\n\n   \n",
    ],
)
def test_lines_and_indentation(text: str) -> None:
    statements(text)


def test_version_and_annotations() -> None:
    parsed = parse_script("// hello\n//@version=5\n//@description What it does.\n//@version=6\nx = 1")
    assert parsed.version == 5
    assert [(one.line, one.name, one.value) for one in parsed.annotations] == [
        (2, "version", "5"),
        (3, "description", "What it does."),
        (4, "version", "6"),
    ]
    assert parse_script("x = 1").version is None


def test_places() -> None:
    text = "if close > open\n    x = f(1,\n     2) + a.b[3]\n"
    found = statement(text)
    lines = text.split("\n")
    seen = 0
    for node in walk(found):
        if isinstance(node, Name | Attribute | Number | History):
            assert node.line == node.end_line
            assert lines[node.line - 1][node.column - 1 : node.end_column - 1] == shape(node)
            seen += 1
    assert seen == 10
    assert (found.line, found.column, found.end_line, found.end_column) == (1, 1, 3, 17)


FAULTS = [
    ("x = 1 +\n    2", "line-wrap", 1),
    ("bool x = close >\nopen", "syntax", 1),
    ("if a\n  b = 2", "line-wrap", 2),
    ("if a\nb = 2", "block", 1),
    ("x = 1\n    y = 2", "indentation", 2),
    ("if a\n        x = 1\n    y = 2", "indentation", 3),
    ("plot(close\ny = 2\nz = 3", "bracket", 1),
    ("plot(close))", "bracket", 1),
    ("plot(close]", "bracket", 1),
    ('a = "abc', "string", 1),
    ("a = 'abc\nb = 1", "string", 1),
    ('plot("abc, 2)\nb = 1', "string", 1),
    ('a = """abc\nb = 1', "string", 1),
    ("a = 5x", "number", 1),
    ("a = #12345", "color", 1),
    ("a = #xyzxyz", "color", 1),
    ("a = b ? c", "syntax", 1),
    ("a = b c", "syntax", 1),
    ("a[1] = 2", "assignment", 1),
    ("f() := 2", "assignment", 1),
    ("var x", "declaration", 1),
    ("float x", "declaration", 1),
    ("var [a, b] = f()", "declaration", 1),
    ("[a, b] := f()", "declaration", 1),
    ("else\n    x = 1", "syntax", 1),
    ("f(x) =>\ny = 2", "block", 1),
    ("if a\n    f(x) => x", "nested-definition", 2),
    ("switch a\nb = 1", "block", 1),
    ("switch a\n    b", "syntax", 2),
    ("type A\nb = 1", "block", 1),
    ("type A\n    int 5", "syntax", 2),
    ("import foo", "import", 1),
    ("for i = 1 2\n    x = 1", "syntax", 1),
    ("for i in\n    x = 1", "line-wrap", 1),
    ("x = 1 + if a\n    2", "structure", 1),
    ("é = 1", "character", 1),
    ("x = 1; y = 2", "character", 1),
    ("x = a \\\n  + b", "character", 1),
    ("x = f(a, b", "bracket", 1),
    ("x = 1,", "syntax", 1),
    ("x = " + "(" * 400 + "1" + ")" * 400, "nesting", 1),
    ("x = " + " + ".join(["a"] * 3000), "nesting", 1),
    ("x = " + "a ? b : " * 3000 + "c", "nesting", 1),
    ("x = a" + "[1]" * 3000, "nesting", 1),
    ("x = " + "not " * 3000 + "a", "nesting", 1),
    ("export", "syntax", 1),
]


@pytest.mark.parametrize(("text", "rule", "line"), FAULTS, ids=[repr(one[0][:30]) for one in FAULTS])
def test_each_fault_is_named_once(text: str, rule: str, line: int) -> None:
    errors = parse_script(text).errors
    assert [(error.rule, error.line) for error in errors] == [(rule, line)], [str(error) for error in errors]


def test_faults_do_not_hide_each_other() -> None:
    parsed = parse_script("x = 1 +\ny = 2\nz = (3\nif a\n    b = * 2\n    c = 4\nplot(x\nw = 5")
    assert [(error.rule, error.line) for error in parsed.errors] == [
        ("syntax", 1),
        ("bracket", 3),
        ("syntax", 5),
        ("bracket", 7),
    ]
    names = [one.name for one in walk(parsed.tree) if isinstance(one, Declaration)]
    assert names == ["y", "c", "w"]


def test_faults_are_counted_only_so_far() -> None:
    parsed = parse_script("x = * 1\n" * 10_000)
    assert len(parsed.errors) == MAX_FAULTS


@pytest.mark.parametrize("text", ["\x00\x01\x02", "x = 1\n\x07", "GIF89a\ufffd\ufffd"])
def test_what_is_no_text_is_one_fault(text: str) -> None:
    (error,) = parse_script(text).errors
    assert error.rule == "binary"


def test_five_megabytes_are_refused_at_once() -> None:
    text = "x = close + 1\n" * 360_000
    begun = time.process_time()
    (error,) = parse_script(text).errors
    assert error.rule == "size"
    assert f"{MAX_CHARACTERS:,}" in error.message
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "text",
    [
        "x = " + " or ".join(["a"] * 150),
        "x = " + "".join(f"a{i} ? {i} : " for i in range(150)) + "na",
        "".join("    " * i + "if a\n" for i in range(40)) + "    " * 40 + "x = 1",
    ],
)
def test_a_tree_is_no_higher_than_it_says(text: str) -> None:
    parsed = parse_script(text)
    assert not parsed.errors
    assert height(parsed.tree) <= MAX_HEIGHT
