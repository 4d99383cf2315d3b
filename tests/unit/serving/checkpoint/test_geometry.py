from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from aiopt.errors import DataError
from aiopt.serving.checkpoint.geometry import (
    GEOMETRY_FILE,
    ImageGeometry,
    check_picture,
    read_geometry,
    trained_geometry,
    write_geometry,
)
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.serving.checkpoint.validation import CheckpointError, validate


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return build_checkpoint(tmp_path / "tiny", seed=1)


def test_the_geometry_is_the_image_processors(tiny: Path) -> None:
    assert read_geometry(tiny) == ImageGeometry(slice_mode=False, max_slice_nums=1)
    assert trained_geometry(tiny) is None


def test_what_is_written_is_read_and_lies_in_every_file(tiny: Path) -> None:
    wanted = ImageGeometry(
        scale_resolution=224, slice_mode=False, max_slice_nums=1, picture_sizes=((480, 320),)
    )
    write_geometry(tiny, wanted)
    assert read_geometry(tiny) == trained_geometry(tiny) == wanted
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        assert json.loads((tiny / name).read_text())["scale_resolution"] == 224
    assert validate(tiny).images


def test_inside_processor_config_it_is_written_too_and_wins(tiny: Path) -> None:
    (tiny / "processor_config.json").write_text(
        json.dumps({"processor_class": "MiniCPMV4_6Processor", "image_processor": {"scale_resolution": 448}})
    )
    assert read_geometry(tiny).slice_mode is True, "absent keys are transformers' defaults"
    write_geometry(tiny, ImageGeometry(scale_resolution=224))
    assert (
        json.loads((tiny / "processor_config.json").read_text())["image_processor"]["scale_resolution"] == 224
    )


def test_a_trained_checkpoint_with_another_geometry_is_refused(tiny: Path) -> None:
    write_geometry(tiny, ImageGeometry(scale_resolution=224, slice_mode=False, max_slice_nums=1))
    path = tiny / "preprocessor_config.json"
    path.write_text(path.read_text().replace("224", "448"))
    with pytest.raises(
        CheckpointError, match=r"says scale_resolution 448, .* its training, scale_resolution 224"
    ):
        validate(tiny)


def test_values_of_the_wrong_kind_are_named(tiny: Path) -> None:
    (tiny / "preprocessor_config.json").write_text('{"scale_resolution": "large"}')
    with pytest.raises(CheckpointError, match="scale_resolution"):
        read_geometry(tiny)


def test_without_an_image_processor_there_is_no_geometry(tmp_path: Path) -> None:
    text = build_checkpoint(tmp_path / "text", seed=1, kind="text")
    with pytest.raises(CheckpointError, match=r"must bring preprocessor_config\.json"):
        read_geometry(text)
    with pytest.raises(CheckpointError, match="no image processor to write"):
        write_geometry(text, ImageGeometry())
    assert not (text / GEOMETRY_FILE).exists()


def test_pictures_of_another_size_are_refused_where_sizes_are_known() -> None:
    known = ImageGeometry(picture_sizes=((480, 320), (600, 400)))
    check_picture(known, 600, 400, where="row 0")
    with pytest.raises(DataError, match=r"row 3: .* 480×320, 600×400, but this one is 320×480"):
        check_picture(known, 320, 480, where="row 3")
    check_picture(msgspec.structs.replace(known, picture_sizes=()), 1, 1, where="row 0")
