"""What a file is that is none of what was asked for, by its first bytes."""

import re

# How many of them `found` needs.
HEAD = 512
# Beginnings, none of which a pickle can have: either no instruction stands there, or one that needs others before it.
_STARTS = (
    (b"PK\x03\x04", "a zip archive (.npz, or a torch checkpoint)"),
    (b"\x93NUMPY", "a .npy file"),
    (b"version https://git-lfs", "a Git LFS pointer (the file itself was not downloaded)"),
    (b"HIERARCHY", "a BVH file (motion capture)"),
    (b"MATLAB 5.0 MAT-file", "a MAT file (MATLAB)"),
    (b"MATLAB 7.3 MAT-file", "a MAT file (MATLAB 7.3, HDF5)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"Kaydara FBX Binary", "an FBX file"),
    (b"; FBX", "an FBX file"),
    (b"glTF", "a glTF file (.glb)"),
    (b"PathFileType", "an OpenSim file (.trc)"),
    (b"ply\n", "a PLY file (mesh)"),
    (b"ply\r\n", "a PLY file (mesh)"),
    (b"solid ", "an STL file (mesh)"),
    (b"#usda", "a USD file"),
    (b"PXR-USDC", "a USD file"),
    (b"BLENDER", "a Blender file"),
    (b"%PDF", "a PDF file"),
    (b"%YAML", "a YAML file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"RIFF", "an AVI film or WAV sound"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM film"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"<!DOCTYPE html", "a web page (a download that was refused?)"),
    (b"<?xml", "an XML file"),
    (b"<", "a web page or XML file (a download that was refused?)"),
)
# Instructions that pickles of protocol 0 start with.
_TEXT_STARTS = tuple(bytes([code]) for code in b"(cilSVLIFN]})")
_NAMES = re.compile(rb"[\x80-\xff(]|[ci][\w.]+(?:\r?\n|\Z)")
_TEXT = re.compile(r"[^\x00-\x08\x0e-\x1f\x7f]*")


def found(head: bytes) -> str | None:
    """What the file is, such as "a BVH file", with an article; None where the bytes say nothing.

    Args:
      head: the first `HEAD` bytes, or all where there are fewer.
    """
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[4:8] == b"ftyp" and not head[0]:
        return "an MP4 or QuickTime film"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[4:10] == b'\0\0\0\0{"':
        return "a safetensors file"
    if head[:2] == b"\x02P":
        return "a C3D file (motion capture)"
    stripped = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if stripped.upper().startswith(b"HIERARCHY"):
        return "a BVH file (motion capture)"
    return "a JSON file" if re.match(rb'[{\[]\s*(["\[{\]}\d-]|true|false|null|$)', stripped) else None


def found_text(head: bytes, ended: bool = False, unsafe: bool = False) -> str | None:
    """As `found`, for what could also be a pickle of protocol 0 by its looks: to be asked once it is none.

    Args:
      head: as there.
      ended: as a pickle, it ended too early; so does a truncated one, unless it starts as only binary pickles do.
      unsafe: as a pickle, it asked for a name; so does a hostile one, whose first lines are names.
    """
    if (ended and head[:1] in _TEXT_STARTS) or (unsafe and _NAMES.match(head)):
        return None
    try:
        decoded = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The head may end within a character.
        if error.start < len(head) - 3 or len(head) < HEAD:
            return None
        decoded = head[: error.start].decode("utf-8")
    if not decoded.strip() or not _TEXT.fullmatch(decoded):
        return None
    lines = decoded.splitlines()[:5]
    if len(lines) > 1 and "," in lines[0] and lines[0].count(",") == lines[1].count(","):
        return "a table of text (CSV)"
    return "a text file"
