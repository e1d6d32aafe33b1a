"""`Session`, the public Python API."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import phi4audio_cli
from phi4audio_cli import (
    AudioArray,
    AudioError,
    ChunkDone,
    FileDone,
    FileError,
    FileFailed,
    FileStarted,
    Listener,
    ModelError,
    Phi4AudioError,
    Session,
    Settings,
    UsageError,
)
from phi4audio_cli.audio.reader import InProcessReader
from phi4audio_cli.pipeline.backend import ScriptedBackend, ShouldStop, never_stop
from phi4audio_cli.types import Event, Generation, Job, Request, RequestFailed
from tests.factories import write_tone

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "phi4audio_cli" / "demo" / "samples"
SHORT = SAMPLES / "short.flac"
RATE = 16_000


def say_seconds(request: Request) -> str:
    return f"{request.chunk.seconds:.1f} seconds" if request.chunk else "joined"


def scripted_session(backend: ScriptedBackend | None = None, **options: object) -> Session:
    """Return a session that answers from a script, and reads in this process."""
    backend = backend or ScriptedBackend(say_seconds)
    values = {"vad": False, "align": "none", **options}
    return Session(backend=backend, readers=[InProcessReader()], **values)


@pytest.fixture(scope="module")
def demo() -> Iterator[Session]:
    with Session("demo", device="cpu", dtype="float32") as session:
        yield session


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    return write_tone(tmp_path / "tone.wav", 2.0)


def reference(name: str) -> str:
    return (SAMPLES / f"{name}.ref.txt").read_text(encoding="utf-8").strip()


def test_transcript_of_a_file_is_the_reference_with_words_and_times(demo: Session) -> None:
    transcript = demo.transcribe(SHORT)
    assert transcript.text.split() == reference("short").split()
    words = [word for segment in transcript.segments for word in segment.words]
    assert [word.word.strip() for word in words] == transcript.text.split()
    assert transcript.duration == soundfile.info(SHORT).duration


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_an_array_has_the_transcript_of_its_file(demo: Session, dtype: str) -> None:
    samples, rate = soundfile.read(SHORT, dtype=dtype)
    assert demo.transcribe(samples, sample_rate=rate) == demo.transcribe(str(SHORT))


def test_two_equal_channels_have_the_transcript_of_one(demo: Session) -> None:
    samples, rate = soundfile.read(SHORT, dtype="float32")
    stereo = np.stack([samples, samples], axis=1)
    assert demo.transcribe(stereo, sample_rate=rate) == demo.transcribe(SHORT)


def test_an_array_of_another_rate_is_resampled() -> None:
    backend = ScriptedBackend(say_seconds)
    with scripted_session(backend) as session:
        transcript = session.transcribe(np.zeros(44_100, np.float32) + 0.1, sample_rate=44_100)
    [request] = backend.requests
    assert request.chunk is not None
    assert request.chunk.sample_rate == RATE
    assert transcript.duration == pytest.approx(1.0)


def test_left_and_right_of_an_array_are_two_speakers() -> None:
    stereo = np.stack([np.full(RATE, 0.1), np.full(RATE, 0.2)], axis=1).astype(np.float32)
    with scripted_session(channel="split") as session:
        transcript = session.transcribe(stereo, sample_rate=RATE)
        assert [each.speaker for each in transcript.segments] == ["left", "right"]
        with pytest.raises(AudioError, match="array 0: mono"):
            session.transcribe(stereo[:, 0], sample_rate=RATE)


GOOD = np.zeros(RATE, np.float32)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (GOOD, None, "invalid sample rate None"),
        (GOOD, 0, "invalid sample rate 0"),
        (GOOD, 16e3, "invalid sample rate 16000.0"),
        (GOOD.astype(np.float64), RATE, "unsupported dtype float64"),
        (GOOD.astype(np.int32), RATE, "unsupported dtype int32"),
        (GOOD.reshape(2, -1), RATE, "8000 channels in shape (2, 8000)"),
        (GOOD.reshape(1, 1, -1), RATE, "unsupported shape (1, 1, 16000)"),
        (np.float32(0), RATE, "unsupported type float32"),
        (np.full(RATE, np.nan, np.float32), RATE, "NaN or infinite samples"),
        (np.full(RATE, -np.inf, np.float32), RATE, "NaN or infinite samples"),
        ([0.0] * RATE, RATE, "unsupported type list"),
        (b"RIFF", RATE, "unsupported type bytes"),
    ],
)
def test_an_unusable_array_is_a_usage_error_with_a_remedy(samples, rate, message: str) -> None:
    with scripted_session() as session, pytest.raises(UsageError) as caught:
        session.transcribe(samples, sample_rate=rate)
    assert caught.value.what == message
    assert caught.value.where == "array 0"
    assert caught.value.remedy


@pytest.mark.parametrize("length", [0, 100])
def test_an_array_too_short_for_speech_is_an_audio_error(length: int) -> None:
    with scripted_session() as session, pytest.raises(AudioError, match="array 0: only"):
        session.transcribe(np.zeros(length, np.int16), sample_rate=RATE)


def test_each_task_has_its_result_and_options(tone: Path) -> None:
    backend = ScriptedBackend(say_seconds)
    with scripted_session(backend) as session:
        assert session.transcribe(tone, language="de").language == "German"
        french, german = session.translate(tone, to=["French", "de"]).each
        assert (french.code, german.language) == ("fr", "German")
        assert session.summarize(tone, style="headline", to="French").style == "headline"
        assert session.ask(tone, "Who speaks?").question == "Who speaks?"
        assert session.ask(tone).question is None
    assert [request.prompt for request in backend.requests] == [
        "Transcribe the German audio clip into text.",
        "Translate the audio to French.",
        "Translate the audio to German.",
        "Summarize the audio in one short headline. Write in French.",
        "Who speaks?",
        "",
    ]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda session, tone: session.translate(tone, to="Klingon"), "to Klingon"),
        (lambda session, tone: session.translate(tone, to=""), "no language is given"),
        (lambda session, tone: session.transcribe(tone, language="Klingon"), "language Klingon"),
        (lambda session, tone: session.summarize(tone, style="song"), "unknown style"),
        (lambda session, tone: session.ask(tone, "Why?", max_minutes=0), "max_minutes"),
        (lambda session, tone: session.run(tone, task="sing"), "unknown task"),
        (lambda session, tone: session.run(tone, loud=True), "loud"),
    ],
)
def test_an_unusable_option_is_a_usage_error(tone: Path, run, message: str) -> None:
    with scripted_session() as session, pytest.raises(UsageError, match=message):
        run(session, tone)


def test_run_yields_typed_events_and_goes_on_after_a_failure(tone: Path) -> None:
    sources = [tone, tone.parent / "missing.wav", AudioArray(GOOD, RATE), str(tone)]
    backend = ScriptedBackend(say_seconds)
    with scripted_session(backend, chunk_seconds=1) as session:
        events = list(session.run(sources))
    done = {event.job.index: event.result for event in events if isinstance(event, FileDone)}
    [failed] = [event for event in events if isinstance(event, FileFailed)]
    assert sorted(done) == [0, 2, 3]
    assert (failed.job.index, type(failed.error)) == (1, AudioError)
    assert [event.job.index for event in events if isinstance(event, FileStarted)] == [0, 2, 3]
    chunks = [event for event in events if isinstance(event, ChunkDone)]
    assert len(chunks) == len(backend.requests) > len(sources)
    assert done[0].text == done[3].text


def test_run_takes_one_source_and_a_lazy_iterable(tone: Path) -> None:
    with scripted_session() as session:
        for sources in (tone, str(tone), AudioArray(GOOD, RATE), iter([tone]), Job(0, tone)):
            assert [type(each) for each in session.run(sources)][-1] is FileDone
        events = list(session.run([GOOD, GOOD], sample_rate=RATE))
    assert sum(isinstance(each, FileDone) for each in events) == 2


def test_a_failed_recording_raises_its_error_from_the_method(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    with scripted_session() as session:
        with pytest.raises(AudioError, match=r"text\.wav"):
            session.transcribe(tmp_path / "text.wav")
        with pytest.raises(AudioError, match=r"missing\.wav: can't be read"):
            session.transcribe(tmp_path / "missing.wav")


def test_an_unanswered_request_names_the_recording_and_its_cause(tone: Path) -> None:
    class Refusing(ScriptedBackend):
        def generate(
            self, requests: Iterable[Request | None], should_stop: ShouldStop = never_stop
        ) -> Iterator[RequestFailed]:
            for request in requests:
                if request is not None:
                    yield RequestFailed(request, ArithmeticError("overflow"))

    with scripted_session(Refusing(say_seconds)) as session:
        with pytest.raises(FileError, match="failed with ArithmeticError: overflow") as caught:
            session.transcribe(tone)
        array = np.full(RATE, 0.1, np.float32)
        with pytest.raises(FileError, match="array 0: failed with"):
            session.transcribe(array, sample_rate=RATE)
    assert caught.value.where == str(tone)
    assert isinstance(caught.value.__cause__, ArithmeticError)


def test_an_exception_of_the_backend_is_raised_and_the_session_stays_usable(tone: Path) -> None:
    failures = [RuntimeError("device lost")]

    def answer(request: Request) -> str:
        if failures:
            raise failures.pop()
        return "hello"

    with scripted_session(ScriptedBackend(answer)) as session:
        with pytest.raises(RuntimeError, match="device lost"):
            session.transcribe(tone)
        assert session.transcribe(tone).text == "hello"


def test_a_missing_model_is_a_model_error(tone: Path) -> None:
    with Session("no/such-model", offline=True) as session:
        with pytest.raises(ModelError, match="no/such-model"):
            session.transcribe(tone)
        with pytest.raises(ModelError, match="no/such-model"):
            session.load()


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"batch_sise": 2}, "batch_sise"),
        ({"batch_size": 0}, "batch_size"),
        ({"device": "abacus"}, "device"),
        ({"settings": Settings(), "device": "cpu"}, "Session"),
    ],
)
def test_an_unusable_setting_is_a_usage_error_that_names_the_keyword(options, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        Session(**options)
    assert caught.value.where == where


def test_settings_come_from_keywords_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHI4AUDIO_BATCH_SIZE", "3")
    assert Session("demo").settings == Settings(model="demo")
    assert Session(settings=Settings(model="demo", batch_size=2)).settings.batch_size == 2


def test_a_closed_session_says_so(tone: Path) -> None:
    session = scripted_session()
    session.transcribe(tone)
    session.close()
    session.close()
    with pytest.raises(UsageError, match="the session is closed"):
        session.transcribe(tone)


def test_a_second_run_within_an_unfinished_one_is_refused_not_a_deadlock(tone: Path) -> None:
    with scripted_session(chunk_seconds=1) as session:
        events = session.run([tone, tone])
        next(events)
        with pytest.raises(UsageError, match="unfinished run"):
            session.transcribe(tone)
        events.close()
        assert session.transcribe(tone).duration == 2.0
        for _ in session.run([tone, tone]):
            break
        assert session.transcribe(tone).duration == 2.0


@pytest.mark.slow
def test_two_threads_are_served_one_after_the_other(demo: Session) -> None:
    texts: dict[str, str] = {}

    def transcribe(name: str) -> None:
        texts[name] = demo.transcribe(SAMPLES / f"{name}.flac").text

    threads = [threading.Thread(target=transcribe, args=(name,)) for name in ("short", "interview")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert texts == {name: reference(name) for name in texts}
    assert len(texts) == 2


@pytest.mark.slow
def test_two_sessions_at_a_time_and_one_after_another(demo: Session) -> None:
    expected = demo.transcribe(SHORT)
    with Session("demo", device="cpu", dtype="float32", batch_size=1) as second:
        assert second.transcribe(SHORT) == expected
        assert demo.transcribe(SHORT) == expected
    with Session("demo", device="cpu", dtype="float32", readers=[InProcessReader()]) as third:
        assert third.transcribe(SHORT).duration == expected.duration


@pytest.mark.slow
def test_nothing_is_printed_handled_or_written(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with Session("demo", device="cpu", dtype="float32") as session:
        session.transcribe(SHORT)
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_close_ends_the_reader_processes(demo: Session) -> None:
    session = Session("demo", device="cpu", dtype="float32")
    list(session.run(SHORT, should_stop=lambda: True))
    assert session._reader_processes is not None
    [reader] = session._reader_processes.get(1)
    assert reader.pid is not None
    session.close()
    assert reader.pid is None


def test_should_stop_ends_a_run_with_the_running_batch(tone: Path) -> None:
    stopped = threading.Event()
    events: list[Event] = []
    with scripted_session(chunk_seconds=1) as session:
        for event in session.run([tone] * 20, should_stop=stopped.is_set):
            events.append(event)
            if isinstance(event, ChunkDone):
                stopped.set()
    assert sum(isinstance(event, ChunkDone) for event in events) == 1


def test_an_answer_store_resumes_a_run(tone: Path) -> None:
    class Store:
        def __init__(self) -> None:
            self.texts: dict[int, str] = {}

        def open_recording(self, job: Job, source: Path) -> None:
            pass

        def lookup(self, request: Request) -> Generation | None:
            assert request.chunk is not None
            text = self.texts.get(request.chunk.index)
            return None if text is None else Generation(request, text, (), (), "stop")

        def store(self, answer: Generation) -> None:
            assert answer.request.chunk is not None
            self.texts[answer.request.chunk.index] = answer.text

    backend, store = ScriptedBackend(say_seconds), Store()
    with scripted_session(backend, chunk_seconds=1) as session:
        first = list(session.run(tone, answer_store=store))
        asked = len(backend.requests)
        second = list(session.run(tone, answer_store=store))
    assert len(backend.requests) == asked > 1
    assert [event.resumed for event in second if isinstance(event, ChunkDone)] == [True] * asked
    results = [event.result for event in first + second if isinstance(event, FileDone)]
    assert results[0] == results[1]


def test_a_listener_receives_status_and_the_loaded_model_once(tone: Path) -> None:
    class Recorder(Listener):
        def __init__(self) -> None:
            self.received: list[str] = []

        def on_status(self, text: str) -> None:
            self.received.append(text)

        def on_model_loaded(self) -> None:
            self.received.append("loaded")

    listener = Recorder()
    with Session("demo", device="cpu", dtype="float32", listener=listener) as session:
        session.load()
        session.load()
    assert listener.received[0] == "loading demo"
    assert listener.received.count("loaded") == 1


def test_parts_are_shorter_where_the_memory_is_small(tone: Path) -> None:
    notices: list[str] = []

    class Recorder(Listener):
        def on_notice(self, text: str) -> None:
            notices.append(text)

    backend = ScriptedBackend(say_seconds, max_chunk_seconds=1.0)
    with scripted_session(backend, listener=Recorder()) as session:
        session.summarize(tone)
    assert max(each.chunk.seconds for each in backend.requests if each.chunk) <= 1.0
    assert "in parts of at most 0:01" in notices[0]


PROGRAM = f"""
from phi4audio_cli import Session
session = Session("demo", device="cpu", dtype="float32")
print(session.transcribe({str(SHORT)!r}).text)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["-c", "script", "stdin"])
def test_a_program_without_a_main_guard_runs_once(tmp_path: Path, how: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    command = {"-c": ["-c", PROGRAM], "script": [str(script)], "stdin": ["-"]}[how]
    done = subprocess.run(
        [sys.executable, *command],
        input=PROGRAM if how == "stdin" else "",
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == reference("short") + "\n"


def test_a_session_works_within_a_running_event_loop(demo: Session) -> None:
    import asyncio

    async def cell() -> str:
        return demo.transcribe(SHORT).text

    assert asyncio.run(cell()) == reference("short")


def test_importing_the_package_is_light_and_its_names_are_there() -> None:
    program = (
        "import sys, phi4audio_cli; assert 'numpy' not in sys.modules; "
        "from phi4audio_cli import Session; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, check=True)
    for name in phi4audio_cli.__all__:
        assert getattr(phi4audio_cli, name)
        assert name in dir(phi4audio_cli)
    with pytest.raises(AttributeError, match="Sessions"):
        phi4audio_cli.Sessions  # noqa: B018
    assert issubclass(UsageError, Phi4AudioError)
    assert (Path(phi4audio_cli.__file__).parent / "py.typed").is_file()


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(tmp_path: Path, monkeypatch, capsys) -> None:
    shutil.copy(SHORT, tmp_path / "talk.flac")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 7
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(block, namespace)
    printed = capsys.readouterr().out
    assert printed.count(reference("short")) >= 6
    assert "1 failed: missing.flac: can't be read" in printed
    assert "the model is loaded" in printed
    assert "-->" in (tmp_path / "talk.srt").read_text(encoding="utf-8")
