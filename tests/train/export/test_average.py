import pytest
import torch

from router.encoding.torch_encoder import QueryEncoder
from router.errors import UsageError
from train.__main__ import main
from train.export import average


def moved(folder, by):
    encoder = QueryEncoder.from_pretrained(folder)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += by
    return encoder


def test_weights_move_the_share_of_the_way(tiny_encoder):
    start = QueryEncoder.from_pretrained(tiny_encoder)
    before = {name: tensor.clone() for name, tensor in start.named_parameters()}
    mixed = average.average(start, moved(tiny_encoder, 1.0), 0.25)
    for name, tensor in mixed.named_parameters():
        torch.testing.assert_close(tensor, before[name] + 0.25)


def test_a_share_out_of_range_is_refused(tiny_encoder):
    with pytest.raises(UsageError, match="share must lie in 0"):
        average.average(QueryEncoder.from_pretrained(tiny_encoder), moved(tiny_encoder, 1.0), 1.5)


def test_the_command_writes_an_encoder_folder(tiny_encoder, tmp_path, capsys):
    moved(tiny_encoder, 1.0).save_pretrained(tmp_path / "tuned")
    out = tmp_path / "out"
    assert main(["average", str(tiny_encoder), str(tmp_path / "tuned"), "--share", "1", "--out", str(out)]) == 0
    texts = ["write a proof"]
    expected = QueryEncoder.from_pretrained(tmp_path / "tuned").encode(texts)
    torch.testing.assert_close(QueryEncoder.from_pretrained(out).encode(texts), expected)
    assert main(["average", str(tiny_encoder), str(tmp_path / "none"), "--out", str(out)]) == 1
    assert "train: error:" in capsys.readouterr().err
