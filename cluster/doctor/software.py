"""Looks at software and what was made with it: packages, ports, the cluster, model files, data, Pine engine.

Owns the questions; the rules are those of the modules that use these things.  Starts and changes nothing.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from aiopt.catalog.discovery import find_entries
from aiopt.errors import AioptError, ClusterError
from aiopt.files import GIB
from aiopt.serving import profile_files
from aiopt.serving.checkpoint.sources import resolve
from aiopt.serving.checkpoint.validation import locate
from aiopt.serving.endpoint import read_endpoint
from aiopt.serving.profile import ServingConfig, SlotConfig
from aiopt.serving.swap.memory import CPU_PROCESSES_BYTES, available_bytes
from aiopt.verification.engine_folder import engine_status
from cluster import lifecycle, ports
from cluster.doctor.findings import Finding, good, note, problem
from cluster.listening import listeners
from cluster.node_process import MINIMUM_PYTHON
from cluster.processes import marked
from cluster.resources import Machine
from cluster.state_folder import token_file

REINSTALL = "requirements/install.sh base"
IMPORT = "aiopt ticks import SOURCE --out data/ticks/EURUSD"


def look_at_packages() -> Iterator[Finding]:
    """Yield whether Python and every package are those that aiopt was made for."""
    have = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MINIMUM_PYTHON:
        wanted = ".".join(map(str, MINIMUM_PYTHON))
        yield problem("versions", f"Python {have}", f"Use Python {wanted} or newer.")
    wrong = list(_wrong_packages())
    yield from wrong
    if not wrong:
        shown = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("ray", "nautilus_trader"))
        yield good("versions", f"Python {have}, {shown}; every other package fits as well")


def look_at_ports(folder: Path) -> Iterator[Finding]:
    """Yield whether a cluster runs from here and who can reach it, or whether one could start."""
    try:
        found = lifecycle.status(folder)
    except ClusterError as error:
        yield problem("cluster", str(error), "Delete that file.")
        return
    if found.state is None or not found.alive:
        try:
            port = ports.choose_dashboard_port(None)
        except ClusterError as error:
            yield problem("ports", str(error), "Stop what holds them, or use --dashboard-port.")
        else:
            yield good("ports", f"no cluster runs from {folder}; its dashboard would take port {port}")
        return
    if not found.responding:
        remedy = "aiopt cluster down, then the same command again."
        yield problem("cluster", f"the {found.state.role} of {folder} runs but does not answer", remedy)
        return
    yield good("cluster", f"a {found.state.role} runs at {found.state.address}")
    own = listeners(marked(found.state.cluster_id))
    outward = [each for each in own if not each.is_local]
    if outward and ports.is_loopback(found.state.address):
        named = ", ".join(f"{each.address}:{each.port} ({each.command})" for each in outward[:3])
        remedy = "Close these ports with a firewall; what runs on the cluster opened them."
        yield note("ports", f"{len(outward)} of {len(own)} can be reached from elsewhere: {named}", remedy)
    elif outward:
        remedy = "Let a firewall pass the other nodes alone: pages of metrics have no token."
        yield note("ports", f"opened by --host: {len(outward)} of {len(own)} ports", remedy)
    else:
        yield good("ports", f"{len(own)} ports, all on 127.0.0.1")


def look_at_token(folder: Path) -> Iterator[Finding]:
    """Yield whether the token is secret and readable."""
    path = token_file(folder)
    try:
        mode = path.stat().st_mode & 0o777
        length = len(path.read_text().strip())
    except FileNotFoundError:
        yield good("permissions", f"no token in {folder} yet: it is made with mode 0600")
    except OSError as error:
        remedy = f"Change the owner of {path}, or use another --state-dir."
        yield problem("permissions", f"the token {path} cannot be read ({error.strerror})", remedy)
    else:
        if mode & 0o077:
            remedy = f"chmod 600 {path}; if others could read it, delete it: a new one is made."
            yield problem("permissions", f"the token {path} has mode {mode:04o}, others may read it", remedy)
        elif length < 16:
            remedy = "Delete the file, and a new one is made."
            yield problem("permissions", f"the token {path} has {length} characters, not 16", remedy)
        else:
            yield good("permissions", f"the token {path} is readable by its owner alone")


def look_at_data(folder: Path, *, wanted: bool) -> Iterator[Finding]:
    """Yield what data lie in a folder and what of it cannot be used."""
    if not folder.is_dir():
        what, remedy = f"there is no folder {folder}", IMPORT
        yield problem("data", what, remedy) if wanted else note("data", what, remedy)
        return
    try:
        entries = find_entries([folder])
    except AioptError as error:
        yield problem("data", str(error), "Repair or remove it.")
        return
    broken = [entry for entry in entries if entry.problem]
    for entry in broken:
        yield problem("data", f"{entry.path}: {entry.problem}", "aiopt data verify says more.")
    kinds = sorted({entry.kind for entry in entries})
    if not entries:
        yield note("data", f"nothing is known in {folder}", IMPORT)
    elif len(broken) < len(entries):
        yield good("data", f"{len(entries) - len(broken)} in {folder}: {', '.join(kinds)}")


def look_at_pine() -> Finding:
    """Tell whether scripts can be proved."""
    found = engine_status()
    if found.problem:
        return note("pine", f"scripts are written but not run: {found.problem}", "aiopt pine engine install")
    return good("pine", "the Pine engine is there: scripts are run and compared")


def look_at_serving(profile: str, folder: Path, machine: Machine) -> Iterator[Finding]:
    """Yield what stands in the way of serving a profile: engine, files, memory, port."""
    document, config = profile_files.adapt(
        profile_files.load_profile(profile), folder=folder, model=None, port=None
    )
    try:
        profile_files.check_machine(config, changes_nothing=True)
    except AioptError as error:
        yield problem("model", str(error), "Do what it says, or serve another profile.")
        return
    url = profile_files.url_of(document)
    port = int(url.rpartition(":")[2])
    serving = read_endpoint(folder)
    if (serving is None or serving.url != url) and not ports.port_free(port):
        yield problem("ports", f"port {port} of profile {profile} is in use", "aiopt serve up --port PORT")
    if config.device == "gpu" and machine.gpus == 0:
        yield problem("gpu", f"profile {profile} needs a GPU, and none is visible", "--profile cpu")
        return
    yield from _serving_memory(profile, config, folder)


def _serving_memory(profile: str, config: ServingConfig, folder: Path) -> Iterator[Finding]:
    """Yield whether the memory is enough; on a GPU vLLM itself measures it at the start."""
    weights = {slot.name: _weight_bytes(slot, folder) for slot in config.models}
    sizes = ", ".join(f"{name} {size / GIB:.1f} GiB" for name, size in weights.items())
    if config.device == "gpu":
        yield good("model", f"profile {profile}: {sizes} of weights; the card is measured at the start")
        return
    need = sum(
        slot.engine.replicas * (2 * weights[slot.name] + slot.engine.kv_cache_gib * GIB + CPU_PROCESSES_BYTES)
        for slot in config.models
    )
    free = available_bytes()
    what = f"profile {profile}: {sizes} of weights, {need / GIB:.1f} GiB to serve, {free / GIB:.1f} GiB free"
    if need > free:
        yield problem("model", what, "Free memory, serve fewer models, or lower kv_cache_gib in the profile.")
    else:
        yield good("model", what)


def _weight_bytes(slot: SlotConfig, folder: Path) -> int:
    """Return the size of a checkpoint's weights; 0 for a generated one, which is made at the start."""
    if slot.model.startswith(profile_files.GENERATED):
        return 0
    files = locate(resolve(slot.model, folder)).folder.glob("*.safetensors")
    return sum(path.stat().st_size for path in files)


def _wrong_packages() -> Iterator[Finding]:
    for text in importlib.metadata.requires("aiopt") or []:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            have = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield problem("versions", f"{wanted.name} is not installed", REINSTALL)
            continue
        if not wanted.specifier.contains(have, prereleases=True):
            what = f"{wanted.name} must be {wanted.specifier}, but is {have}"
            yield problem("versions", what, REINSTALL)
