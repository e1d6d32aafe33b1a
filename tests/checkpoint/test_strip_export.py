"""The command `phi4audio strip-export`."""

import json
import subprocess
import sys

import pytest

from phi4audio_cli.checkpoint import equivalence, open_checkpoint
from phi4audio_cli.cli import strip_export_command as command
from phi4audio_cli.cli.app import main
from phi4audio_cli.cli.strip_export_command import parse_size
from phi4audio_cli.errors import CheckpointError, ExitCode, UsageError
from tests.checkpoint.checkpoint_edits import edit_json, edit_weights


@pytest.fixture
def run(capsys):
    """Return a function that runs the command: exit code, standard output, standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["strip-export", *map(str, arguments)])
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return call


def test_an_export_from_the_command_line(run, original, tmp_path):
    code, out, err = run("--out", tmp_path / "out", "--source", original, "--max-shard-size", "1MB")
    assert code == ExitCode.OK
    assert open_checkpoint(tmp_path / "out").layout == "stripped"
    assert "original (original layout), speech LoRA: merge" in out
    assert "105 kept, 8 of them merged, 74 dropped" in out
    assert "verified: 105 tensors compared, " in out
    assert "of 8 greedy tokens the same" in out
    assert "writing: " in err
    assert "verifying: " in err
    assert " left" in err
    assert str(tmp_path) not in (tmp_path / "out" / "README.md").read_text()


def test_the_table_as_json(run, native, tmp_path):
    code, out, err = run("--out", tmp_path / "o", "-s", native, "--json", "--quiet", "--no-verify")
    table = json.loads(out)
    assert (code, err) == (ExitCode.OK, "")
    assert table["parameters"]["before"] - table["parameters"]["after"] == 78_960
    assert table["bytes"]["saved"] == table["bytes"]["before"] - table["bytes"]["after"]
    assert "verified" not in table
    assert table["folder"] == str(tmp_path / "o")


def test_a_dry_run_writes_nothing(run, native, tmp_path):
    code, out, _ = run("--out", tmp_path / "out", "--source", native, "--dry-run")
    assert code == ExitCode.OK
    assert "58 dropped" in out
    assert "written" not in out
    assert [path.name for path in tmp_path.iterdir()] == ["native"]


def test_dropping_the_adapter_warns(run, native, tmp_path):
    code, _, err = run("--out", tmp_path / "o", "-s", native, "--speech-lora", "drop", "--dry-run")
    assert code == ExitCode.OK
    assert "will not understand audio" in err


def zero_b(folder):
    edit_weights(
        folder / "speech-lora/adapter_model.safetensors",
        lambda tensors: [t.zero_() for name, t in tensors.items() if "lora_B" in name],
    )


def to_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def no_adapter(folder):
    (folder / "speech-lora" / "adapter_model.safetensors").unlink()
    (folder / "speech-lora" / "adapter_config.json").unlink()
    (folder / "speech-lora").rmdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (zero_b, "changes no weight"),
        (to_pickle, "pickle"),
        (no_adapter, "has no speech LoRA"),
        (
            lambda folder: edit_json(folder / "speech-lora/adapter_config.json", r=9),
            "has the rank 6",
        ),
    ],
)
def test_bad_sources_are_exit_3(run, native, tmp_path, damage, message):
    damage(native)
    code, out, err = run("--out", tmp_path / "out", "--source", native)
    assert (code, out) == (ExitCode.MODEL, "")
    (line,) = err.splitlines()
    assert line.startswith("phi4audio: ")
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["native"]


def test_a_stripped_source_is_exit_2(run, native, tmp_path):
    run("--out", tmp_path / "out", "--source", native, "--no-verify", "--quiet")
    code, _, err = run("--out", tmp_path / "again", "--source", tmp_path / "out")
    assert code == ExitCode.USAGE
    assert "has no vision parts" in err


def test_a_hub_id_offline_is_exit_3(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    code, _, err = run("--out", tmp_path / "out", "--source", "no-one/nothing@v1", "--offline")
    assert code == ExitCode.MODEL
    assert "hf download no-one/nothing --revision v1" in err


def test_a_taken_folder_is_exit_4(run, native, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    code, _, err = run("--out", tmp_path / "out", "--source", native)
    assert code == ExitCode.OUTPUT
    assert "--overwrite" in err


def test_other_answers_are_exit_3_and_leave_nothing(run, native, tmp_path, monkeypatch):
    def differ(*arguments):
        raise CheckpointError("token 3 of its answer is 7, the source's is 5")

    monkeypatch.setattr(equivalence, "compare_answers", differ)
    code, _, err = run("--out", tmp_path / "out", "--source", native)
    assert code == ExitCode.MODEL
    assert "token 3" in err
    assert [path.name for path in tmp_path.iterdir()] == ["native"]


def test_where_memory_is_short_the_answers_are_not_compared(run, native, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_comparison_device", lambda plan: None)
    code, out, _ = run("--out", tmp_path / "out", "--source", native, "--quiet")
    assert code == ExitCode.OK
    assert "answers not compared: not enough memory" in out


@pytest.mark.parametrize(
    ("text", "size"),
    [("5GB", 5 * 10**9), ("500 MB", 5 * 10**8), ("2GiB", 2**31), ("1.5kb", 1500), ("77", 77)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "5 bananas", "1e3"])
def test_an_invalid_size_is_a_usage_error(run, text, tmp_path):
    with pytest.raises(UsageError, match="invalid size"):
        parse_size(text)


def test_help_loads_no_torch():
    code = (
        "import sys\nfrom phi4audio_cli.cli.app import main\n"
        "try:\n    main(['strip-export', '--help'])\n"
        "except SystemExit:\n    assert not {'torch', 'transformers'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--speech-lora" in done.stdout
