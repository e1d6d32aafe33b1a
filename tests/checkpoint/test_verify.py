import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from phi4audio_cli.checkpoint import verify
from phi4audio_cli.checkpoint.safetensors_reader import read_header


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from([torch.bfloat16, torch.float32, torch.float64]),
    st.integers(0, 40),
    st.integers(0, 7),
    st.data(),
)
def test_one_changed_bit_at_any_place_is_a_difference(dtype, count, offset, data):
    values = torch.randn(count + offset).to(dtype)
    one, other = values[offset:], values.clone()[offset:]
    assert verify._same_bits(one, other)
    if count:
        at = data.draw(st.integers(0, other.nbytes - 1))
        other.view(torch.uint8)[at] ^= 1
        assert not verify._same_bits(one, other)


def test_bits_are_compared_not_values():
    nan, zero = torch.tensor([float("nan")]), torch.tensor([0.0])
    assert verify._same_bits(nan, nan.clone())
    assert not verify._same_bits(zero, -zero)
    assert not verify._same_bits(zero, zero.double())


def test_the_block_reader_returns_any_number_of_elements(tmp_path, monkeypatch):
    values = torch.arange(100, dtype=torch.int64)
    save_file({"x": values}, tmp_path / "x.safetensors")
    monkeypatch.setattr(verify, "BLOCK_BYTES", 7 * 8)
    reader = verify._BlockReader(read_header(tmp_path / "x.safetensors")["x"])
    assert torch.equal(torch.cat([reader.read(n) for n in (1, 30, 7, 0, 62)]), values)
    assert reader.read(5).numel() == 0
