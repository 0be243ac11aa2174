"""The layout that `terraform fmt` gives a file, for machines without Terraform.

Three rules make it: brackets indent by two spaces; one space or none between tokens; the `=` of attributes on adjacent
lines, and the comments at the ends of such lines, stand below one another. The tests compare the verdict with that of
`terraform fmt` where there is one.
"""

from .hcl import CLOSERS, OPENERS, tokens

BEFORE_NEGATION = {None, "(", "{", "[", "=", ":", ",", "?"}


def problems(text, name):
    """What differs from the layout, a line each."""
    if not text:
        return []
    stream = tokens(text, name)
    lines, rest = [], []
    for token in stream:
        if token.kind == "newline":
            if token.spaces:
                return [f"{name}:{token.line}: spaces at the end of the line"]
            lines.append(rest)
            rest = []
        else:
            rest.append(token)
    if rest:
        return [f"{name}:{rest[-1].line}: the file does not end with a newline"]
    laid_out = _cells([_split(line) for line in lines], _indents(lines))
    found = []
    for number, (line, expected) in enumerate(zip(text.split("\n"), laid_out), 1):
        if line != expected:
            found.append(f"{name}:{number}: expected {expected!r}\n{' ' * len(f'{name}:{number}: ')}found    {line!r}")
    return found + _needless(stream, name)


def _change(token):
    return (token.kind in OPENERS) - (token.kind in CLOSERS)


def _indents(lines):
    """Spaces in front of each line. A line that opens several brackets indents once, and the one that closes them all
    takes that back."""
    indents, opened = [], []
    for line in lines:
        net = sum(map(_change, line))
        closed = max(-net, 0)
        while closed and opened:
            taken = min(closed, opened[-1])
            closed -= taken
            opened[-1] -= taken
            if not opened[-1]:
                opened.pop()
        indents.append(2 * len(opened))
        if net > 0:
            opened.append(net)
    return indents


def _split(line):
    """A line as what stands before its `=`, the rest, and a comment at its end; the first and the last may be all."""
    lead, value, comment = line, None, None
    if len(lead) > 1 and lead[-1].kind == "comment":
        lead, comment = lead[:-1], lead[-1].text
    at = next((at for at, token in enumerate(lead) if at and token.kind == "="), None)
    # A value that goes on in the next line aligns with nothing.
    if at is not None and sum(map(_change, lead[at:])) == 0:
        lead, value = lead[:at], lead[at:]
    return _spaced(lead), None if value is None else _spaced(value), comment


def _cells(lines, indents):
    leads = [" " * indent + lead if lead else "" for (lead, _, _), indent in zip(lines, indents)]
    values = _below(leads, [value for _, value, _ in lines])
    return _below(values, [comment for _, _, comment in lines])


def _below(starts, ends):
    """Starts and ends joined; in each run of lines with an end, the ends begin below one another."""
    joined, run = [], []

    def close():
        width = max((len(start) for start, _ in run), default=0)
        joined.extend(f"{start:{width}} {end}" for start, end in run)
        run.clear()

    for start, end in zip(starts, ends):
        if end is None:
            close()
            joined.append(start)
        else:
            run.append((start, end))
    close()
    return joined


def _spaced(line):
    text = ""
    for at, token in enumerate(line):
        if at and _is_space(line[at - 2].kind if at > 1 else None, line[at - 1], token):
            text += " "
        text += token.text
    return text


def _is_space(before, left, right):
    """Whether a space stands between two tokens of a line; `before` is the kind of the one before them."""
    if left.kind == "name" and right.kind == "(":
        return False
    if "::" in (left.kind, right.kind) or "." in (left.kind, right.kind) or right.kind in (",", "..."):
        return False
    if left.kind == ",":
        return True
    if left.kind in ("quote", "lit") or right.kind in ("lit", "unquote"):
        return False
    if left.text == "in" and before == "name":
        return True
    if right.kind == "[" and (left.kind in ("name", "number") or left.kind in CLOSERS or left.kind == "unquote"):
        # After a text there is a space: an index of a text is not written.
        return left.kind == "unquote"
    if left.kind == "!":
        return False
    if left.kind == "-":
        return before not in BEFORE_NEGATION
    if left.kind == "{" or right.kind == "}":
        return not (left.kind == "{" and right.kind == "}")
    if left.kind == "seqend" and right.kind == "interp":
        return False
    if left.kind == "interp":
        return right.kind == "{"
    if right.kind == "seqend":
        return left.kind == "}"
    return _change(left) <= 0 and _change(right) >= 0


def _needless(stream, name):
    """Texts that are one interpolation and nothing else."""
    found = []
    for at, token in enumerate(stream[:-1]):
        if token.kind == "quote" and stream[at + 1].text == "${":
            depth, end = 1, at + 2
            while depth:
                depth += _change(stream[end])
                end += 1
            if stream[end].kind == "unquote":
                found.append(f"{name}:{token.line}: \"${{…}}\" around the whole value is needless")
    return found
