"""Checks of the arguments that models are made with."""


def check_integer(value, name, minimum=1):
    """Raises unless `value` is an integer of at least `minimum`."""
    if not isinstance(value, int) or value < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. "
            f"Received: {name}={value!r}"
        )


def check_integers(values, length, name):
    """Raises unless `values` are positive integers, `length` if it is given."""
    if (
        not isinstance(values, (tuple, list))
        or (length is not None and len(values) != length)
        or not all(isinstance(value, int) and value > 0 for value in values)
    ):
        number = "" if length is None else f"{length} "
        raise ValueError(
            f"`{name}` must be {number}positive integers. "
            f"Received: {name}={values!r}"
        )


def check_choice(value, choices, name):
    """Raises unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {choices}. Received: {name}={value!r}"
        )


def check_class_names(names, number):
    """The names as a tuple, or `None`; raises unless they are `number`."""
    if names is None:
        return None
    names = tuple(names)
    if (
        len(names) != number
        or len(set(names)) != number
        or not all(isinstance(name, str) and name for name in names)
    ):
        raise ValueError(
            "`class_names` must be a different string for each of the "
            f"{number} classes of objects. Received: class_names={names!r}"
        )
    return names
