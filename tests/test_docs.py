"""The documentation: its code runs and prints what the pages say, and it names what is public."""

import re
import sys
from pathlib import Path

import pytest

import gillespy_lite as gl
from gillespy_lite import models, moments, ode_rnn, plotting, rate_laws

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.insert(0, str(DOCS))

from make_figures import pictures_of  # noqa: E402
from pages import PAGES, TABLES, blocks_of, run_page  # noqa: E402

# Besides the tags that run: shown only.
SHOWN_TAGS = {"py", "sh", "julia", "text", "output"}
RUN_TAGS = {"python", "network", "mistakes", "console"}

REFERENCE = "\n".join(page.read_text("utf-8") for page in sorted(DOCS.glob("reference/*.md")))


@pytest.fixture(autouse=True)
def _pictures_in_files_only(monkeypatch):
    import matplotlib

    monkeypatch.setenv("MPLBACKEND", "Agg")
    matplotlib.use("Agg")


# Pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_its_code_prints_and_draws(page, tmp_path):
    differences = run_page(page, tmp_path)
    advice = "\n\nIf the code is right, rewrite the page: python docs/pages.py --update"
    assert not differences, "\n\n".join(map(str, differences)) + advice
    assert [name for name in pictures_of(page) if not (tmp_path / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tags_of_a_page_are_known(page):
    # A misspelt tag would take a block out of the test above.
    text = page.read_text("utf-8")
    tags = {block.tag for block in blocks_of(text)}
    assert tags <= SHOWN_TAGS | RUN_TAGS | {"{toctree}"}
    # An indented fence would be overlooked as well.
    assert len(re.findall(r"^\s*```", text, re.M)) == 2 * len(blocks_of(text))


def test_every_table_is_on_a_page():
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert sorted(re.findall(r"<!-- table: ([\w-]+)", text)) == sorted(TABLES)


def test_a_page_that_says_something_else_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    network = "```network\nspecies S\n```\n\n"
    wrong = {
        "```python\nprint(1 + 1)\n```\n\n```output\n3\n```\n": "2\n",
        "```network\nspecies S\nS -> 0\n```\n\n```output\nall is well\n```\n": "rate is missing",
        "```network\nspecies S\nS -> 0 @ 1\n```\n\n```output\nan error\n```\n": "",
        f"{network}```mistakes\nmodel.txt:2:1: something\n    S -> 0\n```\n": "rate is missing",
        "```console\n$ echo one\ntwo\n```\n": "$ echo one\none\n",
        "<!-- table: reserved -->\n| old |\n<!-- end of table -->\n": "`species`",
    }
    for text, found in wrong.items():
        page.write_text(text)
        (difference,) = run_page(page, tmp_path)
        assert found in difference.found


def test_a_block_that_fails_is_an_error(tmp_path):
    page = tmp_path / "page.md"
    for text, error in (
        ("```python\n1/0\n```\n", ZeroDivisionError),
        ("```network\nspecies S\nS -> 0\n```\n", ValueError),
        ("```network\nspecies S\n```\n\n```mistakes\n    S -> 0 @ 1\n```\n", ValueError),
    ):
        page.write_text(text)
        with pytest.raises(error):
            run_page(page, tmp_path)


# What must be described --------------------------------------------------------------------------


@pytest.mark.parametrize("name", gl.__all__)
def test_every_public_name_is_in_the_reference(name):
    assert re.search(rf"gillespy_lite\.(errors\.)?{name}\b", REFERENCE)


@pytest.mark.parametrize(
    "name",
    [
        *(f"errors.{name}" for name in gl.errors.__all__),
        *(f"models.{name}" for name in models.__all__ if name != "MODELS"),
        *(f"plotting.{name}" for name in plotting.__all__ if name != "KINDS"),
        *(
            f"rate_laws.{name}"
            for name in rate_laws.__all__
            if callable(getattr(rate_laws, name)) and name.removesuffix("_") in rate_laws.FUNCTIONS
        ),
    ],
)
def test_every_public_name_of_a_module_is_in_the_reference(name):
    assert re.search(rf"gillespy_lite\.{re.escape(name)}\b", REFERENCE)


@pytest.mark.parametrize("name", [name for name in ode_rnn.__all__ if name not in gl.__all__])
def test_every_public_name_of_ode_rnn_is_in_the_reference(name):
    assert re.search(rf"gillespy_lite\.ode_rnn\.{name}\b", REFERENCE)


@pytest.mark.parametrize("name", [name for name in moments.__all__ if name not in gl.__all__])
def test_every_public_name_of_moments_is_in_the_reference(name):
    assert re.search(rf"gillespy_lite\.moments\.{name}\b", REFERENCE)


@pytest.mark.parametrize("name", gl.METHODS)
def test_every_method_and_option_is_explained(name):
    text = (DOCS / "methods.md").read_text("utf-8")
    section = re.search(rf"^## {name}\n(.*?)(?=^## )", text, re.M | re.S)
    assert section
    for option in gl.METHODS[name]().options():
        assert re.search(rf"^`.*{option}.*`\n: ", section[1], re.M), option


def test_every_kind_of_plot_is_shown():
    text = (DOCS / "plots.md").read_text("utf-8")
    for kind in {kind for kinds in plotting.KINDS.values() for kind in kinds}:
        section = re.search(rf"^## {kind}\n(.*?)(?=^## )", text, re.M | re.S)
        assert section, kind
        assert "](_build/figures/" in section[1], kind
