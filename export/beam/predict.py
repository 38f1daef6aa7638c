"""Asks a SavedModel about many picture files, by an Apache Beam pipeline.

    python predict.py --model serving/edram/1 --images "photos/*.png" \
        --out answers --bad bad

Needs `apache-beam` and `tensorflow`, and not keras_edram. What is not known
here goes to Beam: `--runner` and the options of runners.
"""

import argparse
import json
import os
import re

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.fileio import EmptyMatchTreatment
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.tfrecordio import ReadAllFromTFRecord
from apache_beam.ml.inference.base import (
    KeyedModelHandler,
    ModelHandler,
    RunInference,
)
from apache_beam.options.pipeline_options import PipelineOptions

BATCH_SIZE = 64
CONTENT = "image/encoded"
NAME = "image/filename"


class SavedModelHandler(ModelHandler):
    """Runs the signature `serving_bytes` of a SavedModel on picture files.

    A file that is no picture fails its whole batch. So such a batch is halved,
    until the file is alone.

    Args:
        path: Path of the folder that has `saved_model.pb`.
        batch_size: Integer, pictures that the model sees at once, at most.

    Returns:
        Of each picture, the dictionary of an answer, or of a `reason`.

    Example:

    >>> handler = SavedModelHandler("serving/edram/1")
    >>> handler.run_inference([picture, b"text"], handler.load_model())
    [{'sequence': '7', ...}, {'reason': 'Unknown image file format. ...'}]
    """

    def __init__(self, path, batch_size=BATCH_SIZE):
        super().__init__(max_batch_size=batch_size)
        self.path = path

    def load_model(self):
        """The SavedModel, once for each process."""
        import tensorflow as tf

        return tf.saved_model.load(self.path)

    def run_inference(self, batch, model, inference_args=None):
        """An answer or a reason for each content of a file in the batch."""
        import tensorflow as tf

        try:
            outputs = model.signatures["serving_bytes"](
                image_bytes=tf.constant(list(batch))
            )
        except tf.errors.InvalidArgumentError as error:
            if len(batch) == 1:
                return [{"reason": _reason(batch[0], error)}]
            half = len(batch) // 2
            return [
                result
                for part in (batch[:half], batch[half:])
                for result in self.run_inference(part, model)
            ]
        return list(_answers(outputs))


def read_images(pipeline, pattern):
    """Reads picture files.

    Args:
        pipeline: `beam.Pipeline`.
        pattern: String, a path with wildcards, on any file system of Beam's.

    Returns:
        `PCollection` of `(path, content)`; the content is empty of a file that
        cannot be opened.
    """
    return (
        pipeline
        | "Find" >> fileio.MatchFiles(pattern, EmptyMatchTreatment.DISALLOW)
        | "Open" >> fileio.ReadMatches()
        | "Read" >> beam.Map(_content_of)
    )


def read_tfrecord(pipeline, pattern):
    """Reads the pictures of TFRecord files: messages `tf.train.Example`.

    Each has the content of a picture file as `image/encoded`, and may have its
    name as `image/filename`; without one it has the name of the TFRecord file.

    Args:
        pipeline: `beam.Pipeline`.
        pattern: String, a path with wildcards, on any file system of Beam's.

    Returns:
        `PCollection` of `(name, content)`; the content is empty when a record
        is no such message.
    """
    return (
        pipeline
        | "Find" >> fileio.MatchFiles(pattern, EmptyMatchTreatment.DISALLOW)
        | "Path" >> beam.Map(lambda metadata: metadata.path)
        | "Read" >> ReadAllFromTFRecord(with_filename=True)
        | "Parse" >> beam.MapTuple(_picture_of_record)
    )


def predict(pictures, model, batch_size=BATCH_SIZE):
    """Asks a model what is in pictures.

    Args:
        pictures: `PCollection` of `(name, content)`.
        model: Path of the SavedModel, the folder that has `saved_model.pb`.
        batch_size: Integer, pictures that the model sees at once, at most.

    Returns:
        Two `PCollection` of dictionaries: answers, with `file`, `sequence`,
        `names`, `probability` and `boxes`; and those files that are no
        pictures, with `file` and `reason`.
    """
    handler = KeyedModelHandler(SavedModelHandler(model, batch_size))
    results = (
        pictures
        | "Ask" >> RunInference(handler)
        | "Name" >> beam.MapTuple(lambda name, found: {"file": name, **found})
    )
    return (
        results | "Answers" >> beam.Filter(lambda row: "reason" not in row),
        results | "Bad" >> beam.Filter(lambda row: "reason" in row),
    )


