"""Whatever an alert, a system or a person wrote: in every medium it is read as it was written, and moves, hides or calls nothing."""

from __future__ import annotations

import unicodedata

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from stopgap.rendering import characters, chat, html, markdown, terminal

FORMAT = "".join(each for each in map(chr, range(0x110000)) if unicodedata.category(each) in {"Cc", "Cf", "Zl", "Zp", "Co"})[:4000]
SYNTAX = "\\`*_{}[]()<>#+-.!|~&:@/=$^\"' \n\r\t"
HOSTILE = st.text(alphabet=st.one_of(st.sampled_from(SYNTAX), st.sampled_from(FORMAT), st.characters()), max_size=60)
WRITTEN = [
    "a\rb\n# Heading", "\\|", "| a | b |", "```\n# out", "`x", "<img src=x onerror=alert(1)>", "![beacon](http://127.0.0.1/x.png)", "[click](javascript:x)",
    "www.evil.example", "http://evil.example", "ada@evil.example", "- item", "1. item", "1) item", "> quote", "---", "===", "&lt;", "&#96;", "a  \nb", "~~x~~",
    "# x", "+ x", "    code", "**b**", "__b__", "$x$", "evil.example", "x\u202egpj.exe", "\u2028# x", "\x1b[2J\x1b[H", "\x9b2J", "\x07",
]  # fmt: skip


def rendered(source: str) -> str:
    """Return what a reader sees: the text of the tokens, which must be one paragraph of plain text and nothing else."""
    parser = MarkdownIt("gfm-like", {"linkify": True})
    tokens = parser.parse(f"Value: {source}")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"], source
    children = tokens[1].children or []
    assert {child.type for child in children} <= {"text", "text_special"}, (source, [child.type for child in children])
    return "".join(child.content for child in children).removeprefix("Value:").strip(" ")


@given(HOSTILE)
def test_any_value_is_plain_text_in_markdown(value: str) -> None:
    assert rendered(markdown.text(value)) == characters.line(value).strip(" ")


@pytest.mark.parametrize("value", WRITTEN)
def test_markup_is_plain_text_in_markdown(value: str) -> None:
    assert rendered(markdown.text(value)) == characters.line(value).strip(" ")


@given(st.lists(HOSTILE, min_size=2, max_size=2))
def test_a_cell_of_a_table_stays_in_its_column(cells: list[str]) -> None:
    tokens = MarkdownIt("gfm-like").parse(markdown.table(["now", "after"], [cells]))
    shown = [token.children[0].content if token.children else "" for token in tokens if token.type == "inline"]
    assert shown[0:2] == ["now", "after"]
    assert len(shown) == 4
    texts = ["".join(child.content for child in token.children or []) for token in tokens if token.type == "inline"][2:]
    assert texts == [characters.line(each).strip(" ") for each in cells]


@given(st.lists(HOSTILE, min_size=1, max_size=5))
def test_no_line_closes_its_code_block(lines: list[str]) -> None:
    tokens = MarkdownIt("gfm-like").parse(markdown.code_block(lines, language="diff"))
    assert [token.type for token in tokens] == ["fence"]
    assert tokens[0].content == "".join(f"{characters.line(each)}\n" for each in lines)


@given(HOSTILE)
def test_any_value_is_one_line_on_a_terminal_and_moves_nothing(value: str) -> None:
    screen = pyte.Screen(2000, 3)
    pyte.Stream(screen).feed(terminal.line("before {} after", value))
    assert screen.cursor.y == 0
    assert screen.display[0].startswith("before ")
    assert screen.display[0].rstrip().endswith(" after")
    assert not any(row.strip() for row in screen.display[1:])


@given(HOSTILE)
def test_no_value_holds_a_character_that_hides_or_turns_text(value: str) -> None:
    unsafe = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
    assert not [each for each in characters.line(value) if unicodedata.category(each) in unsafe]
    assert not [each for each in characters.block(value) if each != "\n" and unicodedata.category(each) in unsafe]


def test_escapes_name_the_character() -> None:
    assert characters.line("a\nb\u202ec\U000e0041\x00") == "a\\nb\\u202ec\\U000e0041\\x00"


def test_a_stack_of_accents_does_not_cover_the_line_above() -> None:
    assert characters.line("e" + "\u0301" * 4) == "e\u0301\u0301\u0301\\u0301"


def test_a_message_keeps_its_own_lines_and_nothing_else() -> None:
    assert terminal.message("Not running.\nStart it:  stopgap up\x1b[2J\r") == "Not running.\nStart it:  stopgap up\\x1b[2J\\r"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<!channel> down", "\u2039!channel> down"),
        ("@here and @everyone", "@\u2009here and @\u2009everyone"),
        ("ada@example.com", "ada@example.com"),
        ("[all well](http://evil.example)", "[all well]\u2009(http://evil.example)"),
        ("||nothing to see||", "|\u2009|nothing to see|\u2009|"),
        ("one\ntwo", "one\\ntwo"),
        ("checkout: 3 -> 9", "checkout: 3 -> 9"),
    ],
)
def test_no_value_calls_a_channel_or_hides_in_chat(value: str, shown: str) -> None:
    assert chat.line(value) == shown


def test_html_is_escaped() -> None:
    assert html.text('<b a="1">\x1b') == "&lt;b a=&quot;1&quot;&gt;\\x1b"
