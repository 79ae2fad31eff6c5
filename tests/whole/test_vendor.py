"""What the web page has of others: pinned, whole, made as recorded, and licensed."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines import ROOT

VENDOR = ROOT / "es_goals" / "page" / "vendor"
DIGESTS = ROOT / "es_goals" / "page" / "vendor.sha256"
LOCK: Any = json.loads((ROOT / "package-lock.json").read_text("utf-8"))
WANTED: dict[str, str] = json.loads((ROOT / "package.json").read_text("utf-8"))["devDependencies"]
PACKAGES: dict[str, Any] = {name: one for name, one in LOCK["packages"].items() if name}
BUNDLED = sorted(
    name.removeprefix("node_modules/") for name in PACKAGES if "esbuild" not in name and "@types" not in name
)


def recorded(root: Path = ROOT) -> dict[str, str]:
    """The SHA-256 that git has for each file."""
    lines = (line.split() for line in DIGESTS.read_text("utf-8").splitlines())
    return {str(root / name): digest for digest, name in lines}


def digests(paths: list[Path]) -> dict[str, str]:
    """Those that the files have."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_files_are_those_that_were_recorded() -> None:
    """After a change of either, docs/dependencies.md tells how they are made and recorded anew."""
    names = ("package.json", "package-lock.json", "hatch_build.py")
    paths = [*(ROOT / name for name in names), *VENDOR.iterdir()]

    assert digests(paths) == recorded()


def test_the_lock_has_a_digest_of_each_package_and_no_address() -> None:
    text = (ROOT / "package-lock.json").read_text("utf-8")

    assert "http" not in text
    assert "resolved" not in text
    assert [name for name, one in PACKAGES.items() if not one["integrity"].startswith("sha512-")] == []


def test_each_package_is_asked_for_in_one_version_which_is_documented() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    locked = {name: PACKAGES[f"node_modules/{name}"]["version"] for name in WANTED}

    assert locked == WANTED
    assert [name for name, version in WANTED.items() if f"| `{name}` | {version} |" not in text] == []


@pytest.mark.parametrize("package", BUNDLED)
def test_the_licence_of_each_package_comes_with_the_files(package: str) -> None:
    assert f"==== {package}: LICENSE" in (VENDOR / "LICENSES.txt").read_text("utf-8")


def build(root: Path, target: Path, *formats: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Build what is there; hatchling is asked by itself, in this environment."""
    environment = os.environ if path is None else {**os.environ, "PATH": path}
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "hatchling", "build", "-d", str(target), *(f"-t{one}" for one in formats)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What git has, and the files that were made."""
    root = tmp_path / "source"
    left_out = shutil.ignore_patterns("__pycache__", "*.db*")
    for folder in ("es_goals", "projections"):
        shutil.copytree(ROOT / folder, root / folder, ignore=left_out)
    for file in (
        "pyproject.toml",
        "hatch_build.py",
        "package.json",
        "package-lock.json",
        "README.md",
        "LICENSE",
        ".gitignore",
    ):
        shutil.copy(ROOT / file, root)
    return root


def test_a_wheel_of_an_sdist_has_the_page_and_needs_no_npm(source: Path, tmp_path: Path) -> None:
    """Nor a network, which npm would need."""
    made = build(source, tmp_path / "dist", "sdist", path="/nowhere")
    assert made.returncode == 0, made.stderr
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "sdist", filter="data")
    (unpacked,) = (tmp_path / "sdist").iterdir()

    again = build(unpacked, tmp_path / "dist", "wheel", path="/nowhere")

    assert again.returncode == 0, again.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed_names = set(packed.namelist())
    page = ROOT / "es_goals" / "page"
    assert {str(file.relative_to(ROOT)) for file in page.rglob("*") if file.is_file()} <= packed_names


def test_without_npm_and_files_it_fails_with_a_sentence(source: Path, tmp_path: Path) -> None:
    shutil.rmtree(source / "es_goals" / "page" / "vendor")

    made = build(source, tmp_path / "dist", "wheel", path="/nowhere")

    assert made.returncode != 0
    assert "expected npm, to fetch what the web page is made of" in made.stderr


def test_a_file_that_was_changed_is_made_anew(source: Path, tmp_path: Path) -> None:
    """Which this machine cannot do."""
    with (source / "es_goals" / "page" / "vendor" / "lit.js").open("a") as file:
        file.write("// changed")

    made = build(source, tmp_path / "dist", "wheel", path="/nowhere")

    assert "expected npm" in made.stderr
