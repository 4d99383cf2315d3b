"""Put the Pine engine into the user's folder, from the registries or from files; take it away again.

Every file is checked against a pinned hash before it is unpacked, and what is unpacked gets its name at the
end: a killed install leaves nothing that counts.  Owns that; asking the user is the caller's.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from aiopt.errors import ConfigError, StorageError
from aiopt.files import file_lock, storage_error
from aiopt.verification.engine_folder import (
    INSTALL_COMMAND,
    PineEngine,
    PineEngineError,
    engine_folder,
    engine_pin,
    find_engine,
    find_node,
    installed_folder,
    node_folder,
    search_path,
)

LOCK = ".lock"
STAGING = ".install-"
_TIMEOUT_S = 300
_WAYS_OUT = "Check the network and the registry, or use --from FOLDER."

Say = Callable[[str], None]


def terms(source: Path | None = None) -> list[str]:
    """Return what the user is told before anything is fetched: what, from where, to where, which licence."""
    pin, folder = engine_pin(), engine_folder()
    lines = [
        f"{pin.title}, an independent engine for Pine Script, licence {pin.licence} ({pin.source}).",
        "It is not part of aiopt: it stays a program of its own in your folder and is run as a subprocess.",
        f"from: {'the npm registry' if source is None else source}",
        f"to:   {installed_folder(folder)}",
    ]
    if _node_or_none(folder) is None:
        lines.append(
            f"Node {pin.node_version} (MIT), as no Node from {pin.node_major} on is here; "
            f"from: {'PyPI' if source is None else source}, package {pin.node_package}"
        )
    return lines


def install(source: Path | None = None, *, say: Say = lambda line: None) -> PineEngine:
    """Install the pinned engine, and a Node where none is new enough; return it.

    Parameters
    ----------
    source : Path, optional
        Folder with the tarball (``npm pack pinets@VERSION``) and, where Node is absent, its wheel; nothing is
        fetched then.
    say : callable
        Takes one line of progress.

    Raises
    ------
    PineEngineError
        If something cannot be fetched, or is not what is pinned.
    ConfigError
        If the folder of files is none.
    StorageError
        If the engine's folder cannot be written.
    """
    if source is not None and not source.is_dir():
        raise ConfigError(f"There is no folder {source}. Give --from the folder with {engine_pin().tarball}.")
    folder = engine_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"The folder {folder} cannot be made ({error.strerror}). Set AIOPT_PINE_ENGINE_DIR to another."
        raise storage_error(folder, error) or StorageError(msg) from error
    with file_lock(folder / LOCK):
        for stale in folder.glob(f"{STAGING}*"):
            shutil.rmtree(stale, ignore_errors=True)
        staging = folder / f"{STAGING}{os.getpid()}"
        try:
            staging.mkdir()
            if _node_or_none(folder) is None:
                _install_node(folder, staging, source, say)
            _install_engine(folder, staging, source, say)
        except OSError as error:
            raise storage_error(folder, error) or error from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return find_engine()


def remove() -> list[str]:
    """Remove every engine and Node of the folder; return what was removed."""
    folder, package = engine_folder(), engine_pin().package
    if not folder.is_dir():
        return []
    with file_lock(folder / LOCK):
        names = [f"{package}-*", "node-*", f"{STAGING}*"]
        found = sorted(path for name in names for path in folder.glob(name))
        for path in found:
            shutil.rmtree(path)
    (folder / LOCK).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    return [path.name for path in found]


def _node_or_none(folder: Path) -> tuple[Path, str] | None:
    try:
        return find_node(folder)
    except PineEngineError:
        return None


def _install_engine(folder: Path, staging: Path, source: Path | None, say: Say) -> None:
    pin, target = engine_pin(), installed_folder(folder)
    if source is None:
        say(f"fetching {pin.title} from the npm registry ...")
        tarball = _packed_by_npm(folder, staging)
    else:
        tarball = source / pin.tarball
        if not tarball.is_file():
            msg = f"There is no {pin.tarball} in {source}. Fetch it where there is a network: "
            raise PineEngineError(
                msg + f"`npm pack {pin.package}@{pin.version}`, and give its folder to --from."
            )
    content = tarball.read_bytes()
    found = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != pin.integrity:
        msg = (
            f"{tarball.name} is not the file of {pin.title}: its hash is {found}, expected {pin.integrity}. "
        )
        raise PineEngineError(msg + "Nothing was installed. Fetch it again.")
    unpacked = staging / "engine"
    with tarfile.open(tarball) as opened:
        opened.extractall(unpacked, filter="data")
    _put(unpacked, target)
    for other in folder.glob(f"{pin.package}-*"):
        if other != target:
            say(f"removing {other.name} ...")
            shutil.rmtree(other)


def _packed_by_npm(folder: Path, staging: Path) -> Path:
    pin, path = engine_pin(), search_path(folder)
    npm = shutil.which("npm", path=path)
    if npm is None:
        raise PineEngineError(
            "npm is not installed, and it fetches the Pine engine. Install it (it comes with Node), or fetch "
            f"{pin.tarball} elsewhere (`npm pack {pin.package}@{pin.version}`) and give its folder: "
            f"{INSTALL_COMMAND} --from FOLDER."
        )
    command = [npm, "pack", f"{pin.package}@{pin.version}", "--ignore-scripts", "--silent"]
    _run(command, f"npm could not fetch {pin.title}", folder, cwd=staging)
    tarball = staging / pin.tarball
    if not tarball.is_file():
        raise PineEngineError(f"npm ended without {pin.tarball}. Try again, or use --from FOLDER.")
    return tarball


def _install_node(folder: Path, staging: Path, source: Path | None, say: Say) -> None:
    pin = engine_pin()
    say(f"fetching Node {pin.node_version} ...")
    wanted = staging / "node.txt"
    hashes = "".join(f" --hash=sha256:{one}" for one in pin.node_sha256)
    wanted.write_text(f"{pin.node_package}=={pin.node_version}{hashes}\n", encoding="utf-8")
    unpacked = staging / "node"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--target", str(unpacked), "-r", str(wanted)]
    if source is not None:
        command += ["--no-index", "--find-links", str(source)]
    _run(command, f"pip could not fetch Node ({pin.node_package} {pin.node_version})", folder)
    _put(unpacked, node_folder(folder))


def _run(command: list[str], failure: str, folder: Path, *, cwd: Path | None = None) -> None:
    environment = {**os.environ, "PATH": search_path(folder)}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{failure} within {_TIMEOUT_S} s. Nothing was installed. "
        raise PineEngineError(msg + _WAYS_OUT) from error
    if done.returncode != 0:
        said = " ".join((done.stderr.strip() or done.stdout.strip() or "it said nothing")[-600:].split())
        raise PineEngineError(f"{failure}: {said}. Nothing was installed. {_WAYS_OUT}")


def _put(unpacked: Path, target: Path) -> None:
    """Give what is whole its name; what had the name goes first, and its place is never half filled."""
    if target.exists():
        old = unpacked.with_name(f"old-{target.name}")
        target.rename(old)
    unpacked.rename(target)
