"""What code says: its strings, with something filled in for what it does not know before."""

import ast
from collections.abc import Sequence


def spoken(node: ast.AST, counts: Sequence[str]) -> str:
    """A string, "" for anything else. What is filled in is a whole number where it is code that names one of counts."""
    if isinstance(node, ast.JoinedStr):
        return "".join(spoken(part, counts) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        if node.format_spec:
            form = ast.unparse(node.format_spec)
            return "1,234" if "," in form else "0.5%" if "%" in form else "0.5"
        return "7" if any(word in ast.unparse(node) for word in counts) else "field"
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
