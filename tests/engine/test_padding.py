"""What stands in the padding of a pass changes nothing: neither a result nor a gradient, were it not even a number."""

import torch

from training.engine.packing import Tokens, from_rows, make_pass, to_rows

SEQUENCES = [Tokens([1, 2, 3], [4]), Tokens([1, 2, 3], [5, 6, 7, 8, 9]), Tokens([7], [8, 9])]


def test_nan_in_the_padding_changes_no_result_and_no_gradient() -> None:
    rows = make_pass(SEQUENCES, torch.device("cpu")).rows
    is_token_F = torch.zeros(rows.source_BS.numel(), dtype=torch.bool)
    for places in (rows.place_T, *(place_MK.flatten() for _, place_MK in rows.copies)):
        is_token_F[places] = True
    is_token_BS1 = is_token_F.view(*rows.source_BS.shape, 1)
    assert int((~is_token_F).sum()) == 4 + 5  # the width is 8, the rows have 4, 8 and 3 tokens

    def measured(padding: float) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        value_TX = torch.randn(len(rows.place_T), 5, generator=generator, requires_grad=True)
        spread_BSX = torch.where(is_token_BS1, to_rows(value_TX, rows), padding)
        taken_TX = from_rows(spread_BSX.sin(), rows)
        (grad_TX,) = torch.autograd.grad(taken_TX.square().sum(), value_TX)
        return taken_TX.detach(), grad_TX

    plain, planted = measured(0.0), measured(torch.nan)
    assert torch.isfinite(plain[0]).all()
    assert plain[1].abs().max() > 0
    assert torch.equal(plain[0], planted[0])
    assert torch.equal(plain[1], planted[1])
