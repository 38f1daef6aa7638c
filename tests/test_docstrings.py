"""The examples in the docstrings run, and give what they say."""

import ast
import doctest
import importlib

import keras
import numpy as np
import pytest

from keras_edram import EDRAM, geometry

MODULES = (
    "datasets.random_sequence",
    "datasets.augmented_images",
    "datasets.cluttered_mnist",
    "datasets.digits",
    "geometry",
    "layers.spatial_transformer_attention",
    "layers.retina_glimpse",
    "layers.conv_lstm_core",
    "layers.stepwise_batch_normalization",
    "reading",
    "models.edram",
    "models.glimpse_loop",
    "models.transfer",
    "models.ram",
    "models.baselines",
    "losses",
    "reinforce",
    "metrics",
    "decoding",
)


def public(module):
    """Names and values of what a module defines, itself and in public."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    }


def documented(name, value):
    """The value and its methods, with their names."""
    yield name, value
    if isinstance(value, type):
        for member in vars(value):
            if not member.startswith("_"):
                yield f"{name}.{member}", getattr(value, member)


def collect():
    names = dict(keras=keras, ops=keras.ops, np=np, geometry=geometry)
    examples = []
    for path in MODULES:
        module = importlib.import_module(f"keras_edram.{path}")
        members = public(module)
        names.update(members)
        for member, value in members.items():
            for name, part in documented(member, value):
                lines = doctest.DocTestParser().get_examples(part.__doc__ or "")
                if lines:
                    examples.append(pytest.param(lines, id=f"{path}.{name}"))
    return names, examples


NAMES, EXAMPLES = collect()


def evaluate(source, names):
    """The value of a line, `None` if it is a statement."""
    try:
        code = compile(source.strip(), "<example>", "eval")
    except SyntaxError:
        exec(compile(source, "<example>", "exec"), names)
        return None
    return eval(code, names)


def plain(value):
    """Tensors and shapes as nested lists, to compare with what is printed."""
    if hasattr(value, "as_list"):  # a shape of TensorFlow
        return value.as_list()
    if keras.ops.is_tensor(value):
        return keras.ops.convert_to_numpy(value).tolist()
    return value


@pytest.mark.parametrize("lines", EXAMPLES)
def test_the_example_gives_what_it_says(lines):
    sources = "".join(line.source for line in lines)
    if "from_preset" in sources and not EDRAM.presets:
        pytest.skip("no presets yet")
    names = dict(NAMES)
    for line in lines:
        value = evaluate(line.source, names)
        if line.want:
            expected = ast.literal_eval(line.want.strip())
            assert value is not None, f"{line.source!r} gives nothing"
            assert np.shape(plain(value)) == np.shape(expected)
            if np.asarray(expected).dtype.kind in "US":
                np.testing.assert_array_equal(value, expected)
            else:
                np.testing.assert_allclose(plain(value), expected, rtol=1e-6)


def test_every_public_object_has_an_example():
    found = {param.id.rsplit(".", 1)[-1] for param in EXAMPLES}
    # Records that the models fill, a check of arguments, and a function of one
    # line.
    exempt = {"ImagePyramid", "EDRAMState", "RAMState", "Decision"}
    exempt |= {"pixel_centres"}
    # What the datasets share among each other.
    exempt |= {"Digits", "read_tfds", "part_of_split", "split_seed"}
    exempt |= {"transform_rows", "windows"}
    exempt |= {"Reading"}  # a record, too
    assert set(NAMES) - found - exempt == {"keras", "ops", "np", "geometry"}
