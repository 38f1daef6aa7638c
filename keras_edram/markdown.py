"""Tables in Markdown."""


def table(columns, rows):
    """A table in Markdown.

    Args:
        columns: Strings, the headings.
        rows: Sequences of strings, one cell a heading.

    Returns:
        String, a line for the headings, one below them and one a row.

    Example:

    >>> print(table(["model", "error"], [["`mnist_ram`", "1.46%"]]))
    | model | error |
    | --- | --- |
    | `mnist_ram` | 1.46% |
    """
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
