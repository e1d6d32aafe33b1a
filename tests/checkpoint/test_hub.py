"""Models by name; the hub is a server on the loopback interface."""

import contextlib
import hashlib
import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from phi4audio_cli.checkpoint import hub as module
from phi4audio_cli.checkpoint.hub import required_files, resolve_model
from phi4audio_cli.errors import ModelError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/some-model"
UNNEEDED_FILES = ("modeling_phi4mm.py", "onnx/model.onnx", "vision-lora/adapter_model.safetensors")


class Hub(http.server.BaseHTTPRequestHandler):
    """The answers of the hub that a download needs."""

    folder: Path
    requested_paths: list[str]

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path = self.path.split("?")[0]
        self.requested_paths.append(path)
        if path.startswith(f"/api/models/{REPO}"):
            files = [file for file in self.folder.rglob("*") if file.is_file()]
            siblings = [
                {"rfilename": str(file.relative_to(self.folder)), "size": file.stat().st_size}
                for file in files
            ]
            return self.send(
                json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode(), body
            )
        file = self.folder / path.partition("/resolve/")[2].partition("/")[2]
        if not path.startswith(f"/{REPO}/resolve/") or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        return self.send(file.read_bytes(), body)

    def send(self, data, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", hashlib.sha256(data).hexdigest())
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve_hub(folder):
    handler = type("Handler", (Hub,), {"folder": folder, "requested_paths": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.requested_paths
    finally:
        server.shutdown()
        server.server_close()


def resolve_in_subprocess(model, endpoint, home, *, offline=False, **environment):
    """Run `resolve_model` in a process whose environment the hub library reads at import."""
    code = f"""
import json, sys
from phi4audio_cli.checkpoint.hub import resolve_model
from phi4audio_cli.errors import ModelError
calls = []
try:
    folder = resolve_model({model!r}, offline={offline}, on_download=lambda d, n: calls.append(
        [d.repo, d.revision, d.files, d.total_bytes, str(d.folder), n]))
except ModelError as error:
    print(json.dumps({{"error": str(error), "calls": calls}}))
else:
    print(json.dumps({{"folder": str(folder), "calls": calls}}))
assert "torch" not in sys.modules
"""
    started = time.monotonic()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "NO_PROXY": "*",
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"seconds": time.monotonic() - started}


@pytest.fixture
def hub_folder(original):
    for name in UNNEEDED_FILES:
        (original / name).parent.mkdir(exist_ok=True)
        (original / name).write_text("nothing a load reads")
    return original


@pytest.mark.slow
def test_a_download_fetches_required_files_once_and_reports_progress(hub_folder, tmp_path):
    with serve_hub(hub_folder) as (endpoint, paths):
        found = resolve_in_subprocess(f"{REPO}@refs/pr/70", endpoint, tmp_path / "home")
        folder = Path(found["folder"])
        names = {str(f.relative_to(folder)) for f in folder.rglob("*") if not f.is_dir()}
        assert names == {
            "LICENSE",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "preprocessor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        }
        for name in names:
            assert (folder / name).read_bytes() == (hub_folder / name).read_bytes()
        total = sum((hub_folder / name).stat().st_size for name in names)
        repo, commit, files, nbytes, cache, first = found["calls"][0]
        assert (repo, commit, nbytes, first) == (REPO, COMMIT, total, 0)
        assert set(files) == names
        assert folder.is_relative_to(cache)
        assert [calls[-1] for calls in found["calls"]] == sorted(
            calls[-1] for calls in found["calls"]
        )
        assert found["calls"][-1][-1] == total
        paths.clear()
        again = resolve_in_subprocess(f"{REPO}@refs/pr/70", endpoint, tmp_path / "home")
    assert again["folder"] == found["folder"]
    assert (paths, again["calls"]) == ([], [])
    offline = resolve_in_subprocess(
        f"{REPO}@refs/pr/70", "http://127.0.0.1:9", tmp_path / "home", offline=True
    )
    assert offline["folder"] == found["folder"]


@pytest.mark.slow
def test_an_interrupted_download_resumes(hub_folder, tmp_path):
    with serve_hub(hub_folder) as (endpoint, paths):
        folder = Path(resolve_in_subprocess(REPO, endpoint, tmp_path / "home")["folder"])
        (folder / "model.safetensors").unlink()
        (folder / "tokenizer.json").unlink()
        again = resolve_in_subprocess(REPO, endpoint, tmp_path / "home")
    assert set(again["calls"][0][2]) == {"model.safetensors", "tokenizer.json"}
    assert (folder / "model.safetensors").is_file()
    assert paths


def test_a_model_missing_on_the_hub_is_an_error(hub_folder, tmp_path):
    with serve_hub(hub_folder) as (endpoint, _):
        error = resolve_in_subprocess("someone/else", endpoint, tmp_path / "home")["error"]
    assert error.startswith("someone/else: the hub does not have")
    assert "hf download someone/else" in error
    assert "demo" in error


def test_pickles_only_are_refused_before_a_download(hub_folder, tmp_path):
    (hub_folder / "model.safetensors").rename(hub_folder / "pytorch_model.bin")
    with serve_hub(hub_folder) as (endpoint, paths):
        found = resolve_in_subprocess(REPO, endpoint, tmp_path / "home")
    assert "pickle" in found["error"]
    assert not found["calls"]
    assert not [path for path in paths if "resolve" in path]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["refuses", "is silent"])
def test_an_unreachable_hub_is_reported_within_seconds(tmp_path, network):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if network == "is silent":
            silent.listen()
        found = resolve_in_subprocess(
            f"{REPO}@v1", f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path
        )
    assert "can't be reached" in found["error"]
    assert f"hf download {REPO} --revision v1" in found["error"]
    assert found["seconds"] < module.HUB_TIMEOUT_SECONDS + 20


@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_never_touches_the_network(hub_folder, tmp_path, how):
    more = {"HF_HUB_OFFLINE": "1"} if how == "environment" else {}
    with serve_hub(hub_folder) as (endpoint, paths):
        found = resolve_in_subprocess(
            REPO, endpoint, tmp_path / "home", offline=how == "option", **more
        )
    assert "isn't on this machine" in found["error"]
    assert "hf download" in found["error"]
    assert not paths


def test_a_folder_is_used_as_it_is(original):
    assert resolve_model(str(original), offline=True) == original


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "justaname", "a/b/c", "../a"])
def test_a_name_that_is_neither_folder_nor_hub_id_is_refused(name):
    with pytest.raises(ModelError, match=r"no such folder, and not a hub id.*demo"):
        resolve_model(name, offline=False)


def test_a_missing_bundled_demo_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module.importlib.resources, "files", lambda package: tmp_path)
    with pytest.raises(ModelError, match="install phi4audio again"):
        resolve_model("demo", offline=True)
    (tmp_path / "demo" / "checkpoint").mkdir(parents=True)
    (tmp_path / "demo" / "checkpoint" / "config.json").write_text("{}")
    assert resolve_model("demo", offline=True) == tmp_path / "demo" / "checkpoint"


def test_the_adapter_folder_is_needed_without_an_inline_lora():
    names = [
        "speech-lora/adapter_model.safetensors",
        "speech-lora/adapter_config.json",
        *UNNEEDED_FILES,
    ]
    assert required_files(names, inline_lora=True) == ()
    assert required_files(names, inline_lora=False) == tuple(sorted(names[:2]))
