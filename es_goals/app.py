"""Wires the service together; the only module that knows both the read models and the doors."""

import os
import signal
from collections.abc import Callable
from functools import partial

import falcon
from falcon.asgi import App, Request, Response

import projections
from es_goals import metrics
from es_goals.goals.commands import Limits
from es_goals.http import problems, v1
from es_goals.http.accounts import sessions, tokens, users
from es_goals.http.audit import Events, GoalHistory, UserEvents
from es_goals.http.context import Context
from es_goals.http.describe import docs, openapi
from es_goals.http.edge.body import BodyGuard
from es_goals.http.edge.middleware import Middleware
from es_goals.http.edge.rates import Rates
from es_goals.http.goals.commands import (
    GoalCompletion,
    GoalMove,
    GoalReopening,
    GoalRestoration,
    OneGoal,
    UserCommands,
    UserGoals,
)
from es_goals.http.operating import health as operations
from es_goals.http.operating import projections as read_models
from es_goals.ids import Uuid7, wall_clock
from es_goals.projector import Projector
from es_goals.reads.pool import FairPool
from es_goals.reads.replica import Replica, Source
from es_goals.service import Service
from es_goals.settings import Settings
from es_goals.storage import Options, open_storage
from es_goals.storage.errors import Unusable
from es_goals.storage.log import Clock


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
    storage = open_storage(settings.db, clock, Options(settings.deadline, settings.connections))
    pool = FairPool(settings.threads)

    def committed(commands: int) -> None:
        metrics.batch_commands.observe(commands)
        context.tail.wake()

    limits = Limits.of(settings)
    service = Service(storage.log, pool, settings.cached_goals, failed, committed, limits, settings.events_limit)
    projector = Projector(storage.log, storage.views, projections.ALL)
    replica = Replica(partial(_replica, settings, clock, storage.log.id)) if settings.replica else None
    context = Context(settings, storage, service, projector, pool, clock, Uuid7(clock), replica, failed, rates)
    return BodyGuard(_falcon(context), context)


def _replica(settings: Settings, clock: Clock, log_id: str) -> Source:
    """Raises Unusable."""
    storage = open_storage(settings.replica, clock, Options(settings.deadline, settings.connections, standby=True))
    if storage.log.id != log_id:
        storage.close()
        raise Unusable(f"expected a replica of the log {log_id}; found {storage.log.id}")
    return Source(storage, Projector(storage.log, storage.views, projections.ALL))


def routes(context: Context) -> list[tuple[str, object]]:
    """Every path and what answers there."""
    described: list[tuple[str, object]] = [
        ("/v2/users", users.Users(context)),
        ("/v2/users/{user}", users.OneUser(context)),
        ("/v2/users/{user}/password", users.UserPassword(context)),
        ("/v2/sessions", sessions.Sessions(context)),
        ("/v2/sessions/current", sessions.CurrentSession(context)),
        *_at_provider(context),
        ("/v2/tokens", tokens.Tokens(context)),
        ("/v2/tokens/{token_id}", tokens.OneToken(context)),
        ("/v2/users/{user}/goals", UserGoals(context)),
        ("/v2/users/{user}/commands", UserCommands(context)),
        ("/v2/users/{user}/events", UserEvents(context)),
        ("/v2/goals/{goal_id}", OneGoal(context)),
        ("/v2/goals/{goal_id}/complete", GoalCompletion(context)),
        ("/v2/goals/{goal_id}/reopen", GoalReopening(context)),
        ("/v2/goals/{goal_id}/move", GoalMove(context)),
        ("/v2/goals/{goal_id}/restore", GoalRestoration(context)),
        ("/v2/goals/{goal_id}/history", GoalHistory(context)),
        ("/v2/events", Events(context)),
        ("/v2/projections", read_models.Projections(context)),
        ("/v2/projections/{name}", read_models.OneProjection(context)),
        ("/v2/projections/{name}/rebuild", read_models.Rebuild(context)),
        ("/v2/projections/{name}/rollback", read_models.Rollback(context)),
        ("/v1.0/goals", v1.Goals(context)),
        ("/v1.0/users", v1.Users(context)),
        ("/healthz", operations.Healthz(context)),
        ("/readyz", operations.Readyz(context)),
        ("/metrics", operations.Metrics(context)),
    ]
    return [
        *described,
        ("/openapi.json", docs.Description(openapi.document(described))),
        ("/docs", docs.Page()),
        ("/docs/{file}", docs.File()),
        ("/problems/{slug}", docs.ProblemPage()),
        ("/", docs.Root()),
    ]


def _at_provider(context: Context) -> list[tuple[str, object]]:
    if context.settings.open or not context.settings.oidc_issuer:
        return []
    from es_goals.accounts.provider import provider_of
    from es_goals.http.accounts import openid

    provider = provider_of(context.settings, context.clock)
    return [
        (openid.PATH, openid.SignIn(context, provider)),
        (f"{openid.PATH}/callback", openid.Return(context, provider)),
    ]


def _falcon(context: Context) -> App[Request, Response]:
    app: App[Request, Response] = App(middleware=[Middleware(context)])
    app.req_options.strip_url_path_trailing_slash = False
    app.add_error_handler(Exception, problems.handle)
    app.add_error_handler(falcon.HTTPError, problems.handle)
    app.add_error_handler(v1.MissingParameter, v1.handle_missing)
    for path, resource in routes(context):
        if not hasattr(resource, "on_head") and hasattr(resource, "on_get"):
            # HEAD answers as GET does; Falcon leaves the body out.
            resource.on_head = resource.on_get  # type: ignore[attr-defined]
        app.add_route(path, resource)
    return app
