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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        assert target.startswith("http") or (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_code_files_that_are_named_exist(document):
    names = set(re.findall(r"[\w/]+\.py\b", document.read_text())) - {"utils.py"}  # named as a thing not to make
    folders = ("groundwork", "eg3d", "l2cs", "dataset_preprocessing", "tests", "benchmarks")
    known = {file.as_posix() for folder in folders for file in (REPOSITORY / folder).rglob("*.py")}
    for name in names:
        assert any(file.endswith("/" + name) for file in known), f"{document.name} names {name}"


def test_the_readmes_example_imports_what_exists():
    example = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)[1]
    imports = [node for node in ast.parse(example).body if isinstance(node, ast.ImportFrom)]
    assert len(imports) >= 4
    for node in imports:
        module = importlib.import_module(node.module)
        assert all(hasattr(module, alias.name) for alias in node.names)


def test_options_in_the_documents_exist():
    # flags of our scripts in the README's commands, as written in the sources that define them
    folders = ("groundwork", "eg3d", "l2cs", "dataset_preprocessing", "benchmarks")
    sources = "".join(file.read_text() for folder in folders for file in (REPOSITORY / folder).rglob("*.py"))
    for document in DOCUMENTS:
        for line in re.findall(r"python \S+\.py.*", document.read_text()):
            for flag in re.findall(r"(--[a-zA-Z0-9][\w-]*)", line):
                assert flag == "--help" or f'"{flag}"' in sources, f"{document.name}: {flag}"
