"""Figures and animations of where a model looked, and of how it learnt."""

from keras_edram.visualization.contact_sheet import plot_contact_sheet
from keras_edram.visualization.curves import (
    plot_anytime,
    plot_costs,
    plot_coverage,
    plot_curves,
    plot_error_per_glimpse,
    plot_history,
)
from keras_edram.visualization.glimpses import (
    animate_glimpses,
    plot_glimpses,
    plot_heat_map,
    plot_paths,
)

__all__ = [
    "animate_glimpses",
    "plot_anytime",
    "plot_contact_sheet",
    "plot_costs",
    "plot_coverage",
    "plot_curves",
    "plot_error_per_glimpse",
    "plot_glimpses",
    "plot_heat_map",
    "plot_history",
    "plot_paths",
]
