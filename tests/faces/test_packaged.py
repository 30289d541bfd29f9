"""Data files of installed packages: found without running the package, opened only if they are the pinned ones."""

import hashlib
import sys

import pytest

from eg3d.faces.packaged import Package, PackagedFile, package_folder

CONTENT = b"numbers of somebody else"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package whose code must not run, with one data file."""
    folder = tmp_path / "place" / "packagewithdata"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('the package was imported')")
    (folder / "data" / "net.bin").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


def packaged(name="data/net.bin", module="packagewithdata") -> PackagedFile:
    package = Package(module, "1.2", "pip install data==1.2", "MIT", "Somebody")
    return PackagedFile(package, name, hashlib.sha256(CONTENT).hexdigest())


def test_a_file_is_read_without_importing_its_package(installed):
    file = packaged()
    assert file.is_there() and file.read() == CONTENT and file.path() == installed / "data" / "net.bin"
    assert "packagewithdata" not in sys.modules
    assert file.facts()["licence"] == "MIT" and file.facts()["file"] == "packagewithdata/data/net.bin"


@pytest.mark.parametrize("missing", [packaged("data/other.bin"), packaged(module="nosuchpackage")])
def test_a_missing_file_or_package_is_one_line_that_says_what_to_install(installed, missing):
    assert not missing.is_there()
    with pytest.raises(ValueError, match="is not installed; pip install data==1.2") as error:
        missing.read()
    assert "\n" not in str(error.value)


def test_a_file_of_other_content_is_not_opened(installed):
    (installed / "data" / "net.bin").write_bytes(CONTENT + b"!")
    for read in (packaged().read, packaged().path):
        with pytest.raises(ValueError, match=r"net.bin: is not the file of version 1.2 .* pip install data==1.2"):
            read()


def test_a_module_that_is_no_package_has_no_folder():
    assert package_folder("stat") is None
