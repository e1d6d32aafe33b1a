"""The wheel contains everything that the command needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy of the checkout."""
    source = tmp_path_factory.mktemp("source") / "phi4audio"
    # Files that hatch ignores, too (.gitignore), and the tests.
    left_out = shutil.ignore_patterns(".*_cache", ".venv", ".git", "__pycache__", "tests", "dist")
    shutil.copytree(ROOT, source, ignore=left_out)
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory) -> Path:
    """The `bin` of an environment with the wheel, and the dependencies of this one.

    The dependencies are linked, not installed: torch alone would take minutes.
    """
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    folder = home / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    # Only this folder: the .pth file of the editable phi4audio in it is not read.
    (folder / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"], encoding="utf-8")
    # The environment's own Python installs, so that the command starts with it.
    run(
        home / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
        "--ignore-installed", "--no-warn-script-location", wheel,
    )  # fmt: skip
    return home / "bin"


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True, text=True, check=False, cwd=cwd, env=environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_the_wheel_holds_code_presets_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2  # the package and its metadata
    assert "phi4audio_cli/configs/gpu-24gb.toml" in names
    assert "phi4audio_cli/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_holds_the_demo(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert f"phi4audio_cli/demo/checkpoint/{name}" in names
    samples = [name for name in names if name.startswith("phi4audio_cli/demo/samples/")]
    assert any(name.endswith((".flac", ".opus", ".ogg")) for name in samples)


def test_every_requirement_has_a_pin_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in map(Requirement, wanted):
        assert pins[requirement.name.lower()] in requirement.specifier, requirement.name


def test_an_installed_command_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "phi4audio", "--version", cwd=tmp_path)
    assert done.stdout.startswith("phi4audio ")
    where = "import phi4audio_cli; print(phi4audio_cli.__file__)"
    found = run(installed / "python", "-c", where, cwd=tmp_path).stdout.strip()
    assert Path(found).is_relative_to(installed.parent)


def test_an_installed_command_finds_its_presets(installed: Path, tmp_path: Path) -> None:
    program = (
        "from phi4audio_cli.settings_loader import load_settings, preset_folder, preset_names;"
        "print(preset_folder(), load_settings({}, config='cpu', environ={}).device,"
        " *preset_names())"
    )
    done = run(installed / "python", "-c", program, cwd=tmp_path)
    folder, device, *names = done.stdout.split()
    assert Path(folder).is_relative_to(installed.parent)
    assert device == "cpu"
    assert names == ["cpu", "default", "gpu-24gb", "gpu-80gb", "gpu-8gb"]


def test_an_installed_command_transcribes_a_bundled_sample(installed: Path, tmp_path: Path) -> None:
    folder = Path(run(installed / "phi4audio", "samples", cwd=tmp_path).stdout.strip())
    assert folder.is_relative_to(installed.parent)
    samples = [path for path in folder.iterdir() if path.suffix in (".flac", ".opus")]
    smallest = min(samples, key=lambda path: path.stat().st_size)
    done = run(
        installed / "phi4audio", "transcribe", smallest, "--model", "demo", "--offline",
        "--device", "cpu", "--output-dir", "out",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.strip()
    written = {path.suffix for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert written == {".txt", ".json", ".srt"}
