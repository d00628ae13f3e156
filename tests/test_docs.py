"""The Python blocks of README and docs run as they stand, in order; links between files lead somewhere."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs" / "pages").glob("*.md")])
names = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
BLOCK = re.compile(r"^```(python|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@names
def test_python_blocks_run(path):
    text = path.read_text(encoding="utf-8")
    namespace = {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        language, code = block.groups()
        line = text.count("\n", 0, block.start(2))
        if language == "python":
            exec(compile("\n" * line + code, path, "exec"), namespace)
        else:
            example = doctest.DocTestParser().get_doctest(code, namespace, path.name, str(path), line)
            report: list[str] = []
            runner = doctest.DocTestRunner()
            runner.run(example, out=report.append, clear_globs=False)
            namespace.update(example.globs)
            assert not runner.failures, "".join(report)


@names
def test_links_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (path.parent / target).exists()]
    assert not missing


def test_readme_shows_what_it_promises():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    head, _, _ = text.partition("\n## ")
    assert "make demo" in head
    assert "make test" in head
