"""What the tests of strip-export's files share."""

from phi4audio_cli.checkpoint.export import Request, make_plan

WEIGHTS = "model.safetensors"
ADAPTER = "speech-lora/adapter_model.safetensors"


def plan_of(folder, mode="merge", **options):
    return make_plan(Request(folder, folder.name, mode, **options))


def digest(folder):
    """Return the content of every file, by its path."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def entries(folder):
    return sorted(path.name for path in folder.iterdir())
