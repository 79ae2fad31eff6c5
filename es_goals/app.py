"""Wires the service together; the only module that knows both the read models and the resources."""

import os
import signal
from collections.abc import Callable

import falcon
from falcon.asgi import App, Response

import projections
from es_goals.charges import free_of_charge
from es_goals.http import problems, v1
from es_goals.http.accounts import sessions, tokens, users
from es_goals.http.accounts.signing import Signing
from es_goals.http.describe import docs, openapi, page
from es_goals.http.edge.body import BodyGuard
from es_goals.http.edge.middleware import Middleware
from es_goals.http.edge.rates import Rates
from es_goals.http.edge.streams import Streams
from es_goals.http.exchange import Request
from es_goals.http.goals import commands, drafts, files, overviews, past, undo
from es_goals.http.log import audit, proofs
from es_goals.http.operating import health, verifications
from es_goals.http.operating import projections as read_models
from es_goals.ids import wall_clock
from es_goals.settings import Settings
from es_goals.storage.log import Clock
from es_goals.worker import Worker

Routes = list[tuple[str, object]]


def end_process() -> None:
    """Let this worker end in good order, and gunicorn start another one."""
    os.kill(os.getpid(), signal.SIGTERM)


def create_app(
    settings: Settings,
    clock: Clock = wall_clock,
    failed: Callable[[], None] = end_process,
    rates: Rates | None = None,
) -> BodyGuard:
    """The ASGI application, to be made in the process that serves. Raises Unusable.

    `failed` is called when a commit's outcome became unknown and the process must end. `rates` counts requests, for all
    processes that serve on this machine; None: nobody does.
    """
    charge = free_of_charge if rates is None else rates.charge_work
    worker = Worker(settings, projections.ALL, clock, failed, charge)
    return BodyGuard(_falcon(worker, rates), worker)


def routes(worker: Worker) -> Routes:
    """Every path and what answers there."""
    signing = Signing(worker)
    worker.at_close(signing.close)
    described = [
        *_of_accounts(worker, signing),
        *commands.routes(worker),
        *files.routes(worker),
        *drafts.routes(worker),
        *overviews.routes(worker),
        (undo.PATH, undo.UserUndo(worker)),
        (past.DIFF, past.Diff(worker)),
        (past.BLAME, past.Blame(worker)),
        *_of_events(worker),
        *_of_operators(worker),
        ("/v1.0/goals", v1.Goals(worker)),
        ("/v1.0/users", v1.Users(worker)),
    ]
    return [
        *described,
        ("/openapi.json", docs.Description(openapi.document(described))),
        ("/docs", docs.Page()),
        ("/docs/{file}", docs.File()),
        ("/problems/{slug}", docs.ProblemPage()),
        ("/log/checkpoint", proofs.Checkpoint(worker)),
        ("/log/tile/{level}/{number:path}", proofs.HashTile(worker)),
        *_of_page(worker.settings),
    ]


def _of_page(settings: Settings) -> Routes:
    files = page.Files()
    return [
        ("/", page.Index(settings, files)),
        ("/page/{digest}/{file}", page.File(files)),
        ("/page/{digest}/vendor/{file}", page.File(files, "vendor/")),
    ]


def _of_accounts(worker: Worker, signing: Signing) -> Routes:
    return [
        ("/v2/users", users.Users(worker, signing)),
        ("/v2/users/{user}", users.OneUser(worker)),
        ("/v2/users/{user}/disable", users.Admission(worker, disabled=True)),
        ("/v2/users/{user}/enable", users.Admission(worker, disabled=False)),
        ("/v2/users/{user}/password", users.UserPassword(worker, signing)),
        ("/v2/sessions", sessions.Sessions(worker, signing)),
        ("/v2/sessions/current", sessions.CurrentSession(worker)),
        ("/v2/sessions/{session_id}", sessions.AnySession(worker)),
        *_at_provider(worker, signing),
        ("/v2/tokens", tokens.Tokens(worker)),
        ("/v2/tokens/{token_id}", tokens.OneToken(worker)),
    ]


def _at_provider(worker: Worker, signing: Signing) -> Routes:
    if worker.settings.open or not worker.settings.oidc_issuer:
        return []
    from es_goals.accounts.provider import provider_of
    from es_goals.http.accounts import openid

    provider = provider_of(worker.settings, worker.clock)
    return [
        (openid.PATH, openid.SignIn(worker, signing, provider)),
        (f"{openid.PATH}/callback", openid.Return(worker, signing, provider)),
    ]


def _of_events(worker: Worker) -> Routes:
    streams = Streams(worker.settings.streams_limit, worker.settings.user_streams_limit)
    return [
        ("/v2/users/{user}/events", audit.UserEvents(worker, streams)),
        ("/v2/goals/{goal_id}/history", audit.GoalHistory(worker, streams)),
        ("/v2/events", audit.Events(worker, streams)),
        ("/v2/users/{user}/evidence", proofs.UserEvidence(worker, streams)),
        ("/v2/log/checkpoint", proofs.Checkpoint(worker)),
        ("/v2/log/proofs/inclusion", proofs.Inclusion(worker)),
        ("/v2/log/proofs/consistency", proofs.Consistency(worker)),
    ]


def _of_operators(worker: Worker) -> Routes:
    return [
        ("/v2/projections", read_models.Projections(worker)),
        ("/v2/projections/{name}", read_models.OneProjection(worker)),
        ("/v2/projections/{name}/rebuild", read_models.Rebuild(worker)),
        ("/v2/projections/{name}/rollback", read_models.Rollback(worker)),
        (verifications.PATH, verifications.Verifications(worker)),
        (f"{verifications.PATH}/{{verification_id}}", verifications.OneVerification(worker)),
        ("/healthz", health.Healthz(worker)),
        ("/readyz", health.Readyz(worker)),
        ("/metrics", health.Metrics(worker)),
    ]


def _falcon(worker: Worker, rates: Rates | None) -> App[Request, Response]:
    app = App(request_type=Request, middleware=[Middleware(worker, rates)])
    app.req_options.strip_url_path_trailing_slash = False
    app.add_error_handler(Exception, problems.handle)
    app.add_error_handler(falcon.HTTPError, problems.handle)
    app.add_error_handler(v1.MissingParameter, v1.handle_missing)
    for path, resource in routes(worker):
        if not hasattr(resource, "on_head") and hasattr(resource, "on_get"):
            # HEAD answers as GET does; Falcon leaves the body out.
            resource.on_head = resource.on_get  # type: ignore[attr-defined]
        app.add_route(path.replace("{session_id}", "{session_id:uuid}"), resource)  # beside /v2/sessions/oidc
    return app
