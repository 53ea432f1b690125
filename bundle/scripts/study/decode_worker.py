"""Decodes compressed frames and pictures in a process of its own, run as a script.

Native decoders see untrusted bytes here: if one crashes, hangs or takes too much memory, this process
dies and the reader refuses the case. It is run by its path and imports nothing of the package, so it starts
in about half a second. A request is a line of JSON, then the bytes of the frame; so is a reply. Of a DICOM
file it sees compressed frames only, never the patient's header.
"""

import json
import os
import sys

ORIENTATION = 0x0112  # of EXIF
ROWS = 256  # of a picture, turned into an array at a time

if __name__ == "__main__":
    if sys.path and os.path.abspath(sys.path[0] or ".") == os.path.dirname(os.path.abspath(__file__)):
        sys.path.pop(0)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def limit_memory(more: int) -> None:
    """Caps the address space at what is in use plus ``more`` bytes, where the system can."""
    try:
        import resource

        with open("/proc/self/statm") as stream:
            used = int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))
    except (ImportError, OSError, ValueError):
        return


def decode_frame(request, data):
    """One DICOM frame: the array and the PhotometricInterpretation that it has now."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(request["syntax"])
    for keyword, value in request["attributes"].items():
        setattr(dataset, keyword, value)
    dataset.PixelData = encapsulate([data])
    dataset["PixelData"].is_undefined_length = True
    if int(pydicom.__version__.split(".")[0]) < 3:
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
        return dataset.pixel_array, dataset.PhotometricInterpretation
    from pydicom.pixels import get_decoder

    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    error = None
    for plugin in ("pylibjpeg", "gdcm", "pyjpegls", "pillow", "pydicom"):
        if plugin in decoder.available_plugins:
            try:
                array, after = decoder.as_array(dataset, index=0, raw=True, decoding_plugin=plugin)
                return array, after["photometric_interpretation"]
            except Exception as problem:
                error = error or problem
    raise error or NotImplementedError("no decoder")


def decode_picture(request):
    """A picture as one would see it, (rows, columns[, 3])."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None
    # opened here: given a path, Pillow maps the pixels of a turned TIFF by the size that they have upright
    with open(request["path"], "rb") as file, Image.open(file, formats=request["formats"]) as image:
        image.seek(request["page"])
        grey = image.mode in request["grey"]
        image.load()  # turns a TIFF by itself
        if image.format != "TIFF":
            # as the header was read, whatever else XMP says; in place, for the picture may be large
            image.getexif()[ORIENTATION] = request["orientation"]
            ImageOps.exif_transpose(image, in_place=True)
        mode = ("L" if image.mode in ("1", "LA", "La") else image.mode) if grey else "RGB"
        upright = image if image.mode == mode else image.convert(mode)
        return to_array(upright), mode


def to_array(image):
    """The pixels of a picture, some rows at a time: of a whole one Pillow makes two copies more."""
    import numpy

    width, height = image.size
    row = numpy.asarray(image.crop((0, 0, width, 1)))
    array = numpy.empty((height, *row.shape[1:]), row.dtype)
    for top in range(0, height, ROWS):
        bottom = min(top + ROWS, height)
        array[top:bottom] = numpy.asarray(image.crop((0, top, width, bottom)))
    return array


def main():
    """Answers requests until the input ends."""
    import warnings

    warnings.simplefilter("ignore")
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    silent = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(silent, number)
    import numpy

    limit = None
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["bytes"])
        try:
            warm_up(request)
            if limit != request["memory"]:
                limit = request["memory"]
                limit_memory(limit)
            array, colour = decode_picture(request) if "path" in request else decode_frame(request, data)
            array = numpy.ascontiguousarray(array)
            reply = {
                "dtype": array.dtype.str,
                "shape": array.shape,
                "colour": str(colour),
                "bytes": array.nbytes,
            }
        except MemoryError:
            array, reply = None, {"error": "it needs more memory than decode_bytes"}
        except Exception as problem:
            array, reply = None, {"error": type(problem).__name__}
        replies.write(json.dumps(reply).encode() + b"\n")
        if array is not None and array.nbytes:
            replies.write(memoryview(array).cast("B"))
        replies.flush()
        array = None


def warm_up(request):
    """Loads the libraries before memory is limited."""
    import importlib

    picture, dicom = ("PIL.Image", "PIL.ImageOps"), ("pydicom", "pydicom.pixels", "gdcm", "openjpeg")
    for name in picture if "path" in request else dicom:
        try:
            importlib.import_module(name)
        except ImportError:
            continue


if __name__ == "__main__":
    main()
