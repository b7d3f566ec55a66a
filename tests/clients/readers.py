"""Finds the environment variables that a package's source reads.

Python sources are parsed; a function that looks up one of its parameters in the
environment counts as a reader, so that calls of it with a constant name are
found too, through any number of such functions. JavaScript sources are searched
with patterns, after the constants that name variables were collected.

What neither way can name (`os.environ[name]` with a computed name) is listed as
a computed read, so that it is looked at by a person once and written down.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:__[A-Za-z0-9_]+)*\Z")


@dataclass(frozen=True, order=True)
class Read:
    """One place that reads one variable. `name` is None if it is computed."""

    name: str | None
    file: str
    line: int
    text: str


# ---------------------------------------------------------------- Python

ENVIRON = {"environ", "_environ", "environb"}
LOOKUPS = {"get", "pop", "setdefault", "__getitem__", "__contains__"}


def is_environ(node):
    """`os.environ`, `environ`, `self.environ`, `os.environ.copy()`, …"""
    if isinstance(node, ast.Name):
        return node.id in ENVIRON
    if isinstance(node, ast.Attribute):
        return node.attr in ENVIRON
    return False


class PythonModule:
    def __init__(self, path, label):
        self.path = path
        self.label = label
        source = path.read_text(encoding="utf-8", errors="replace")
        self.lines = source.splitlines()
        self.tree = ast.parse(source)
        self.constants = {}
        self.environs = set()
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                value = node.value
                for target in targets:
                    name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", None)
                    if name is None or value is None:
                        continue
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        self.constants.setdefault(name, value.value)
                    elif is_environ(value) or (
                        isinstance(value, ast.IfExp) and (is_environ(value.body) or is_environ(value.orelse))
                    ):
                        self.environs.add(name)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if alias.name in ENVIRON and alias.asname:
                        self.environs.add(alias.asname)

    def environ(self, node):
        if is_environ(node):
            return True
        name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", None)
        return name in self.environs


def called_name(call):
    func = call.func
    if isinstance(func, ast.Name):
        return func.id
    if isinstance(func, ast.Attribute):
        return func.attr
    return None


def key_of(module, node):
    """The expression that names the variable, if `node` reads the environment."""
    if isinstance(node, ast.Call):
        name = called_name(node)
        if name in {"getenv", "getenvb"} and node.args:
            return node.args[0]
        if (
            name in LOOKUPS
            and isinstance(node.func, ast.Attribute)
            and module.environ(node.func.value)
            and node.args
        ):
            return node.args[0]
    if isinstance(node, ast.Subscript) and module.environ(node.value) and isinstance(node.ctx, ast.Load):
        return node.slice
    if (
        isinstance(node, ast.Compare)
        and len(node.ops) == 1
        and isinstance(node.ops[0], (ast.In, ast.NotIn))
        and module.environ(node.comparators[0])
    ):
        return node.left
    return None


def functions_of(tree):
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def parameters(function):
    names = [a.arg for a in function.args.posonlyargs + function.args.args]
    return names, [a.arg for a in function.args.kwonlyargs]


def read_python(files):
    """`files`: pairs of a path and the label that reports show for it."""
    modules = []
    for path, label in files:
        try:
            modules.append(PythonModule(path, label))
        except SyntaxError:
            continue
    constants = {}
    for module in modules:
        for name, value in module.constants.items():
            constants.setdefault(name, set()).add(value)

    # function name -> set of (position without self, keyword)
    readers = {}

    def argument(call, spec):
        position, keyword = spec
        for given in call.keywords:
            if given.arg == keyword:
                return given.value
        if position is not None and position < len(call.args):
            return call.args[position]
        return None

    def keys(module, node):
        key = key_of(module, node)
        if key is not None:
            yield key
        if isinstance(node, ast.Call):
            for spec in readers.get(called_name(node), ()):
                value = argument(node, spec)
                if value is not None:
                    yield value

    def names_in(expression):
        return {n.id for n in ast.walk(expression) if isinstance(n, ast.Name)}

    while True:
        grew = False
        for module in modules:
            for function in functions_of(module.tree):
                positional, keyword_only = parameters(function)
                if not positional and not keyword_only:
                    continue
                # `for name in names` makes the names of a list one step away.
                loops = {}
                for node in ast.walk(function):
                    if isinstance(node, (ast.For, ast.comprehension)) and isinstance(node.target, ast.Name):
                        loops[node.target.id] = names_in(node.iter)
                wanted = set()
                for node in ast.walk(function):
                    for key in keys(module, node):
                        if isinstance(key, ast.Name):
                            wanted |= {key.id} | loops.get(key.id, set())
                for name in wanted:
                    if name in positional:
                        position = positional.index(name)
                        if positional[0] in ("self", "cls"):
                            position -= 1
                        spec = (position, name)
                    elif name in keyword_only:
                        spec = (None, name)
                    else:
                        continue
                    if function.name in {"get", "__init__", "__call__", "run", "load"} and function.name != "__init__":
                        continue
                    called = function.name
                    if called == "__init__":
                        called = next(
                            (
                                c.name
                                for c in ast.walk(module.tree)
                                if isinstance(c, ast.ClassDef) and function in c.body
                            ),
                            called,
                        )
                    if spec not in readers.setdefault(called, set()):
                        readers[called].add(spec)
                        grew = True
        if not grew:
            break

    found = set()

    def values(module, expression):
        if isinstance(expression, ast.Constant):
            return [expression.value] if isinstance(expression.value, str) else []
        if isinstance(expression, (ast.Tuple, ast.List, ast.Set)):
            return [v for e in expression.elts for v in values(module, e) or []]
        if isinstance(expression, ast.Name):
            if expression.id in module.constants:
                return [module.constants[expression.id]]
            return sorted(constants.get(expression.id, ())) or None
        if isinstance(expression, ast.Attribute):
            return sorted(constants.get(expression.attr, ())) or None
        if isinstance(expression, ast.IfExp):
            return (values(module, expression.body) or []) + (values(module, expression.orelse) or [])
        if isinstance(expression, ast.BoolOp):
            return [v for e in expression.values for v in values(module, e) or []]
        return None

    for module in modules:
        own_parameters = {}
        for function in functions_of(module.tree):
            positional, keyword_only = parameters(function)
            for node in ast.walk(function):
                own_parameters.setdefault(id(node), set()).update(positional + keyword_only)
        # A loop over a literal list of names.
        loops = {}
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.For, ast.comprehension)) and isinstance(node.target, ast.Name):
                loops.setdefault(node.target.id, []).append(node.iter)
        for node in ast.walk(module.tree):
            for key in keys(module, node):
                got = values(module, key)
                if isinstance(key, ast.Name) and not got:
                    for it in loops.get(key.id, ()):
                        got = (got or []) + (values(module, it) or [])
                line = module.lines[node.lineno - 1].strip()
                if got:
                    for value in got:
                        if NAME.match(value):
                            found.add(Read(value, module.label, node.lineno, line))
                elif got is None and not (
                    isinstance(key, ast.Name) and key.id in own_parameters.get(id(node), ())
                ):
                    found.add(Read(None, module.label, node.lineno, line))
    return sorted(found, key=lambda r: (r.name or "", r.file, r.line)), readers


# ---------------------------------------------------------------- JavaScript

QUOTED = r"""["'`]([A-Za-z][A-Za-z0-9_]*)["'`]"""
JS_DIRECT = [
    re.compile(r"""process\??\.env\??\.([A-Za-z_][A-Za-z0-9_]*)"""),
    re.compile(r"""(?:process\??\.env|\benv|\bprocessEnv|\bparameterStore|\benvironment)\s*(?:\?\.)?\[\s*""" + QUOTED + r"""\s*\]"""),
    re.compile(
        r"""\b(?:readEnv|getEnv|readEnvironment|readEnvVar|getEnvVar|envVar|loadEnv|getEnvironmentVariable|booleanSelector|numberSelector)\)?\s*\(\s*(?:env,\s*)?"""
        + QUOTED
    ),
    re.compile(r"""environmentVariableName\s*:\s*""" + QUOTED),
    re.compile(r"""apiKeyEnvVarName\s*:\s*""" + QUOTED),
]
JS_NAMED = [
    re.compile(r"""(?:process\??\.env|\benv|\bprocessEnv|\bparameterStore|\benvironment)\s*(?:\?\.)?\[\s*([A-Za-z_$][\w$.]*)\s*\]"""),
    re.compile(r"""\b(?:readEnv|getEnv|readEnvVar|getEnvVar|booleanSelector|numberSelector)\)?\s*\(\s*(?:env,\s*)?([A-Za-z_$][\w$.]*)\s*[,)]"""),
    re.compile(r"""environmentVariableName\s*:\s*([A-Za-z_$][\w$.]*)\s*[,}\n]"""),
]
JS_CONSTANT = re.compile(
    r"""(?:\b(?:const|let|var)\s+|[,{]\s*|\bexports\.|\b[A-Za-z_$][\w$]*\.)?\b([A-Za-z_$][\w$]*)\s*[=:]\s*"""
    + r"""["']([A-Za-z][A-Za-z0-9_]*)["']"""
)
COMMENT = re.compile(r"\s*(?:\*|//|/\*)")


def read_javascript(files):
    texts = []
    constants = {}
    for path, label in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        texts.append((label, text))
        for match in JS_CONSTANT.finditer(text):
            if match.group(2).upper() == match.group(2) or "env" in match.group(1).lower():
                constants.setdefault(match.group(1), set()).add(match.group(2))
    found = set()
    for label, text in texts:
        starts = [0]
        for match in re.finditer("\n", text):
            starts.append(match.end())

        def place(offset):
            low, high = 0, len(starts)
            while low + 1 < high:
                middle = (low + high) // 2
                if starts[middle] <= offset:
                    low = middle
                else:
                    high = middle
            end = text.find("\n", starts[low])
            return low + 1, text[starts[low] : end if end >= 0 else None].strip()

        for pattern in JS_DIRECT:
            for match in pattern.finditer(text):
                number, line = place(match.start())
                if not COMMENT.match(line):
                    found.add(Read(match.group(1), label, number, line))
        for pattern in JS_NAMED:
            for match in pattern.finditer(text):
                number, line = place(match.start())
                if COMMENT.match(line):
                    continue
                names = constants.get(match.group(1).split(".")[-1], ())
                for name in names:
                    found.add(Read(name, label, number, line))
                if not names:
                    found.add(Read(None, label, number, line))
    return sorted(found, key=lambda r: (r.name or "", r.file, r.line))
