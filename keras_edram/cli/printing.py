"""Figures and folders, in words for people."""


def print_run_folder(out):
    """What `train` leaves."""
    print(
        f"In {out}:\n"
        "  model.keras     the model with the lowest validation error\n"
        "  results.json    its figures, and how they came about\n"
        "  history.csv     and history.png: how it learnt\n"
        "  glimpses.png    and glimpses.gif: where it looks\n"
        "  paths.png       the same as paths\n"
        "  heat_map.png    and over many images: does it depend on them?"
    )


def annotations_summary(annotations, problems):
    """What a folder has, in numbers."""
    from keras_edram.datasets.annotation_formats.entries import listed
    from keras_edram.datasets.annotation_formats.yolo import NO_LABEL_FILE

    pictures = annotations.pictures
    objects = [len(picture.labels) for picture in pictures]
    unlabelled = sum(problem.kind == NO_LABEL_FILE for problem in problems)
    broken = sum(problem.broken for problem in problems)
    return (
        f"{objects.count(0):,} pictures without objects, {unlabelled:,} of "
        "them without a label file\n"
        f"{len(pictures):,} pictures, {sum(objects):,} objects of "
        f"{len(annotations.class_names):,} classes "
        f"({listed(annotations.class_names)}), at most "
        f"{max(objects, default='-')} in a picture; "
        f"{broken:,} broken, {len(problems) - broken:,} notes"
    )


def figures_table(figures):
    """Errors in per cent, overlaps and spreads, for people."""
    lines = [
        f"test error     {figures['error']:.2%}   of {figures['images']:,} "
        "images, by the mean of all glimpses"
    ]
    if len(figures["error_by_length"]) > 1:
        by_length = ", ".join(
            f"{error:.2%} of {length}"
            for length, error in figures["error_by_length"].items()
        )
        lines += [
            f"by length      {by_length}",
            f"each object    {_shown('{:.2%}', figures['label_error'])}",
        ]
    refused = ", ".join(
        f"{error:.2%} in {coverage}"
        for coverage, error in figures["error_at_coverage"].items()
    )
    lines += [
        f"of the surest  {refused}",
        f"calibration    {figures['calibration_error']:.3f}   between how sure "
        "it is and how right",
        f"overlap        {_shown('{:.3f}', figures['iou'])}   of the last "
        "window with the true one",
    ]
    if "error_by_glimpse" in figures:
        lines += _glimpse_lines(figures)
    if "anytime" in figures:
        lines += ["", "stops when sure      error    glimpses"]
        lines += [
            f"{row['confidence'] or 'never':>15}   {row['error']:7.2%}   "
            f"{row['glimpses']:5.2f} ({row['share']:.0%})"
            for row in figures["anytime"]
        ]
    return "\n".join(lines)


def _shown(form, figure):
    """A figure in some form, or a dash for one of nothing."""
    return "-" if figure is None else form.format(figure)


def _glimpse_lines(figures):
    """A column for each glimpse at a target."""
    number = len(figures["iou_by_glimpse"])
    lines = [
        f"spread         {figures['spread']:.3f}   of the last window over the "
        "images, which are 2 wide",
        "",
        "glimpses           " + "".join(f"{n + 1:>8}" for n in range(number)),
    ]
    for name, key, form in (
        ("error, alone", "error_by_glimpse", "{:8.2%}"),
        ("error, mean so far", "error_by_average", "{:8.2%}"),
        ("overlap", "iou_by_glimpse", "{:8.3f}"),
        ("spread", "spread_by_glimpse", "{:8.3f}"),
    ):
        if len(figures[key]) == number:
            values = "".join(f"{_shown(form, v):>8}" for v in figures[key])
            lines.append(f"{name:19}{values}")
    return lines
