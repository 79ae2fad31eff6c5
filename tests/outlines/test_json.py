"""Our own JSON: what is read, and what is refused and where."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.outlines import BadOutline, Item
from tests.outlines.reading import MANY, at, goals, notes, outline, refusal, tree


def test_goals_are_read_from_nested_json() -> None:
    text = """{"title": "Sustainable Development Goals", "goals": [
      {"sub_goals": [{"name": "Target 1.1", "sub_goals": []}, {"name": "Target 1.2"}],
       "name": "Goal 1", "description": "End poverty [in all its forms] {everywhere}"},
      {"name": "Goal 2", "description": null}]}"""

    assert goals(text) == [
        Item(0, "Goal 1", "End poverty [in all its forms] {everywhere}"),
        Item(1, "Target 1.1"),
        Item(1, "Target 1.2"),
        Item(0, "Goal 2"),
    ]


def test_goals_are_read_from_a_list_and_from_one_goal() -> None:
    assert tree('\n [{"name": "a", "sub_goals": [{"name": "b"}]}, {"name": "\\u00e9\\"]"}]') == [
        (0, "a"),
        (1, "b"),
        (0, 'é"]'),
    ]
    assert tree('{"name": "a", "sub_goals": [{"name": "b"}]}') == [(0, "a"), (1, "b")]


ANSWERED = {
    "id": "0199",
    "user": "alice",
    "parent_id": None,
    "name": "Run a marathon",
    "description": None,
    "start": "2026-11-23T08:00:00Z",
    "due": None,
    "end": None,
    "status": "open",
    "created_at": "2026-11-23T08:00:00Z",
    "updated_at": "2026-11-23T08:00:00Z",
    "revision": 3,
    "progress": {"completed": 1, "leaves": 4},
}


def test_goals_are_read_as_the_service_answers_them_with_all_their_times() -> None:
    done = {"status": "done", "due": "2026-12-24T18:00:00Z", "end": "2026-12-01T08:00:00.5Z", "open_sub_goals": 2}
    document = {"user": "alice", "version": 3, "position": 9, "goals": [ANSWERED, ANSWERED | done]}

    start = at("2026-11-23 08:00")
    assert goals(json.dumps(document)) == [
        Item(0, "Run a marathon", start=start),
        Item(0, "Run a marathon", None, True, start, at("2026-12-24 18:00"), at("2026-12-01 08:00:00.500")),
    ]
    assert notes(json.dumps(document)) == ""


def test_a_flat_answer_is_nested_by_its_depths() -> None:
    depths = {"a": 0, "b": 1, "c": 2, "d": 1, "e": 0}
    document = {"goals": [ANSWERED | {"name": name, "depth": depth} for name, depth in depths.items()]}

    assert tree(json.dumps(document)) == [(depth, name) for name, depth in depths.items()]


def test_what_an_answer_had_cut_off_or_shows_as_deleted_is_left_out_and_said() -> None:
    text = """{"goals": [
      {"name": "a", "sub_goal_count": 3},
      {"name": "b", "sub_goal_count": 0},
      {"name": "c", "status": "deleted", "sub_goals": [
        {"name": "d", "status": "deleted"}]}]}"""

    assert tree(text) == [(0, "a"), (0, "b")]
    assert notes(text) == "left out 1 cut-off subtree (line 2); left out 2 deleted goals (lines 4, 5)"


@pytest.mark.parametrize(
    ("members", "done"),
    [
        ('"status": "done"', True),
        ('"status": "done", "end": null', True),
        ('"end": "2026-12-01T08:00:00Z"', True),
        ('"status": "open", "end": null', False),
        ('"description": "done"', False),
    ],
)
def test_a_goal_is_done_by_its_status_or_its_end(members: str, done: bool) -> None:
    assert [item.done for item in goals(f'[{{"name": "a", {members}}}]')] == [done]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"goals": {}}', "line 1: expected `array` as goals; found `object`"),
        ('{"goals": null}', "line 1: expected `array` as goals; found `null`"),
        ('{"goals": [\n3]}', "line 1: expected `object` as goals[0]; found `int`"),
        ('{"goals": [{"name": "a"},\n{"name": 3}]}', "line 2: expected `str` as goals[1].name; found `int`"),
        ('{"goals": [{"name": null}]}', "line 1: expected `str` as goals[0].name; found `null`"),
        ('[{"name": "a", "description": []}]', "line 1: expected `str | null` as [0].description; found `array`"),
        ('[{"name": "a", "sub_goals": {}}]', "line 1: expected `array` as [0].sub_goals; found `object`"),
        ('[{"name": "a", "sub_goals": null}]', "line 1: expected `array` as [0].sub_goals; found `null`"),
        ('[{"name": "a", "sub_goals": ["b"]}]', "line 1: expected `object` as [0].sub_goals[0]; found `str`"),
        (
            '[{"name": "a"},\n{"name": "b", "sub_goals": [{"name": "c"},\n{"name": []}]}]',
            "line 3: expected `str` as [1].sub_goals[1].name; found `array`",
        ),
        ('[{"name": "a", "status": "deferred"}]', "line 1: expected "),
        ('[{"name": "a",\n"end": 3}]', "line 1: expected `str | null` as [0].end; found `int`"),
        ('[{"name": "a", "end": "soon"}]', "line 1: expected an RFC 3339 time with an offset as [0].end; found 'soon'"),
        ('[{"name": "a", "depth": -1}]', "line 1: expected `int` >= 0 as [0].depth; found "),
        (
            '[\n{"name": "a", "colour": 1}]',
            "line 2: expected the members of a goal in [0]; found 'colour', which no goal",
        ),
        (
            '{"goals": [{"name": "a",\n"name": "b"}]}',
            "line 1: expected each member of an object once; found 'name' twice",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_line_and_path(text: str, said: str) -> None:
    assert refusal(text).startswith(said)


def test_other_JSON_said_to_be_goals_is_refused() -> None:
    for text in ("3", '"a"', "null", '{"title": "x"}'):
        assert refusal(text, "json") == "line 1: expected goals, a list of them, or one with a name; found other JSON"


def test_the_middle_of_a_long_path_is_left_out() -> None:
    text = '{"goals": [' + '{"name": "a", "sub_goals": [' * 1_000 + '{"name": 3}' + "]}" * 1_000 + "]}"

    place = "goals[0]" + ".sub_goals[0]" * 5 + ".…" + ".sub_goals[0]" * 5 + ".name"
    assert refusal(text) == f"line 1: expected `str` as {place}; found `int`"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "line 1, column 2: "),
        ('[{"name": "a"}', "line 1, column 15: "),
        ('[{"name": "a"}]]', "line 1, column 16: "),
        ('[{"name": "a"}] []', "line 1, column 17: "),
        ('[\n{"name": "a"}\n{"name": "b"}]', "line 3, column 1: "),
        ('[\n{"name": "a",\n"sub_goals": [{"name": "b"}] "end": null}]', "line 3, column 30: "),
        ('[{"name": "a"},]', "line 1, column 16: "),
        ('{"goals": [}]', "line 1, column 12: "),
        ("[\n{'name': \"a\"}]", "line 2, column 2: "),
        ('[{"name": "a\nb"}]', "line 1, column 13: "),
        ('[{"name": "\\x"}]', "line 1, column 12: "),
        ('[{"name": "a}]', "line 1, column 11: "),
        ('[{"name": "a\\', "line 1, column 11: "),
        ('[// goals\n{"name": "a"}]', "line 1, column 2: "),
        ('[{"name": tru}]', "line 1, column 11: "),
        ('\n[{"name": ' + "9" * 5_000 + "}]", "line 2, column 2: "),
        ("[" * MANY, f"line 1, column {MANY + 1}: "),
    ],
)
def test_malformed_json_is_refused_with_its_line_and_column(text: str, place: str) -> None:
    assert refusal(text, "json").startswith(place + "expected JSON; found a fault: ")


def test_json_nested_too_deeply_for_decoders_is_read_where_it_means_nothing_too() -> None:
    deep = "[" * MANY + "]" * MANY

    assert tree(f'{{"title": {deep}, "goals": [{{"name": "a", "progress": {deep}}}]}}', "json") == [(0, "a")]


def test_json_nested_deeper_than_any_goals_is_refused() -> None:
    assert refusal("[" * 2**18 + "]" * 2**18, "json") == "line 1: expected JSON nested at most 250000 deep; found more"


@given(st.text(st.sampled_from('[]{}",:\\ 1a')))
def test_what_json_refuses_is_refused_and_nothing_else_as_json(middle: str) -> None:
    text = f'{{"title": {middle}, "goals": [{{"name": "a", "progress": {middle}}}]}}'
    said = ""
    try:
        outline(text, "json")
    except BadOutline as error:
        said = str(error)

    assert ("expected JSON" in said) != is_json(text)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
