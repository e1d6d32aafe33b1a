"""`phi4audio doctor`: a line with a remedy for every problem, and the exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from phi4audio_cli.checkpoint.hub import resolve_model
from phi4audio_cli.cli.app import main
from phi4audio_cli.doctor.environment_checks import Check, check_output_dir, check_versions
from phi4audio_cli.doctor.model_checks import check_model
from phi4audio_cli.model import torch_backend
from phi4audio_cli.network.phi4 import Phi4Audio
from phi4audio_cli.settings import Settings

MISSING_MODEL = "nobody/nothing"


def doctor(*arguments: str) -> int:
    with pytest.raises(SystemExit) as request:
        main(["doctor", *arguments])
    return int(request.value.code or 0)


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def run_model_checks(**settings: object) -> dict[str, Check]:
    return by_name(list(check_model(Settings(device="cpu", dtype="float32", **settings))))


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A copy of the demo checkpoint."""
    return Path(shutil.copytree(resolve_model("demo", offline=True), tmp_path / "damaged"))


def test_the_demo_runs_here(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHI4AUDIO_VAD", "true")
    assert doctor("--model", "demo", "--device", "cpu", "--offline", "--json") == 0
    report = json.loads(capfd.readouterr().out)
    assert report["ok"]
    status = {check["name"]: check["status"] for check in report["checks"]}
    names = "python torch transformers writing decoding speech device model offline checkpoint"
    assert {*names.split(), "speech LoRA", "memory", "listening"} <= set(status)
    assert status["listening"] == status["speech"] == status["decoding"] == "ok"
    assert list(tmp_path.iterdir()) == []  # no file is left


def test_an_unknown_model_is_a_line_with_a_remedy(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert doctor("--model", MISSING_MODEL, "--offline") == 3
    out, err = capfd.readouterr()
    [line] = [line for line in out.splitlines() if line.startswith("fail")]
    assert line.startswith(f"fail  model         {MISSING_MODEL}: isn't on this machine")
    assert "hf download nobody/nothing" in line
    assert out.splitlines()[-1].startswith("a job would not run")
    assert "\x1b" not in out  # a pipe gets no colours
    assert err == ""


def test_a_missing_device_is_reported(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert doctor("--model", "demo", "--device", "cuda:99") == 3
    lines = capfd.readouterr().out.splitlines()
    assert any(line.startswith("fail  device") and "--device auto" in line for line in lines)


def fake_hub(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    class Api:
        def model_info(self, repo: str, **options: object) -> object:
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)


def test_a_model_that_would_be_downloaded_is_a_warning_with_its_size(monkeypatch):
    files = {"config.json": 1000, "model.safetensors": 9_000_000, "onnx/model.onnx": 10**15}
    siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in files.items()]
    fake_hub(monkeypatch, SimpleNamespace(siblings=siblings))
    found = run_model_checks(model=MISSING_MODEL)
    assert found["model"].status == "warn"
    assert "9.0 MB" in found["model"].found
    assert found["offline"].status == "warn"


def test_a_download_that_does_not_fit_the_disk_fails(monkeypatch):
    siblings = [SimpleNamespace(rfilename="model.safetensors", size=10**15)]
    fake_hub(monkeypatch, SimpleNamespace(siblings=siblings))
    found = run_model_checks(model=MISSING_MODEL)
    assert found["model"].status == "fail"
    assert "1000000.0 GB" in found["model"].found


@pytest.mark.parametrize("name", [MISSING_MODEL, "./nowhere", "nowhere"])
def test_a_hub_that_does_not_answer_fails(monkeypatch, name):
    fake_hub(monkeypatch, ConnectionError("no route\nto host"))
    found = run_model_checks(model=name)
    assert [check.status for check in found.values()] == ["fail"]
    assert found["model"].remedy
    assert ("no route" in found["model"].found) == (name == MISSING_MODEL)
    assert "\n" not in found["model"].found


@pytest.mark.parametrize("file", ["tokenizer.json", "config.json", "model.safetensors"])
def test_a_checkpoint_that_lacks_a_file_fails(damaged: Path, file: str):
    (damaged / file).unlink()
    found = run_model_checks(model=str(damaged))
    assert found["checkpoint"].status == "fail"
    assert "memory" not in found


def test_a_truncated_checkpoint_fails(damaged: Path):
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    check = run_model_checks(model=str(damaged))["checkpoint"]
    assert check.status == "fail"
    assert "again" in (check.remedy or "")


def test_another_checkpoint_is_not_loaded_and_the_demo_checks_the_network(damaged, monkeypatch):
    opened: list[Path] = []
    open_backend = torch_backend.open_torch_backend

    def record(folder: Path, **options: object) -> torch_backend.TorchBackend:
        opened.append(folder)
        return open_backend(folder, **options)

    monkeypatch.setattr(torch_backend, "open_torch_backend", record)
    found = run_model_checks(model=str(damaged))
    assert found["memory"].status == "ok"
    assert found["listening"].status == "ok"
    assert opened == [resolve_model("demo", offline=True)]


@pytest.mark.parametrize("is_demo", [True, False])
def test_a_network_whose_code_fails_is_found_with_any_model(damaged, monkeypatch, is_demo):
    def fail(*arguments: object) -> None:
        raise TypeError("update() got an unexpected keyword argument 'kwargs'")

    monkeypatch.setattr(Phi4Audio, "prefill", fail)
    check = run_model_checks(model="demo" if is_demo else str(damaged))["listening"]
    assert check.status == "fail"
    assert "TypeError: update() got an unexpected keyword argument" in check.found
    assert f"torch {metadata.version('torch')}" in check.found
    assert "bug of phi4audio" in (check.remedy or "")


def test_a_failing_network_with_a_package_out_of_range_names_the_package(monkeypatch):
    def fail(*arguments: object) -> None:
        raise TypeError("update() got an unexpected keyword argument 'kwargs'")

    wrong = Check("torch", "warn", "9.0, but <3 is required", "pip install 'torch<3'")
    monkeypatch.setattr(Phi4Audio, "prefill", fail)
    monkeypatch.setattr("phi4audio_cli.doctor.model_checks.check_versions", lambda: iter([wrong]))
    check = run_model_checks(model="demo")["listening"]
    assert check.status == "fail"
    assert "pip install 'torch<3'" in (check.remedy or "")


def test_weights_that_do_not_fit_fail_before_they_are_loaded(monkeypatch):
    monkeypatch.setattr("phi4audio_cli.model.placement.free_memory", lambda device: 1_000_000)
    found = run_model_checks(model="demo")
    assert found["memory"].status == "fail"
    assert "--dtype bfloat16" in (found["memory"].remedy or "")
    assert "listening" not in found


def test_a_batch_that_may_not_fit_is_a_warning_with_a_size_that_does(monkeypatch, damaged):
    monkeypatch.setattr("phi4audio_cli.model.placement.free_memory", lambda device: 200_000_000)
    check = run_model_checks(model=str(damaged), batch_size=64)["memory"]
    assert check.status == "warn"
    assert int((check.remedy or "").removeprefix("--batch-size ")) < 64


def test_a_wrong_transcript_of_the_test_clip_fails(monkeypatch):
    monkeypatch.setattr(
        "phi4audio_cli.doctor.model_checks.bundled_reference", lambda name: "one two"
    )
    check = run_model_checks(model="demo")["listening"]
    assert check.status == "fail"
    assert "'one two' is transcribed as 'three five" in check.found


def test_packages_are_compared_with_their_ranges(monkeypatch):
    real = metadata.version

    def version(name: str) -> str:
        if name == "soxr":
            raise metadata.PackageNotFoundError(name)
        return "1.0" if name == "transformers" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = by_name(list(check_versions()))
    assert found["torch"].status == found["python"].status == found["packages"].status == "ok"
    assert found["transformers"].status == "warn"
    assert "pip install 'transformers" in (found["transformers"].remedy or "")
    assert found["soxr"].status == "fail"


def test_an_unwritable_folder_fails(tmp_path: Path):
    (tmp_path / "file").touch()
    assert check_output_dir(tmp_path).status == "ok"
    assert check_output_dir(tmp_path / "to be" / "made").status == "ok"
    check = check_output_dir(tmp_path / "file")
    assert check.status == "fail"
    assert "-o" in (check.remedy or "")


def test_help_imports_no_heavy_packages():
    spy = (
        "import sys\nfrom phi4audio_cli.cli.app import main\n"
        "try:\n    main(['doctor', '--help'])\n"
        "except SystemExit:\n    print(sorted({'torch', 'numpy', 'phi4audio_cli.settings'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", spy], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
