"""Picture files that strangers send: read to the last byte, decoded once, handed on as what was decoded.

Owns what a whole PNG or JPEG file is (`png_file`, `jpeg_file`, `jpeg_scan`) and how its pixels become plain
red, green and blue (`decoding`).  Decoders forgive: they fill what is missing, and engines answer about a
black or blank picture.  So a file is proved whole here before anything decodes it.  Knows neither HTTP nor
engines.
"""

from aiopt.serving.pictures.damage import DamagedPictureError
from aiopt.serving.pictures.decoding import decode_picture, picture_kind, picture_size, warm_decoders

__all__ = ["DamagedPictureError", "decode_picture", "picture_kind", "picture_size", "warm_decoders"]
