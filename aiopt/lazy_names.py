"""Names of a package that are imported at their first use (PEP 562), also where a sub-package has the name.

``import aiopt`` must cost nothing, so its public names are a table of homes.  Some of them are names of
sub-packages as well: ``aiopt.backtest(spec, bars)`` is a call, ``aiopt.backtest.session`` a module.  Such a
sub-package stays the module it is and becomes callable when it is imported.  Owns that mechanism; knows none
of the names.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """A module that is called like the function of its name; ``_home`` is the module of that function."""

    _home: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Any:
        """The function: `inspect.signature` and notebooks look here."""
        return getattr(importlib.import_module(self._home), self.__name__.rpartition(".")[2])

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        """What the function says, then what the module says."""
        return f"{self.__wrapped__.__doc__}\n\nThe module:\n\n{vars(self)['__doc__']}"


class LazyPackage(ModuleType):
    """A package whose public names are imported at their first use; made by `lend_names`."""

    _homes: dict[str, str]
    _modules: dict[str, str]
    _callable: dict[str, str]

    def __getattr__(self, name: str) -> Any:
        """Import a name; Python asks here for those that are not bound yet."""
        if name in self._callable:
            return importlib.import_module(f"{self.__name__}.{name}")
        if name in self._modules:
            value: Any = importlib.import_module(self._modules[name])
        elif name in self._homes:
            value = getattr(importlib.import_module(self._homes[name]), name)
        else:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        super().__setattr__(name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        """Bind a name.  The import system binds a sub-package on its parent here."""
        if isinstance(value, ModuleType) and value.__name__ == f"{self.__name__}.{name}":
            if name in self._callable:
                value.__class__ = CallableModule
                value._home = self._callable[name]  # type: ignore[attr-defined]
            elif self._modules.get(name, value.__name__) != value.__name__:
                return  # another module has this name, see `lend_names`
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._homes, *self._modules, *self._callable})

    def __reduce__(self) -> Any:
        """Pickle by name, as modules are: functions of a notebook that go to workers refer to it."""
        return importlib.import_module, (self.__name__,)


def lend_names(
    package: str,
    homes: Mapping[str, Sequence[str]],
    *,
    modules: Mapping[str, str] | None = None,
    packages: Mapping[str, str] | None = None,
) -> None:
    """Give a package that is being imported public names that cost nothing until they are used.

    Parameters
    ----------
    package : str
        Its name.
    homes : mapping of str to sequence of str
        Module to the names that come from it.
    modules : mapping of str to str, optional
        Name to the module it stands for.  If a sub-package has the name too, that one is still imported by
        ``from package.name import …``.
    packages : mapping of str to str, optional
        Sub-package that is called like a function of its name, to the module of that function.
    """
    module = sys.modules[package]
    vars(module).update(
        _homes={name: home for home, names in homes.items() for name in names},
        _modules=dict(modules or {}),
        _callable=dict(packages or {}),
    )
    module.__class__ = LazyPackage
