"""Whether what the files name is there: variables, locals, resources, and the arguments and attributes that the provider
knows. What this cannot see is said in deploy/terraform/README.md."""

import difflib

META = {"count", "for_each", "depends_on", "provider"}
META_BLOCKS = {"lifecycle", "provisioner", "connection"}


def problems(files, examples, schema):
    """What is wrong, a line each. Both `files` and `examples` are file names with their bodies."""
    return Module(files, schema).problems() + [
        line for name, body in examples.items() for line in _example(name, body, files)
    ]


def _nearest(name, known):
    close = difflib.get_close_matches(name, known, 1)
    return f"; {close[0]} is meant?" if close else ""


def _declared(files, kind):
    return {block.labels[0]: (name, block) for name, body in files.items() for block in body.each(kind)}


def _example(name, body, files):
    variables = _declared(files, "variable")
    for key, value in body.attributes.items():
        if key not in variables:
            yield f"{name}:{value[0].line}: there is no variable {key}{_nearest(key, variables)}"
    for key, (_, block) in variables.items():
        if "default" not in block.attributes and key not in body.attributes:
            yield f"{name}: the variable {key} has no default, and is not given"


class Module:
    """All files of one folder, which Terraform reads as one."""

    def __init__(self, files, schema):
        self.files, self.schema, self.found = files, schema, []
        self.variables = _declared(files, "variable")
        self.locals = {key for body in files.values() for block in body.each("locals") for key in block.attributes}
        self.used = set()
        self.objects = {
            (kind, *block.labels)
            for body in files.values()
            for kind in ("resource", "data")
            for block in body.each(kind)
        }

    def problems(self):
        """What is wrong."""
        for name, body in self.files.items():
            self._references(name, body)
            for kind in ("resource", "data"):
                for block in body.each(kind):
                    known = self.schema[kind].get(block.labels[0])
                    if known is None:
                        self._report(name, block.line, f"deploy/terraform.schema.json lacks {block.labels[0]}; run deploy/schema")
                    else:
                        self._arguments(name, block, known, block.labels[0])
        for key, (name, block) in self.variables.items():
            if ("var", key) not in self.used:
                self._report(name, block.line, f"the variable {key} is not used")
            for needed in ("description", "type"):
                if needed not in block.attributes:
                    self._report(name, block.line, f"the variable {key} has no {needed}")
        for key in sorted(self.locals - {key for kind, key in self.used if kind == "local"}):
            self._report("locals", 0, f"local.{key} is not used")
        return self.found

    def _report(self, name, line, message):
        self.found.append(f"{name}:{line}: {message}")

    def _arguments(self, name, block, known, where):
        arguments = {*known["required"], *known["optional"]}
        is_top = where == block.labels[0] if block.labels else False
        for key, value in block.attributes.items():
            if key not in arguments and not (is_top and key in META):
                hint = _nearest(key, arguments | set(known["blocks"]))
                self._report(name, value[0].line, f"{where} has no argument {key}{hint}")
        for key in known["required"]:
            if key not in block.attributes:
                self._report(name, block.line, f"{where} lacks its argument {key}")
        inner = [(block.kind, block) for block in block.blocks if block.kind != "dynamic"]
        for dynamic in block.each("dynamic"):
            if "for_each" not in dynamic.attributes or len(dynamic.each("content")) != 1:
                self._report(name, dynamic.line, f"dynamic {dynamic.labels[0]} needs for_each and one content")
            inner += [(dynamic.labels[0], content) for content in dynamic.each("content")]
        for kind, found in inner:
            if kind in known["blocks"]:
                self._arguments(name, found, known["blocks"][kind], f"{where}.{kind}")
            elif not (is_top and kind in META_BLOCKS):
                self._report(name, found.line, f"{where} has no block {kind}{_nearest(kind, known['blocks'])}")
        for kind, needed in known["blocks"].items():
            if needed["needed"] and kind not in {kind for kind, _ in inner}:
                self._report(name, block.line, f"{where} lacks its block {kind}")

    def _references(self, name, block):
        for value in block.attributes.values():
            self._value(name, value)
        for inner in block.blocks:
            self._references(name, inner)

    def _value(self, name, value):
        for at, token in enumerate(value):
            is_member = at and value[at - 1].kind == "."
            if token.kind != "name" or is_member or at + 2 >= len(value) or value[at + 1].kind != ".":
                continue
            path = _path(value[at:])
            if path[0] in ("var", "local"):
                known = self.variables if path[0] == "var" else self.locals
                self.used.add((path[0], path[1]))
                if path[1] not in known:
                    self._report(name, token.line, f"there is no {path[0]}.{path[1]}{_nearest(path[1], known)}")
            elif path[0] == "data" or path[0].startswith("azurerm_"):
                self._attribute(name, token, ["resource", *path] if path[0] != "data" else path)

    def _attribute(self, name, token, path):
        kind, label, rest = path[0], path[1], path[2:]
        if (kind, label, rest[0]) not in self.objects:
            known = [found[2] for found in self.objects if found[:2] == (kind, label)]
            return self._report(name, token.line, f"there is no {label}.{rest[0]}{_nearest(rest[0], known)}")
        known = self.schema[kind].get(label)
        if known and len(rest) > 1:
            names = {*known["required"], *known["optional"], *known["exported"], *known["blocks"]}
            if rest[1] not in names:
                self._report(name, token.line, f"{label} has no attribute {rest[1]}{_nearest(rest[1], names)}")


def _path(stream):
    """The names of `a.b[0].c`: indices are left out."""
    path, at = [stream[0].text], 1
    while at < len(stream):
        if stream[at].kind == "." and at + 1 < len(stream) and stream[at + 1].kind == "name":
            path.append(stream[at + 1].text)
            at += 2
        elif stream[at].kind == "[":
            depth = 1
            while depth:
                at += 1
                depth += (stream[at].kind == "[") - (stream[at].kind == "]")
            at += 1
        else:
            break
    return path
