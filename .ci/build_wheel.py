"""Builds the sdist and of it the wheel into a folder, and looks into both."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = CHECKOUT / "keras_edram"
MAX_BYTES = 30_000_000


def expected_files():
    """What the wheel must have: all but the figures of the cards."""
    return {
        path.relative_to(CHECKOUT).as_posix(): path.read_bytes()
        for path in PACKAGE.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and (path.suffix != ".png" or path.name == "example.png")
    }


def main(out):
    """Builds, and exits with a message where something is not as expected."""
    with tempfile.TemporaryDirectory() as folder:
        # Of a copy: the sdist is laid out where it is built, among the files
        # that tests list at the same time.
        copy = pathlib.Path(folder) / "keras_edram"
        shutil.copytree(CHECKOUT, copy, ignore=shutil.ignore_patterns(".*"))
        subprocess.run(
            [sys.executable, "-m", "build", "--outdir", out, copy],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    (sdist,), (wheel,) = (
        list(pathlib.Path(out).glob(pattern))
        for pattern in ("*.tar.gz", "*.whl")
    )
    subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", sdist, wheel],
        check=True,
    )
    with zipfile.ZipFile(wheel) as archive:
        found = {
            name: archive.read(name)
            for name in archive.namelist()
            if ".dist-info/" not in name
        }
    expected = expected_files()
    if found != expected:
        different = {
            name
            for name in found.keys() | expected.keys()
            if found.get(name) != expected.get(name)
        }
        sys.exit(
            f"The wheel must have the package's files, as they are. Received: "
            f"others in {sorted(different)}"
        )
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.1f} MB, {len(found)} files")
    if size > MAX_BYTES:
        sys.exit(f"The wheel must be below {MAX_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main(sys.argv[1])
