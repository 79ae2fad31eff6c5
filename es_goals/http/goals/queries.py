"""Reading trees of goals as they are and as they were."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from es_goals.reads import trees


class TreeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of a user's tree, how, and as of when."""

    as_of: Annotated[str, Meta(description="an RFC 3339 time or a log position")] | None = None
    status: Literal["open", "done", "all"] = "all"
    depth: Annotated[int, Meta(ge=0, le=1_000_000, description="levels below the answered goals")] | UnsetType = UNSET
    view: Literal["tree", "flat"] = "tree"
    deleted: bool = False


class GoalQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of a goal's sub-goals, how, and as of when."""

    as_of: Annotated[str, Meta(description="an RFC 3339 time or a log position")] | None = None
    depth: Annotated[int, Meta(ge=0, le=1_000_000, description="levels below the goal")] | UnsetType = UNSET
    view: Literal["tree", "flat"] = "tree"


class ShownGoal(trees.TreeGoalAnswer, kw_only=True):
    """A goal with its sub-goals. Where `depth` cuts, `sub_goal_count` stands in place of `sub_goals`; a flat view has
    `depth` instead of both."""

    sub_goals: "list[ShownGoal] | UnsetType" = UNSET
    sub_goal_count: int | UnsetType = UNSET
    depth: int | UnsetType = UNSET


class TreeAnswer(Struct):
    """A user's goals as of their event at this version and position (0: none yet)."""

    user: str
    version: int
    position: int
    goals: list[ShownGoal]