def run(options, beam_options=None):
    """Reads, asks and writes, until all is done.

    Args:
        options: What the command's own arguments are: `model`, `images` or
            `tfrecord`, `out`, `bad` and `batch_size`.
        beam_options: List of strings, arguments for Beam.
    """
    with beam.Pipeline(options=PipelineOptions(beam_options)) as pipeline:
        if options.images:
            pictures = read_images(pipeline, options.images)
        else:
            pictures = read_tfrecord(pipeline, options.tfrecord)
        answers, bad = predict(pictures, options.model, options.batch_size)
        for name, rows, prefix in (
            ("answers", answers, options.out),
            ("bad", bad, options.bad),
        ):
            _ = (
                rows
                | f"JSON of {name}" >> beam.Map(json.dumps)
                | f"Write {name}" >> beam.io.WriteToText(prefix, ".jsonl")
            )


def _reason(content, error):
    """Why the model could not decode a file."""
    if not content:
        return f"There is no content: an empty file, or no `{CONTENT}`"
    message = error.message
    refusal = re.search(r"assertion failed: \[(.*?)\]", message)
    if refusal:  # in the words of the model
        return refusal[1]
    # Without its notes where in TensorFlow it came about.
    message = re.sub(r"(?s)^.*<stack traces unavailable>", "", message)
    message = re.sub(r"\{\{.*?\}\}|\[\[.*|\[Op:.*?\]", " ", message)
    return " ".join(message.split())


def _answers(outputs):
    """Answers in plain Python values, up to the last object of each."""
    columns = (
        outputs[name].numpy().tolist()
        for name in ("lengths", "names", "probability", "boxes")
    )
    for length, names, probability, boxes in zip(*columns, strict=True):
        names = [name.decode() for name in names[:length]]
        # Names of one letter follow each other closely.
        close = all(len(name) == 1 for name in names)
        yield {
            "sequence": ("" if close else " ").join(names),
            "names": names,
            "probability": probability,
            "boxes": boxes[:length],
        }


def _content_of(file):
    """Name and content of a file."""
    path = file.metadata.path
    try:
        return _name(path), file.read()
    except OSError:  # such as one that others may not read
        return _name(path), b""


def _picture_of_record(path, record):
    """Name and content of a picture in a TFRecord file."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return _name(path), b""

    def value(name):
        values = features[name].bytes_list.value
        return values[0] if values else b""

    name = value(NAME).decode(errors="backslashreplace")
    return name or _name(path), value(CONTENT)


def _name(path):
    """A path as text: in one that is not UTF-8, bytes as `\\xff`."""
    return path.encode(errors="backslashreplace").decode()


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model",
        required=True,
        help="the folder NAME/VERSION that has saved_model.pb",
    )
    pictures = parser.add_mutually_exclusive_group(required=True)
    pictures.add_argument(
        "--images", metavar="GLOB", help="picture files: PNG, JPEG, ..."
    )
    pictures.add_argument(
        "--tfrecord",
        metavar="GLOB",
        help=f"files of tf.train.Example with `{CONTENT}` and `{NAME}`",
    )
    parser.add_argument(
        "--out", required=True, metavar="PREFIX", help="of the answers' files"
    )
    parser.add_argument(
        "--bad",
        required=True,
        metavar="PREFIX",
        help="of the files that list what is no picture, and why",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=BATCH_SIZE,
        help="how many pictures the model sees at once, at most",
    )
    options, beam_options = parser.parse_known_args(arguments)
    wrong = _what_is_wrong(options, beam_options)
    if wrong is not None:
        parser.error(wrong)
    run(options, beam_options)


def _what_is_wrong(options, beam_options):
    """Why the arguments cannot be right, found before anything is done."""
    if options.batch_size < 1:
        return f"--batch-size must be at least 1, not {options.batch_size}"
    parsers = []  # Beam's own, once it has all options
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    _, unknown = parsers[0].parse_known_args(beam_options)
    if unknown:
        return (
            f"neither this program nor Beam knows {' '.join(unknown)} (is a "
            "path with wildcards in quotes?)"
        )
    out, bad = (_absolute(prefix) for prefix in (options.out, options.bad))
    if out == bad:
        return f"--out and --bad must differ: both are {options.out}"
    try:
        if not FileSystems.exists(
            FileSystems.join(options.model, "saved_model.pb")
        ):
            return (
                f"--model must be a folder with saved_model.pb: {options.model}"
            )
        pattern = options.images or options.tfrecord
        if os.path.isdir(pattern):
            return f"{pattern} is a folder: name its files, as {pattern}/*.png"
        (found,) = FileSystems.match([pattern], limits=[1])
        if not found.metadata_list:
            return f"there is no file {pattern}"
    except (BeamIOError, ValueError) as error:
        return f"a path cannot be reached: {error}"
    return None


def _absolute(path):
    is_local = "://" not in path
    return os.path.abspath(path) if is_local else path.rstrip("/")


if __name__ == "__main__":
    main()
