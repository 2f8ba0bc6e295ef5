"""Files appear whole or not at all."""

import pytest

from etlab.atomic import replacing


def test_a_file_takes_its_place_when_it_is_whole(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with replacing(tmp_path / "a.txt") as part:
        part.write_text("new")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_or_an_interrupt_all_is_as_before(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(error), replacing(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise error
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "old"}
