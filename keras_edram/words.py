"""Names of files, letters and lists as people can read them."""

import pathlib
import unicodedata

# Names in one line, at most.
LISTED_AT_MOST = 10
# Categories of letters: control, half of one, the end of a line.
INVISIBLE = ("Cc", "Cs", "Zl", "Zp")


def as_text(name):
    """The name of a file as text, with escapes for what in it is not UTF-8.

    Example:

    >>> as_text("a" + chr(0xDCFF))
    'a\\\\udcff'
    """
    return str(name).encode(errors="backslashreplace").decode()


def printable(text):
    """The text on one line: what cannot be shown is written as its number.

    Example:

    >>> printable("a" + chr(10) + "b.png")
    'a\\\\nb.png'
    """
    return "".join(
        letter if is_visible(letter) else _number(letter)
        for letter in str(text)
    )


def listed(names, most=LISTED_AT_MOST):
    """Names in one line, of many the first few and how many more.

    Args:
        names: Strings.
        most: Integer, how many are named. Defaults to 10.

    Returns:
        String, `"-"` if there are none.

    Example:

    >>> listed(["bolt", "nut", "pin"], 2)
    'bolt, nut, ... and 1 more'
    """
    names = [printable(name) for name in names]
    if len(names) > most:
        names[most:] = [f"... and {len(names) - most:,} more"]
    return ", ".join(names) or "-"


def relative_name(path, directory):
    """The path as a string, from the folder on if it lies in there.

    Example:

    >>> relative_name("my_photos/new/a.png", "my_photos")
    'new/a.png'
    """
    try:
        name = pathlib.Path(path).relative_to(directory).as_posix()
    except (TypeError, ValueError):  # no folder, or another one
        name = str(path)
    return printable(name)


def is_visible(letter):
    """Whether a letter can be told from nothing, and stays on its line.

    Example:

    >>> is_visible("a"), is_visible(chr(10))
    (True, False)
    """
    category = unicodedata.category(letter)
    return category not in INVISIBLE and letter not in "\u200b\ufeff"


def _number(letter):
    # A byte of a name that is not UTF-8, which Python has as half a letter.
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()
