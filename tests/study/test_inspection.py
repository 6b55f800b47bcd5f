"""What is gathered of one performer: its scores by coalitions of the groups that have filters."""

import torch

from semquant_book.study import inspection


def test_coalitions_are_of_groups_with_filters_the_unnamed_last(run):
    net, images, measured = run.performer(), run.images("test"), run.measured("test")
    n, groups = measured.x.shape[1], len(images.groups)
    assignment = torch.tensor([(2, -1, groups - 1)[i % 3] for i in range(n)])  # 2, the last one, none
    shown = inspection.Case(net, images, measured, assignment, *[None] * 4)
    found = shown.coalitions([4, 1])
    assert found.shape == (2, 8)
    players = [2, groups - 1, -1]
    for column in range(8):
        here = [players[p] for p in range(3) if column >> p & 1]
        kept = torch.tensor([p in here for p in assignment.tolist()])
        with torch.no_grad():
            wanted = net.head(measured.x[[4, 1]] * kept[:, None, None])[:, 0]
        assert torch.allclose(found[:, column], wanted, atol=1e-5), column
    assert torch.allclose(found[:, -1], measured.yhat[[4, 1]], atol=1e-5)
