"""The documents speak of files, options and names that exist."""

import ast
import importlib
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    REPOSITORY / "dataset_preprocessing" / "README.md",
]
FOLDERS = ("groundwork", "eg3d", "l2cs", "dataset_preprocessing", "redirection", "tests", "benchmarks")
CODE = [file for folder in FOLDERS for file in sorted((REPOSITORY / folder).rglob("*.py"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        assert target.startswith("http") or (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_code_files_that_are_named_exist(document):
    names = set(re.findall(r"[\w/]+\.py\b", document.read_text())) - {"utils.py"}  # named as a thing not to make
    known = {file.as_posix() for file in CODE}
    for name in names:
        assert any(file.endswith("/" + name) for file in known), f"{document.name} names {name}"


def test_code_files_that_comments_name_exist():
    known = [f"/{file.relative_to(REPOSITORY).as_posix()}" for file in CODE]
    for file in CODE:
        if not file.is_relative_to(REPOSITORY / "tests"):  # tests make up names
            for name in set(re.findall(r"(?<![\w.*{/])([\w/]+\.py)\b", file.read_text())):
                assert any(other.endswith(f"/{name}") for other in known), f"{file.name} names {name}"


def test_the_readmes_examples_import_what_exists():
    examples = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    imports = [node for text in examples for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
    assert len(examples) >= 2 and len(imports) >= 6
    for node in imports:
        module = importlib.import_module(node.module)
        assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_names_that_are_said_to_be_in_a_file_are_there(document):
    text, found = document.read_text(), 0
    pairs = [(file, name) for file, name in re.findall(r"`([\w/]+\.py)` \(`(\w+)`", text)]
    pairs += [(file, name) for name, file in re.findall(r"`(\w+)` (?:in|of)\s`([\w/]+\.py)`", text)]
    for file, name in pairs:
        places = [path for path in CODE if f"/{path.relative_to(REPOSITORY).as_posix()}".endswith(f"/{file}")]
        assert any(re.search(rf"^\s*(def|class) {name}\b|^\s*{name}\b.*=", p.read_text(), re.M) for p in places), (
            f"{document.name}: there is no {name} in {file}"
        )
        found += 1
    assert found or document.name != "architecture.md"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_lines_of_the_documents_are_short_enough_to_read(document):
    for number, line in enumerate(document.read_text().splitlines(), 1):
        made = document.name == "reproduction.md" and line.startswith("|")  # a row of its tables has eight numbers
        whole = made or "](http" in line  # an address cannot be cut
        assert len(line) <= 120 or whole, f"{document.name}, line {number}: {len(line)} characters"


CITED = sorted({*DOCUMENTS, *CODE, *REPOSITORY.glob("eg3d/ops/kernels/csrc/*")} - {Path(__file__).resolve()})


def test_no_document_waits_for_a_number():
    for document in DOCUMENTS:
        assert not re.search(r"@[A-Z]+@|\bTODO\b|\bXXX\b", document.read_text()), document.name


def test_what_is_cited_can_be_found():
    """A defect's number is a heading of docs/published_defects.md; no section of a text that is not here is cited."""
    headings = re.findall(r"^### (.*?):", (REPOSITORY / "docs" / "published_defects.md").read_text(), re.M)
    known, wrong = {number for heading in headings for number in heading.split(", ")}, []
    for file in CITED:
        text, name = file.read_text(), file.relative_to(REPOSITORY)
        for number in re.findall(r"\b[DBGMP]-\d+[ab]?\b", text):
            if number not in known:
                wrong.append(f"{name}: {number} is no heading of docs/published_defects.md")
        absent = re.search(r"\bspec(ification)?\b[ ,.:()]*(section|appendix|[a-z_]+\.md)|\bthe specification", text)
        if absent:
            wrong.append(f"{name} cites a specification that is not here: {absent[0]}")
        for document, anchor in re.findall(r"\bdocs/(\w+\.md)(?:#([\w-]+))?", text):
            if not (REPOSITORY / "docs" / document).exists():
                wrong.append(f"{name}: docs/{document} is not here")
                continue
            titles = re.findall(r"^#+ (.*)$", (REPOSITORY / "docs" / document).read_text(), re.M)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            if anchor and anchor not in slugs:
                wrong.append(f"{name}: docs/{document} has no section {anchor}")
    assert not wrong, "\n".join(wrong)


def test_options_in_the_documents_exist():
    # flags of our scripts in the README's commands, as written in the sources that define them
    folders = ("groundwork", "eg3d", "l2cs", "dataset_preprocessing", "redirection", "benchmarks")
    sources = "".join(file.read_text() for folder in folders for file in (REPOSITORY / folder).rglob("*.py"))
    for document in DOCUMENTS:
        for line in re.findall(r"python \S+\.py.*", document.read_text()):
            for flag in re.findall(r"(--[a-zA-Z0-9][\w-]*)", line):
                assert flag == "--help" or f'"{flag}"' in sources, f"{document.name}: {flag}"
