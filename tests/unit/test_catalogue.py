"""Every text of kisbt has a Korean one that fits."""

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.frontend import CommandLineInterface
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po

import kisbt.errors

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "kisbt" / "locale" / "ko" / "LC_MESSAGES"
MODULES = sorted((ROOT / "kisbt").rglob("*.py"))

AGAIN = "run `make messages`, fill in the empty msgstr, and run it again"

SHOWN_BY = {"say", "note", "warn"} | {
    name for name, item in vars(kisbt.errors).items() if isinstance(item, type)
}
"""Functions and errors whose first argument people read."""

SHOWN_AS = {"help", "epilog"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Return the texts in the source, as `make messages` collects them."""
    path = tmp_path_factory.mktemp("messages") / "kisbt.pot"
    CommandLineInterface().run(
        [
            "pybabel",
            "-q",
            "extract",
            f"--mapping-file={ROOT / 'babel.cfg'}",
            f"--output-file={path}",
            str(ROOT / "kisbt"),
        ]
    )
    with path.open("rb") as stream:
        return read_po(stream)


@pytest.fixture(scope="module")
def korean() -> Catalog:
    with (FOLDER / "kisbt.po").open("rb") as stream:
        return read_po(stream, locale="ko")


def texts(catalogue: Catalog) -> dict[str, str]:
    return {str(item.id): str(item.string or "") for item in catalogue if item.id}


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{[^{}]*\}", text))


def edges(text: str) -> tuple[str, str]:
    return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]


def test_every_text_is_in_korean(source: Catalog, korean: Catalog) -> None:
    known = texts(korean)
    missing = [text for text in texts(source) if not known.get(text)]
    assert missing == [], AGAIN


def test_no_korean_text_is_left_over_or_a_guess(
    source: Catalog, korean: Catalog
) -> None:
    wanted = texts(source)
    assert [text for text in texts(korean) if text not in wanted] == [], AGAIN
    assert list(korean.obsolete) == [], AGAIN
    assert [item.id for item in korean if item.id and item.fuzzy] == []


def test_placeholders_and_outer_blanks_survive_translation(korean: Catalog) -> None:
    changed = [
        (text, translated)
        for text, translated in texts(korean).items()
        if placeholders(text) != placeholders(translated)
        or edges(text) != edges(translated)
    ]
    assert changed == []


def test_the_compiled_catalogue_is_that_of_the_texts(korean: Catalog) -> None:
    compiled = io.BytesIO()
    write_mo(compiled, korean)
    compiled.seek(0)
    with (FOLDER / "kisbt.mo").open("rb") as stream:
        assert texts(read_mo(stream)) == texts(read_mo(compiled)), AGAIN


def test_no_particle_hangs_on_an_unknown_word(korean: Catalog) -> None:
    # "{file}이(가)": Korean particles follow the last sound of a word; say it so
    # that none is needed.
    hedged = re.compile(
        r"은\(는\)|이\(가\)|을\(를\)|와\(과\)|\(으\)로|(?<!%)\}[은는이가을를과와] "
    )
    found = [text for text in texts(korean).values() if hedged.search(text)]
    assert found == []


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            yield name, node


def words(node: ast.AST) -> bool:
    """Whether an expression is a text written out, with a word in it."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    written = [
        part.value
        for part in parts
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    # A command to copy, such as "  kisbt backtest", is the same in every language.
    text = re.sub(r"^\s*(kisbt|cd)\b.*", "", "".join(written))
    return re.search(r"[A-Za-z]{3}", text) is not None


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("say('done with it')", ["say"]),
        ("raise InputError(f'{path} is empty')", ["InputError"]),
        ("typer.Option('--out', help='Where to.')", ["Option"]),
        ("say(_('done with it'))", []),
        ("raise ValueError('a mistake of the caller')", []),
        ("say(f'  kisbt backtest {path}')", []),
        ("say(f'{day}  {name}')", []),
    ],
)
def test_the_search_for_untranslated_texts_works(code: str, found: list[str]) -> None:
    assert [name for name, _line in untranslated(ast.parse(code))] == found


def untranslated(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for name, call in calls(tree):
        shown = [item.value for item in call.keywords if item.arg in SHOWN_AS]
        if name in SHOWN_BY:
            shown += call.args[:1]
        if any(words(item) for item in shown):
            yield name, call.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_people_read_can_be_translated(path: Path) -> None:
    found = list(untranslated(ast.parse(path.read_text(encoding="utf-8"))))
    assert found == [], "put these texts into _()"


def fixed_at_import(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of ``_()`` that run while the module is imported."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_":
            yield node.lineno
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                waiting += [*inner.decorator_list, inner.args]
            elif not isinstance(inner, ast.Lambda):
                waiting.append(inner)


def test_the_search_for_texts_fixed_at_import_works() -> None:
    early = (
        "WORD = _('a')\ndef f(x=_('b')):\n    return _('c')\nclass A:\n    d = _('d')"
    )
    assert sorted(fixed_at_import(ast.parse(early))) == [1, 2, 5]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_is_fixed_before_the_language_is_known(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(fixed_at_import(tree)) == []
