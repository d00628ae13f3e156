"""What the reference pages need beside their text: a hook of mkdocs and an extension of griffe, which reads the sources."""

import importlib
import inspect
import re
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[1]


def on_page_markdown(markdown: str, **_: object) -> str:
    """Hook: a line `[[modules PACKAGE -left_out]]` becomes a section for each module of that package that has an `__all__`, `[[layers]]` a table of layers."""
    markdown = re.sub(r"^\[\[layers\]\]$", _layers, markdown, flags=re.MULTILINE)
    return re.sub(r"^\[\[modules ([\w.]+)((?: -\w+)*)\]\]$", _sections, markdown, flags=re.MULTILINE)


def _layers(_: re.Match) -> str:
    nn = importlib.import_module("neurarust_jax.nn")
    layers = {name: value for name, value in vars(nn).items() if inspect.isclass(value) and issubclass(value, nn.Module) and value is not nn.Module}
    families: dict[str, list[str]] = {}
    for name, layer in sorted(layers.items()):
        summary = (inspect.getdoc(layer) or "").split("\n")[0].replace("|", "\\|")
        families.setdefault(layer.__module__.rpartition(".")[2], []).append(f"| [`{name}`](api/nn.md#{layer.__module__}.{name}) | {summary} |")
    return "\n\n".join(f"### {family.capitalize()}\n\n| layer | |\n|---|---|\n" + "\n".join(rows) for family, rows in sorted(families.items()))


def _sections(match: re.Match) -> str:
    package, left_out = match[1], {name.removeprefix("-") for name in match[2].split()}
    files = sorted((ROOT / package.replace(".", "/")).glob("*.py"))
    shown = [file.stem for file in files if file.stem not in left_out | {"__init__"} and "\n__all__ = " in file.read_text(encoding="utf-8")]
    return "\n\n".join(f"## {m.replace('_', ' ').capitalize()}\n\n::: {package}.{m}\n    options:\n      show_root_heading: false" for m in shown)


class MadeAtRunTime(griffe.Extension):
    """Adds the public functions that a module makes by calling another one (`sin = _unary(...)`), which its source does not show."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Go through the modules of a package once they are all read."""
        modules = [pkg]
        while modules:
            module = modules.pop()
            modules += [m for m in module.modules.values() if not m.is_alias]
            for name in [str(name) for name in module.exports or () if isinstance(name, str)]:
                member = module.members.get(name)
                if member is None or _is_attribute(member):
                    made = getattr(importlib.import_module(module.path), name, None)
                    if inspect.isfunction(made):
                        module.set_member(name, _as_function(name, made, member))


def _is_attribute(member: griffe.Object | griffe.Alias) -> bool:
    """Whether the source shows an assignment: in the module itself, or where the name was imported from."""
    try:
        return member.is_attribute
    except griffe.AliasResolutionError:
        return True


def _as_function(name: str, made: object, member: griffe.Object | griffe.Alias | None) -> griffe.Function:
    parameters = [
        griffe.Parameter(p.name, kind=getattr(griffe.ParameterKind, p.kind.name.lower()), default=None if p.default is p.empty else repr(p.default))
        for p in inspect.signature(made).parameters.values()
    ]
    lines = {} if member is None or member.is_alias else {"lineno": member.lineno, "endlineno": member.endlineno}
    docstring = griffe.Docstring(inspect.getdoc(made) or "", parser="google", parser_options={"warnings": False}, **lines)
    return griffe.Function(name, parameters=griffe.Parameters(*parameters), docstring=docstring, **lines)
