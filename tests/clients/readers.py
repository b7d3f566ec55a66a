"""Finds the environment variables that a package's source reads.

Python sources are parsed. A function that looks up one of its parameters in the
environment counts as a reader, so that calls of it with a constant name are found too,
through any number of such functions. JavaScript sources are searched with patterns, after
collecting the constants that name variables.

A read of a computed name (`os.environ[name]`) is reported without a name, so that a person
reviews it once and lists it.
"""

import ast
import re
from dataclasses import dataclass

# A lower-case name is rarely a variable, except for proxies.
NAME = re.compile(r"(?=.*[A-Z]|\w*_proxy\Z)[A-Za-z_][A-Za-z0-9_]*\Z|https?://\S+\Z")


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
# Names that are too common to be followed as readers.
COMMON = {"get", "__call__", "run", "load", "pop", "set", "read"}


def attribute_of(node):
    return getattr(node, "id", None) or getattr(node, "attr", None)


class Module:
    """A parsed source, with the nodes that the search uses."""

    def __init__(self, path, label):
        self.label = label
        source = path.read_text(encoding="utf-8", errors="replace")
        self.lines = source.splitlines()
        tree = ast.parse(source)
        self.constants = {}
        # Names that refer to the environment.
        self.environs = set(ENVIRON)
        self.literals = {}
        self.strings = []
        # All functions, each with the nodes in it that may read the environment.
        self.functions = []
        self.classes = {}
        self.looks = []
        self.loops = {}
        # The parameters of the functions that enclose a node.
        self.parameters = {}
        self.visit(tree, [], None)

    def visit(self, node, functions, owner):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                function = Function(child, owner)
                self.functions.append(function)
                self.visit(child, [*functions, function], None)
                continue
            if isinstance(child, ast.ClassDef):
                self.visit(child, functions, child.name)
                continue
            self.note(child, functions)
            self.visit(child, functions, owner)

    def note(self, node, functions):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in filter(None, map(attribute_of, targets)):
                value = node.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    self.constants.setdefault(name, value.value)
                elif isinstance(value, (ast.Tuple, ast.List)):
                    self.literals.setdefault(name, value)
                elif attribute_of(value) in ENVIRON or (
                    isinstance(value, ast.IfExp) and attribute_of(value.orelse) in ENVIRON
                ):
                    self.environs.add(name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.strings.append(node)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
            for index, target in enumerate(targets):
                if isinstance(target, ast.Name):
                    position = index if isinstance(node.target, ast.Tuple) else None
                    self.loops.setdefault(target.id, []).append((node.iter, position))
                    for function in functions:
                        function.loops.setdefault(target.id, set()).update(names_in(node.iter))
        if isinstance(node, (ast.Call, ast.Subscript, ast.Compare)):
            self.looks.append(node)
            self.parameters[id(node)] = {p for f in functions for p in f.positional + f.keywords}
            for function in functions:
                function.looks.append(node)

    def key_of(self, node):
        """The expression that names the variable, if `node` reads the environment."""
        if isinstance(node, ast.Call):
            name = attribute_of(node.func)
            if name in {"getenv", "getenvb"} and node.args:
                return node.args[0]
            if (
                name in LOOKUPS
                and isinstance(node.func, ast.Attribute)
                and attribute_of(node.func.value) in self.environs
                and node.args
            ):
                return node.args[0]
        elif isinstance(node, ast.Subscript):
            if attribute_of(node.value) in self.environs and isinstance(node.ctx, ast.Load):
                return node.slice
        elif isinstance(node.ops[0], (ast.In, ast.NotIn)) and attribute_of(node.comparators[0]) in self.environs:
            return node.left
        return None


class Function:
    def __init__(self, node, owner):
        arguments = node.args
        self.positional = [a.arg for a in arguments.posonlyargs + arguments.args]
        self.keywords = [a.arg for a in arguments.kwonlyargs]
        # A constructor is called by the name of its class.
        self.called = owner if node.name == "__init__" and owner else node.name
        self.looks = []
        self.loops = {}

    def argument(self, name):
        """The position (without self) and name of a parameter in calls; None if not passed."""
        if name in self.positional:
            position = self.positional.index(name) - (self.positional[0] in ("self", "cls"))
            return (position, name) if position >= 0 else None
        return (None, name) if name in self.keywords else None


def names_in(expression):
    return {n.id for n in ast.walk(expression) if isinstance(n, ast.Name)}


def read_python(files, constants_that_are_names=()):
    """The reads in `files`, pairs of a path and the label that reports show for it.

    `constants_that_are_names` has pairs of a label's ending and a pattern. In these files
    every string that matches counts as a read name, because it is a key of a lookup table.
    """
    modules = []
    for path, label in files:
        try:
            modules.append(Module(path, label))
        except SyntaxError:
            continue
    constants = {}
    for module in modules:
        for name, value in module.constants.items():
            constants.setdefault(name, set()).add(value)

    readers = {}

    def keys(module, node):
        key = module.key_of(node)
        if key is not None:
            yield key
        if isinstance(node, ast.Call):
            for position, name in readers.get(attribute_of(node.func), ()):
                given = next((k.value for k in node.keywords if k.arg == name), None)
                if given is None and position is not None and position < len(node.args):
                    given = node.args[position]
                if given is not None:
                    yield given

    changed = True
    while changed:
        changed = False
        for module in modules:
            for function in module.functions:
                if function.called in COMMON:
                    continue
                wanted = set()
                for node in function.looks:
                    for key in keys(module, node):
                        if isinstance(key, ast.Name):
                            wanted |= {key.id} | function.loops.get(key.id, set())
                for place in filter(None, map(function.argument, wanted)):
                    if place not in readers.setdefault(function.called, set()):
                        readers[function.called].add(place)
                        changed = True

    def values(module, expression, position=None):
        """The strings that the expression may be; None if unknown."""
        if isinstance(expression, ast.Constant):
            return [expression.value] if isinstance(expression.value, str) else []
        if isinstance(expression, (ast.Tuple, ast.List, ast.Set)):
            elements = expression.elts
            if position is not None:
                elements = [e.elts[position] for e in elements if isinstance(e, ast.Tuple) and position < len(e.elts)]
            return [value for e in elements for value in values(module, e) or []]
        if isinstance(expression, (ast.Name, ast.Attribute)):
            name = attribute_of(expression)
            if name in module.literals:
                return values(module, module.literals[name], position)
            if isinstance(expression, ast.Name) and name in module.constants:
                return [module.constants[name]]
            found = sorted(constants.get(name, ()))
            if not found and isinstance(expression, ast.Name):
                for iterated, index in module.loops.get(name, ()):
                    if attribute_of(iterated) != name:
                        found += values(module, iterated, index) or []
            return found or None
        if isinstance(expression, (ast.IfExp, ast.BoolOp)):
            parts = expression.values if isinstance(expression, ast.BoolOp) else [expression.body, expression.orelse]
            return [value for part in parts for value in values(module, part) or []]
        return None

    found = set()
    for module in modules:
        for node in module.looks:
            for key in keys(module, node):
                possible = values(module, key)
                line = module.lines[node.lineno - 1].strip()
                for value in possible or ():
                    if NAME.match(value):
                        found.add(Read(value, module.label, node.lineno, line))
                is_parameter = isinstance(key, ast.Name) and key.id in module.parameters[id(node)]
                if possible is None and not is_parameter and not followed(module, key, node):
                    found.add(Read(None, module.label, node.lineno, line))
        for ending, pattern in constants_that_are_names:
            if module.label.endswith(ending):
                for string in module.strings:
                    if re.fullmatch(pattern, string.value):
                        found.add(Read(string.value, module.label, string.lineno, module.lines[string.lineno - 1].strip()))
    return sorted(found, key=lambda r: (r.name or "", r.file, r.line))


def followed(module, key, node):
    """Whether the name comes from a loop over a parameter: then its values come from callers."""
    if not isinstance(key, ast.Name):
        return False
    parameters = module.parameters[id(node)]
    return any(names_in(iterated) & parameters for iterated, _ in module.loops.get(key.id, ()))


# ---------------------------------------------------------------- JavaScript

QUOTED = r"""["'`]([A-Za-z_][A-Za-z0-9_]*)["'`]"""
ENVIRONMENT = r"""(?:process\??\.env|\benv|\bprocessEnv|\bparameterStore|\benvironment)"""
READER = r"""\b(?:readEnv|getEnv|readEnvironment|readEnvVar|getEnvVar|loadEnv|getEnvironmentVariable)\)?\s*\(\s*"""
OPTION = r"""\b(?:environmentVariableName|serviceEndpointUrlEnvironmentVariableName|apiKeyEnvVarName)\s*:\s*"""
DIRECT = [
    re.compile(r"""process\??\.env\??\.([A-Za-z_][A-Za-z0-9_]*)"""),
    re.compile(ENVIRONMENT + r"""\s*(?:\?\.)?\[\s*""" + QUOTED + r"""\s*\]"""),
    re.compile(READER + QUOTED),
    re.compile(r"""\b(?:boolean|number)Selector\)?\s*\(\s*env,\s*""" + QUOTED),
    re.compile(OPTION + QUOTED),
]
NAMED = [
    re.compile(ENVIRONMENT + r"""\s*(?:\?\.)?\[\s*([A-Za-z_$][\w$.]*)\s*\]"""),
    re.compile(READER + r"""([A-Za-z_$][\w$.]*)\s*[,)]"""),
    re.compile(r"""\b(?:boolean|number)Selector\)?\s*\(\s*env,\s*([A-Za-z_$][\w$.]*)\s*[,)]"""),
    re.compile(OPTION + r"""([A-Za-z_$][\w$.]*)\s*[,}\n]"""),
]
# The members of a schema of the environment are names of variables.
SCHEMA = re.compile(r"""\benvSchema\s*=\s*[\w.]+\(\{(.*?)\}\)""", re.DOTALL)
MEMBER = re.compile(r"""^\s*([A-Za-z_][A-Za-z0-9_]*)\s*:""", re.MULTILINE)
CONSTANT = re.compile(
    r"""\b([A-Za-z_$][\w$]*)\s*[=:]\s*["']([A-Za-z_][A-Za-z0-9_]*)["']"""
)
COMMENT = re.compile(r"\s*(?:\*|//|/\*)")


def read_javascript(files):
    """The reads in `files`, pairs of a path and the label that reports show for it."""
    texts = []
    constants = {}
    for path, label in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        texts.append((label, text))
        for match in CONSTANT.finditer(text):
            if match.group(2).upper() == match.group(2):
                constants.setdefault(match.group(1), set()).add(match.group(2))
    found = set()
    for label, text in texts:

        def place(offset):
            start = text.rfind("\n", 0, offset) + 1
            end = text.find("\n", offset)
            return text.count("\n", 0, offset) + 1, text[start : end if end >= 0 else None].strip()

        def note(name, offset):
            number, line = place(offset)
            if not COMMENT.match(line):
                found.add(Read(name, label, number, line))

        for pattern in DIRECT:
            for match in pattern.finditer(text):
                note(match.group(1), match.start())
        for pattern in NAMED:
            for match in pattern.finditer(text):
                names = constants.get(match.group(1).split(".")[-1]) or {None}
                for name in names:
                    note(name, match.start())
        for schema in SCHEMA.finditer(text):
            for member in MEMBER.finditer(schema.group(1)):
                note(member.group(1), schema.start(1) + member.start(1))
    return sorted(found, key=lambda r: (r.name or "", r.file, r.line))
