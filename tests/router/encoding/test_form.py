"""Numbers of form by hand, and at the end of the embeddings of both encoders."""

import shutil

import numpy as np
import pytest
import torch

from router.encoding.form import FORM_NUMBERS, form
from router.encoding.onnx_encoder import OnnxEncoder
from router.encoding.onnx_export import write_graphs
from router.encoding.torch_encoder import QueryEncoder

TEXTS = ["  ab\n\n12\n", "", "\u00e4\u00f6\ud800x", "7"]


def test_form_by_hand():
    # blanks at the ends do not count, blank lines are none
    expected = [[np.log(6), np.log(2), 0.4, 0], [0, 0, 0, 0], [np.log(5), 0, 0, 0.75], [np.log(2), 0, 1, 0]]
    np.testing.assert_allclose(form(TEXTS), expected, rtol=1e-6)
    assert form(TEXTS).dtype == np.float32 and form([]).shape == (0, FORM_NUMBERS)


@pytest.mark.parametrize("make", [QueryEncoder.from_pretrained, OnnxEncoder.from_pretrained])
def test_an_encoder_with_form_appends_it_unscaled(tiny_encoder, tmp_path, make):
    folder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    write_graphs(folder, 512, (2,))
    texts = ["who?", "12\n34 bits, na\u00efve"]
    plain, formed = (make(folder, form=each) for each in (False, True))
    assert formed.dimension == plain.dimension + FORM_NUMBERS
    found = torch.as_tensor(formed.encode(texts))
    assert torch.equal(found[:, :-FORM_NUMBERS], torch.as_tensor(plain.encode(texts)))
    assert torch.equal(found[:, -FORM_NUMBERS:], torch.from_numpy(form(texts)))


def test_a_wrapper_is_no_part_of_the_form():
    assert form(['{"prompt": "12 bits?"}', "```text\n12 bits?\n```"]).tolist() == form(["12 bits?"] * 2).tolist()
