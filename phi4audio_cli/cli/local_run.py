"""Runs a planned task in this process, and resumes finished recordings of earlier runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from phi4audio_cli.backend_loader import Listener
from phi4audio_cli.cli.display import Display
from phi4audio_cli.cli.run_plan import RunPlan
from phi4audio_cli.cli.signals import CancelToken
from phi4audio_cli.jobs.download import open_local_copy
from phi4audio_cli.jobs.resume import ResumeStore
from phi4audio_cli.pipeline.output_writer import (
    OutputWriter,
    RunEvent,
    restore_finished,
    write_concurrently,
)
from phi4audio_cli.session import Session
from phi4audio_cli.settings import Settings


def open_session(settings: Settings, listener: Listener) -> Session:
    """Open the session of a command; tests replace this function (tests/cli/conftest.py)."""
    return Session(settings=settings, listener=listener)


def run_local(plan: RunPlan, display: Display, cancel_token: CancelToken) -> Generator[RunEvent]:
    """Bring the outputs of finished recordings up to date, then process the others.

    The model is not loaded if every recording is finished.

    Args:
        plan: Of the run.
        display: Receives status and notices.
        cancel_token: Ends the run.

    Raises:
        ModelError: The model is not found, or can't run here.
    """
    with open_session(plan.settings, display) as session:
        model = session.fingerprint()
        resume_store = ResumeStore(
            lambda job: plan.tasks.identity_of(job, model),
            open_local_copy,
            fresh=plan.options.fresh,
            on_notice=display.print_line,
        )
        output_writer = OutputWriter(plan.settings, resume_store)
        unfinished = []
        try:
            for job, written in restore_finished(plan.jobs, resume_store, output_writer):
                if cancel_token():
                    return
                if written:
                    yield written
                else:
                    unfinished.append(job)
            if unfinished and not cancel_token():
                events = session.run(
                    unfinished, plan.tasks, answer_store=resume_store, should_stop=cancel_token
                )
                with closing(events):
                    yield from write_concurrently(events, output_writer)
        finally:
            resume_store.close()
