"""What is installed, and that the project's own files agree with each other."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import pytest

import phigguf

ROOT = Path(__file__).parent.parent


def project_file(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_the_package_s():
    assert metadata.version("phigguf") == phigguf.__version__


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "_core.pyi",
        "demo_model/config.json",
        "demo_model/heldout.txt",
        "demo_model/model.safetensors",
    ],
)
def test_data_is_installed(name):
    assert (files("phigguf") / name).is_file()


def test_nothing_that_builds_it_is_installed():
    installed = {path.suffix for path in metadata.files("phigguf") or ()}
    assert not installed & {".cpp", ".h", ".cmake", ".a", ".o"}


def test_the_demo_checkpoint_stays_small():
    sizes = [len(file.read_bytes()) for file in (files("phigguf") / "demo_model").iterdir()]
    assert sum(sizes) <= 10_000_000


def test_every_public_name_exists():
    assert len(set(phigguf.__all__)) == len(phigguf.__all__)
    missing = [name for name in phigguf.__all__ if not hasattr(phigguf, name)]
    assert missing == []
    assert set(phigguf.__all__) <= set(dir(phigguf))
    assert not hasattr(phigguf, "no_such_name")


def test_every_error_is_a_phigguf_error():
    errors = [value for value in vars(phigguf.errors).values() if isinstance(value, type)]
    own = [error for error in errors if error.__module__ == "phigguf.errors"]
    assert own
    assert all(issubclass(error, phigguf.Error) for error in own)


def test_the_readme_has_two_commands_for_set_up():
    commands = re.findall(
        r"^```sh\n(.*?)^```$", project_file("README.md"), re.DOTALL | re.MULTILINE
    )
    assert commands == [
        "pip install . && phigguf demo\n",
        'pip install ".[test]" && python -m pytest\n',
    ]


def test_the_changelog_starts_with_this_version():
    newest = re.search(r"^## (\S+)", project_file("CHANGELOG.md"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == phigguf.__version__


def test_nox_and_pre_commit_use_the_same_formatters():
    pinned = dict(re.findall(r'"(ruff|clang-format)==([\d.]+)"', project_file("noxfile.py")))
    hooks = dict(
        re.findall(
            r"/(?:mirrors-)?(ruff|clang-format)\S*\n\s+rev: v([\d.]+)",
            project_file(".pre-commit-config.yaml"),
        )
    )
    assert pinned == hooks
    assert set(pinned) == {"ruff", "clang-format"}


def test_the_lowest_python_version_is_the_same_everywhere():
    project = project_file("pyproject.toml")
    (lowest,) = re.findall(r'^requires-python = ">=([\d.]+)"$', project, re.MULTILINE)
    assert f'\npython_version = "{lowest}"\n' in project
    assert f'\ntarget-version = "py{lowest.replace(".", "")}"\n' in project
    assert f"Python {lowest} or newer" in project_file("README.md")


def test_running_models_does_not_import_what_makes_files():
    shown = "import sys, phigguf; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", shown], text=True).split()
    assert "phigguf.models.model" in modules
    assert "phigguf.pipeline" not in modules
