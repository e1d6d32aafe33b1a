"""Settings are merged from four sources in one order; an error names the source and a remedy."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.settings import Settings
from phi4audio_cli.settings_loader import find_config, load_settings, preset_folder, preset_names


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def error_message(flags: dict, **sources) -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(flags, **{"environ": {}} | sources)
    return str(caught.value)


def test_precedence_is_flag_environment_file_default(tmp_path: Path) -> None:
    config = write(tmp_path / "my.toml", 'batch_size = 2\ndtype = "float16"\ndevice = "cuda"')
    environ = {"PHI4AUDIO_BATCH_SIZE": "3", "PHI4AUDIO_DTYPE": "float32", "HOME": "/nowhere"}
    settings = load_settings({"batch_size": 4, "dtype": None}, config=config, environ=environ)
    assert settings.batch_size == 4
    assert settings.dtype == "float32"
    assert settings.device == "cuda"
    assert settings.quantize == "none"


def test_config_flag_overrides_config_variable(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.toml", "batch_size = 5")
    environ = {"PHI4AUDIO_CONFIG": mine}
    assert load_settings({}, environ=environ).batch_size == 5
    assert load_settings({}, config="cpu", environ=environ).device == "cpu"


def test_every_key_has_an_environment_variable() -> None:
    environ = {
        "PHI4AUDIO_MODEL": "demo",
        "PHI4AUDIO_ADAPTER": "lora",
        "PHI4AUDIO_LANGUAGE": "deutsch",
        "PHI4AUDIO_FORMATS": "srt, TXT,srt",
        "PHI4AUDIO_OUTPUT_DIR": "~/out",
        "PHI4AUDIO_OUTPUT_TEMPLATE": "{stem}.{format}",
        "PHI4AUDIO_CHANNEL": "split",
        "PHI4AUDIO_TRACK": "1",
        "PHI4AUDIO_MAX_UNCOVERED": "2.5",
        "PHI4AUDIO_BATCH_SIZE": "1",
        "PHI4AUDIO_READERS": "3",
        "PHI4AUDIO_CHUNK_SECONDS": "12.5",
        "PHI4AUDIO_VAD": "false",
        "PHI4AUDIO_ALIGN": "speech",
        "PHI4AUDIO_MAX_LINE_WIDTH": "32",
        "PHI4AUDIO_MAX_LINES": "1",
        "PHI4AUDIO_MAX_CUE_SECONDS": "5",
        "PHI4AUDIO_HIGHLIGHT_WORDS": "true",
        "PHI4AUDIO_DEVICE": "cuda:1",
        "PHI4AUDIO_DTYPE": "bfloat16",
        "PHI4AUDIO_QUANTIZE": "int8",
        "PHI4AUDIO_OFFLINE": "true",
        "PHI4AUDIO_PROMPTS": '{"paragraph": "What is it about?"}',
    }
    expected = {
        "model": "demo",
        "adapter": Path("lora"),
        "language": "German",
        "formats": ("srt", "txt"),
        "output_dir": Path.home() / "out",
        "output_template": "{stem}.{format}",
        "channel": "split",
        "track": 1,
        "max_uncovered": 2.5,
        "batch_size": 1,
        "readers": 3,
        "chunk_seconds": 12.5,
        "vad": False,
        "align": "speech",
        "max_line_width": 32,
        "max_lines": 1,
        "max_cue_seconds": 5.0,
        "highlight_words": True,
        "device": "cuda:1",
        "dtype": "bfloat16",
        "quantize": "int8",
        "offline": True,
        "prompts": {"paragraph": "What is it about?"},
    }
    assert load_settings({}, environ=environ).model_dump() == expected
    assert set(expected) == set(Settings.model_fields)


def test_an_empty_variable_is_not_set() -> None:
    assert load_settings({}, environ={"PHI4AUDIO_LANGUAGE": ""}).language is None


def test_formats_add_up_over_repeated_flags() -> None:
    assert load_settings({"formats": ["txt,json", "txt"]}, environ={}).formats == ("txt", "json")


def test_an_unknown_key_is_named_with_the_nearest_and_its_file(tmp_path: Path) -> None:
    config = write(tmp_path / "my.toml", "batchsize = 2")
    message = error_message({}, config=config)
    assert f"{config}: batchsize" in message
    assert "unknown setting" in message
    assert "did you mean batch_size?" in message


def test_an_unknown_variable_is_named() -> None:
    message = error_message({}, environ={"PHI4AUDIO_MODLE": "demo"})
    assert "PHI4AUDIO_MODLE" in message
    assert "did you mean model?" in message


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("batch_size", 0, "auto, or a number from 1 to 1024"),
        ("batch_size", "many", "auto, or a number from 1 to 1024"),
        ("batch_size", 1025, "auto, or a number from 1 to 1024"),
        ("readers", 0, "auto, or a number from 1 to 64"),
        ("readers", "many", "auto, or a number from 1 to 64"),
        ("readers", 65, "auto, or a number from 1 to 64"),
        ("chunk_seconds", 0.5, "greater than or equal to 1"),
        ("chunk_seconds", 41, "less than or equal to 40"),
        ("chunk_seconds", float("nan"), "finite number"),
        ("channel", "middle", "'right' or 'split'"),
        ("track", -1, "greater than or equal to 0"),
        ("max_uncovered", 101, "less than or equal to 100"),
        ("device", "gpu", "auto, cpu, mps, cuda"),
        ("device", "cuda:x", "such as cuda:1"),
        ("dtype", "int4", "'bfloat16', 'float16' or 'float32'"),
        ("formats", 3, "names separated by commas"),
        ("formats", ",", "at least 1 item"),
        ("language", "Klingon", "it knows Chinese, English"),
        ("model", "", "at least 1 character"),
        ("offline", "perhaps", "valid boolean"),
    ],
)
def test_an_invalid_value_is_reported_with_key_value_and_allowed_values(
    key, value, allowed
) -> None:
    message = error_message({key: value})
    assert ("--format" if key == "formats" else f"--{key.replace('_', '-')}") in message
    assert repr(value) in message
    assert allowed in message
    assert "\n" not in message


def test_an_invalid_value_is_reported_with_its_source(tmp_path: Path) -> None:
    config = write(tmp_path / "{my} config.toml", "batch_size = 0")
    assert error_message({}, config=config).startswith(f"{config}: batch_size: invalid value 0")
    environ = {"PHI4AUDIO_BATCH_SIZE": "-1"}
    assert error_message({}, environ=environ).startswith("PHI4AUDIO_BATCH_SIZE: invalid value '-1'")
    assert error_message({"batch_size": 0}, config=config, environ=environ).startswith(
        "--batch-size: invalid value 0"
    )


def test_an_invalid_a_missing_and_a_folder_as_configuration_file(tmp_path: Path) -> None:
    assert "invalid TOML" in error_message({}, config=write(tmp_path / "a.toml", "batch_size 2"))
    (tmp_path / "latin.toml").write_bytes(b'model = "\xe9"')
    assert "invalid TOML" in error_message({}, config=str(tmp_path / "latin.toml"))
    assert "is a folder" in error_message({}, config=str(tmp_path))
    message = error_message({}, config="gpu-24g")
    assert "did you mean gpu-24gb?" in message
    assert "cpu, default, gpu-24gb, gpu-80gb, gpu-8gb" in message


def test_a_preset_takes_precedence_over_a_file_of_the_same_name(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "cpu", "batch_size = 7")
    assert find_config("cpu") == preset_folder() / "cpu.toml"
    assert load_settings({}, config="./cpu", environ={}).batch_size == 7


def test_the_default_preset_lists_the_defaults() -> None:
    assert load_settings({}, config="default", environ={}) == Settings()


@pytest.mark.parametrize("name", ["default", "cpu", "gpu-8gb", "gpu-24gb", "gpu-80gb"])
def test_presets_load_and_comment_every_key(name: str) -> None:
    assert name in preset_names()
    load_settings({}, config=name, environ={})
    text = (preset_folder() / f"{name}.toml").read_text(encoding="utf-8")
    lines = text.splitlines()
    for key in Settings.model_fields:
        at = next(i for i, line in enumerate(lines) if re.match(rf"(# )?{key} = ", line))
        assert lines[at - 1].startswith("# "), f"{key} has no comment in {name}"
    # A line that is commented out must be right when its mark is taken away.
    uncommented = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert set(tomllib.loads(uncommented)) == set(Settings.model_fields)
    Settings(**tomllib.loads(uncommented))
