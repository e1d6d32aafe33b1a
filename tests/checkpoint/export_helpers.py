"""Helpers of the tests of strip-export."""

from phi4audio_cli.checkpoint.export import ExportRequest, make_plan

WEIGHTS = "model.safetensors"
ADAPTER = "speech-lora/adapter_model.safetensors"


def make_export_plan(folder, mode="merge", **options):
    return make_plan(ExportRequest(folder, folder.name, mode, **options))


def file_contents(folder):
    """Return the content of every file, by its path."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def folder_entries(folder):
    return sorted(path.name for path in folder.iterdir())
