"""Reads HCL, the language of Terraform, as far as the files beside us use it: tokens, lines, blocks. No heredocs."""

import re
from dataclasses import dataclass, field


class Unreadable(Exception):
    """A file that does not read: its name, a line, and why."""


@dataclass
class Token:
    kind: str
    text: str
    line: int
    # Spaces in front of it, or None for the first of a line, whose spaces are `indent`.
    spaces: int = 0


# In a template: `quote` opens, `lit` is text, `interp` is ${ or %{, `seqend` its }, `unquote` closes.
OPENERS = {"{", "[", "(", "interp"}
CLOSERS = {"}", "]", ")", "seqend"}
SYMBOLS = ["...", "=>", "==", "!=", "<=", ">=", "&&", "||", "::", *"=<>!+-*/%?:.,{}[]()"]
IDENTIFIER = re.compile(r"[^\W\d][\w-]*")
NUMBER = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?")
LITERAL = re.compile(r'(?:[^"\\$%\n]|\\.|\$\$\{|%%\{|[$%](?!\{))+')


def tokens(text, name):
    """All tokens, those that end lines (`newline`) among them."""
    found, at, line = [], 0, 1
    # What encloses us: "template" or "interp", with the depth of braces in the latter.
    modes = []
    while at < len(text):
        start = at
        if modes and modes[-1][0] == "template":
            if text[at] == '"':
                kind, at = "unquote", at + 1
                modes.pop()
            elif text.startswith(("${", "%{"), at):
                kind, at = "interp", at + 2
                modes.append(["interp", 0])
            else:
                match = LITERAL.match(text, at)
                if not match:
                    raise Unreadable(f"{name}:{line}: a text does not end on its line")
                kind, at = "lit", match.end()
            found.append(Token(kind, text[start:at], line))
            continue
        while at < len(text) and text[at] in " \t\r":
            at += 1
        spaces, start = at - start, at
        if at == len(text):
            if spaces:
                raise Unreadable(f"{name}:{line}: spaces at the end of the file")
            break
        if "\t" in text[start - spaces : start] or "\r" in text[start - spaces : start]:
            raise Unreadable(f"{name}:{line}: a tab or a carriage return")
        if text[at] == "\n":
            found.append(Token("newline", "\n", line, spaces))
            at, line = at + 1, line + 1
            continue
        if text[at] == "#":
            at = (text + "\n").index("\n", at)
            if text[at - 1] == " ":
                raise Unreadable(f"{name}:{line}: spaces at the end of a comment")
            kind = "comment"
        elif text.startswith(("//", "/*", "<<"), at):
            raise Unreadable(f"{name}:{line}: {text[at : at + 2]} is not used here: comments begin with #, texts with \"")
        elif text[at] == '"':
            kind, at = "quote", at + 1
            modes.append(["template", 0])
        elif match := IDENTIFIER.match(text, at) or NUMBER.match(text, at):
            kind, at = ("number" if match[0][0].isdigit() else "name"), match.end()
        elif symbol := next((symbol for symbol in SYMBOLS if text.startswith(symbol, at)), None):
            kind, at = symbol, at + len(symbol)
            if modes and symbol == "{":
                modes[-1][1] += 1
            elif modes and symbol == "}":
                if modes[-1][1] == 0:
                    kind = "seqend"
                    modes.pop()
                else:
                    modes[-1][1] -= 1
        else:
            raise Unreadable(f"{name}:{line}: {text[at]!r} is nothing that we know")
        found.append(Token(kind, text[start:at], line, spaces))
    if modes:
        raise Unreadable(f"{name}:{line}: a text does not end")
    return found


@dataclass
class Block:
    """A block with its labels; the body of a file is one without a name."""

    kind: str
    labels: list
    line: int
    attributes: dict = field(default_factory=dict)  # name to the tokens of its value
    blocks: list = field(default_factory=list)

    def each(self, kind):
        return [block for block in self.blocks if block.kind == kind]


def body(text, name):
    """The blocks and attributes of a file."""
    stream = [token for token in tokens(text, name) if token.kind != "comment"]
    root, at = Block("", [], 1), 0
    stack = [root]

    def expect(condition, token, what):
        if not condition:
            raise Unreadable(f"{name}:{token.line}: expected {what}, found {token.text!r}")

    while at < len(stream):
        token = stream[at]
        if token.kind == "newline":
            at += 1
            continue
        if token.kind == "}":
            expect(len(stack) > 1, token, "a block or an attribute")
            stack.pop()
            at += 1
            continue
        expect(token.kind == "name", token, "the name of a block or an attribute")
        at += 1
        if at < len(stream) and stream[at].kind == "=":
            value, depth, at = [], 0, at + 1
            # To the end of the line on which all brackets are closed, or of the block that is on one line.
            while at < len(stream) and (depth or stream[at].kind not in ("newline", "}")):
                depth += (stream[at].kind in OPENERS) - (stream[at].kind in CLOSERS)
                value.append(stream[at])
                at += 1
            expect(value and not depth, token, "a whole value")
            expect(token.text not in stack[-1].attributes, token, "an attribute that is not there yet")
            stack[-1].attributes[token.text] = value
            continue
        labels = []
        while at < len(stream) and stream[at].kind in ("quote", "name"):
            if stream[at].kind == "name":
                labels.append(stream[at].text)
                at += 1
                continue
            expect([token.kind for token in stream[at : at + 3]] == ["quote", "lit", "unquote"], token, "a plain label")
            labels.append(stream[at + 1].text)
            at += 3
        expect(at < len(stream) and stream[at].kind == "{", token, "= or {")
        block = Block(token.text, labels, token.line)
        stack[-1].blocks.append(block)
        stack.append(block)
        at += 1
    if len(stack) > 1:
        raise Unreadable(f"{name}:{stack[-1].line}: the block {stack[-1].kind} does not end")
    return root
