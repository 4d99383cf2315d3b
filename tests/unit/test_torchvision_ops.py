from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from aiopt.torchvision_ops import sitecustomize


class FakeLibrary:
    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind, self.schemas = name, kind, []

    def define(self, schema: str) -> None:
        self.schemas.append(schema)


def fake_torch(failure: Exception | None) -> SimpleNamespace:
    def load_library(path: str) -> None:
        if failure is not None:
            raise failure

    return SimpleNamespace(
        ops=SimpleNamespace(load_library=load_library), library=SimpleNamespace(Library=FakeLibrary)
    )


@pytest.fixture(autouse=True)
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitecustomize, "_declared", [])


def test_it_is_inert_where_the_real_operators_load() -> None:
    assert sitecustomize.declare_missing(fake_torch(None), Path("/some/_C.so")) is False
    assert sitecustomize._declared == []


@pytest.mark.parametrize("extension", [Path("/some/_C.so"), None])
def test_it_declares_both_operators_once_where_they_do_not_load(extension: Path | None) -> None:
    torch = fake_torch(OSError("libc10_cuda.so: cannot open shared object file"))
    assert sitecustomize.declare_missing(torch, extension)
    assert sitecustomize.declare_missing(torch, extension)
    (library,) = sitecustomize._declared
    assert (library.name, library.kind) == ("torchvision", "DEF")
    assert [schema.partition("(")[0] for schema in library.schemas] == ["nms", "qnms"]


def test_an_unexpected_failure_of_the_extension_is_not_swallowed() -> None:
    with pytest.raises(RuntimeError, match="another reason"):
        sitecustomize.declare_missing(fake_torch(RuntimeError("another reason")), Path("/some/_C.so"))


def test_python_path_puts_the_folder_in_front_once() -> None:
    folder = str(sitecustomize.FOLDER)
    once = sitecustomize.python_path({"PYTHONPATH": f"/a{os.pathsep}/b"})
    assert once.split(os.pathsep) == [folder, "/a", "/b"]
    assert sitecustomize.python_path({"PYTHONPATH": once}) == once
    assert sitecustomize.python_path({}) == folder


def run_python(code: str, *, path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_another_sitecustomize_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.seen_by_test = 7\n")
    path = sitecustomize.python_path({"PYTHONPATH": str(tmp_path)})
    code = "import sys; print(seen_by_test, type(sys.meta_path[0]).__name__, 'torch' in sys.modules)"
    done = run_python(code, path=path)
    assert done.stdout.split() == ["7", "TorchvisionFinder", "False"], done.stderr


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
@pytest.mark.slow
@pytest.mark.unmeasured
def test_torchvision_imports_in_a_child_and_in_its_child() -> None:
    child = "import torchvision.transforms.v2, torchvision; print(torchvision.__version__)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True); {child}"
    done = run_python(code, path=sitecustomize.python_path({}))
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split())) == 1
