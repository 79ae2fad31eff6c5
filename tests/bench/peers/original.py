"""The service that this one began as, written anew after "Writing RESTful Web Services in Python with Flask": a row a
goal, a query a goal of a tree, a commit a request; on two workers of eight threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from flask import Flask
from flask_restful import Api, Resource
from flask_restful.reqparse import RequestParser
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from tests.bench.logs import BRANCHING
from tests.bench.peers import gunicorn

PATH = "/v1.0/goals"
USER = "user-1"

db = SQLAlchemy()


class Base(DeclarativeBase):  # type: ignore[misc]
    """What is stored."""


class User(Base):
    """Who has goals."""

    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(64), unique=True)
    email: Mapped[str | None] = mapped_column(String(120), index=True, unique=True)
    password: Mapped[str | None] = mapped_column(String(128))


class Goal(Base):
    """A goal, under another one or at the top."""

    __tablename__ = "goal"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("goal.id"))
    name: Mapped[str | None] = mapped_column(String(64), unique=True)
    description: Mapped[str | None] = mapped_column(String(512))
    start: Mapped[datetime | None] = mapped_column(default=datetime.now)
    end: Mapped[datetime | None]
    user: Mapped[User] = relationship()
    parent: Mapped["Goal | None"] = relationship(remote_side="Goal.id", backref="sub_goals")


class Goals(Resource):  # type: ignore[misc]
    """All goals of all users."""

    def get(self) -> Any:
        """By user, and in hierarchy."""
        return {user.name: _tree(user, None) for user in db.session.query(User).all()}

    def post(self) -> None:
        """Create one."""
        parser = RequestParser()
        parser.add_argument("user", type=str, required=True)
        parser.add_argument("name", type=str, required=True)
        parser.add_argument("parent_name", type=str)
        parser.add_argument("description", type=str, required=False)
        args, query = parser.parse_args(), db.session.query
        user = query(User).filter_by(name=args.user).one()
        parent = query(Goal).filter_by(name=args.parent_name).one() if args.parent_name else None
        db.session.add(Goal(user=user, parent=parent, name=args.name, description=args.description))
        db.session.commit()

    def put(self) -> None:
        """Complete one."""
        parser = RequestParser()
        parser.add_argument("name", type=str, required=True)
        goal = db.session.query(Goal).filter_by(name=parser.parse_args().name).one()
        goal.end = datetime.now()
        db.session.commit()


def _tree(user: User, parent: Goal | None) -> Any:
    goals = db.session.query(Goal).filter_by(user=user, parent=parent).all()
    return {goal.name: _tree(user, goal) for goal in goals}


def create_app(path: str) -> Flask:
    """For gunicorn; its database is at the path."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{path}"
    # Within the usual 5 s not every one of 16 threads gets the database's lock.
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": {"timeout": 60}}
    db.init_app(app)
    Api(app).add_resource(Goals, PATH)
    return app


@contextmanager
def original(folder: Path, goals: int = 100) -> Iterator[str]:
    """Serves it with one user, USER, and so many goals of the user's; answers its URL."""
    path = Path(mkdtemp(dir=folder)).absolute() / "original.db"
    _fill(create_app(str(path)), goals)
    options = ["--worker-class", "gthread", "--threads", "8", "--keep-alive", "5"]
    with gunicorn.serving(f"{__name__}:create_app('{path}')", path.parent, PATH, options) as url:
        yield url


def _fill(app: Flask, goals: int) -> None:
    """A tree of the shape that ours have."""
    with app.app_context():
        Base.metadata.create_all(db.engine)
        user = User(name=USER, email="user@example.org", password="")
        tree: list[Goal] = []
        for number in range(goals):
            parent = tree[(number - 1) // BRANCHING] if number else None
            tree.append(Goal(user=user, parent=parent, name=f"goal-{number}"))
        db.session.add_all([user, *tree])
        db.session.commit()
        db.engine.dispose()
