"""Types and enums that a script declares, types that it writes, and what a variable of a type can hold."""

from __future__ import annotations

from collections.abc import Sequence

from aiopt.errors import did_you_mean
from aiopt.pine.checking.calls import CallTypes
from aiopt.pine.checking.conversion import NUMBERS, PRIMITIVES, converts, is_unknown
from aiopt.pine.checking.scopes import UNKNOWN, ObjectType
from aiopt.pine.parsing.nodes import EnumDeclaration, Import, Node, Statement, TypeDeclaration, TypeName
from aiopt.pine.reference.types import Type

GENERIC = {"array": 1, "matrix": 1, "map": 2}
"""Collections, and how many types stand between their angle brackets."""


class ObjectTypes(CallTypes):
    """The types of a script, over the types of calls."""

    def assignable(self, node: Node, name: str, given: Type, wanted: Type) -> None:
        """Report a value that a variable of type `wanted` cannot hold."""
        if is_unknown(given) or is_unknown(wanted):
            return
        if self.version >= 6 and wanted.base == "bool" and given.base in {"na", *NUMBERS}:
            rule = "type" if self.strict else "bool"
            if given.base == "na":
                message = f"{name!r}: a bool cannot be na in Pine v6. Start it as false."
            else:
                message = f"{name!r} is declared as bool, but its value is {given.base}. Write a comparison."
            self.reports.add(node, rule, message)
        elif not converts(given, wanted, version=self.version):
            message = (
                f"{name!r} is declared as {wanted.bare}, but its value is {given.bare}. Change one of them."
            )
            self.reports.add(node, "type", message)

    def collect(self, statements: Sequence[Statement]) -> None:
        """Learn the types, enums and imports of a script before its statements are checked."""
        for statement in statements:
            if isinstance(statement, Import):
                self.imports.add(statement.alias or statement.library)
            elif isinstance(statement, TypeDeclaration | EnumDeclaration):
                if statement.name in self.objects:
                    self.reports.add(statement, "duplicate", f"{statement.name!r} is declared already.")
                is_enum = isinstance(statement, EnumDeclaration)
                self.objects[statement.name] = ObjectType(statement.name, {}, is_enum)
        for statement in statements:
            if isinstance(statement, EnumDeclaration):
                self._members(statement)
            elif isinstance(statement, TypeDeclaration):
                self._fields(statement)

    def _members(self, node: EnumDeclaration) -> None:
        members = self.objects[node.name].fields
        for member in node.members:
            if member.name in members:
                message = f"The enum {node.name!r} has the member {member.name!r} twice."
                self.reports.add(member, "duplicate", message)
            members[member.name] = Type(node.name, "const")
            if member.title is not None:
                given = self.single(member.title)
                if given.base != "string" and not is_unknown(given):
                    message = f"The title of an enum's member must be string, but is {given.bare}."
                    self.reports.add(member.title, "type", message)

    def _fields(self, node: TypeDeclaration) -> None:
        fields = self.objects[node.name].fields
        for field in node.fields:
            if field.name in fields:
                message = f"The type {node.name!r} has the field {field.name!r} twice."
                self.reports.add(field, "duplicate", message)
            type_ = UNKNOWN if field.type is None else self.read_type(field.type)
            if field.type is None and field.default is not None:
                type_ = self.single(field.default)
            if field.default is not None and field.type is not None:
                self.assignable(field.default, field.name, self.single(field.default), type_)
            fields[field.name] = type_ if is_unknown(type_) else type_.qualified("series")

    def read_type(self, node: TypeName) -> Type:
        """Return the type that a script writes, and report one that does not exist."""
        args = tuple(self.read_type(argument) for argument in node.arguments)
        base = node.name
        if base in GENERIC:
            if args and len(args) != GENERIC[base]:
                message = f"{base} holds {GENERIC[base]} type(s), but {len(args)} are given."
                self.reports.add(node, "type", message)
        elif "." in base and base.split(".")[0] in self.imports:
            return UNKNOWN
        elif base not in PRIMITIVES and base not in self.objects and self.table.fields(base) is None:
            known = [*PRIMITIVES, *GENERIC, *self.objects, "line", "label", "box", "table", "chart.point"]
            hint = did_you_mean(base, known)
            self.reports.add(node, "type", f"{base!r} is no type.{hint}")
            return UNKNOWN
        found = Type(base, "series", args)
        return Type("array", "series", (found,)) if node.is_array else found
