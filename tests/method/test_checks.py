import pytest
import torch

from semquant.checks import InputError, check_finite, check_not_negative, check_shapes, one_of


def test_shapes_that_fit_give_the_axes_lengths():
    sizes = check_shapes(y=(torch.zeros(2, 3), "B n"), yhat=(torch.zeros(2), "B"))
    assert sizes == {"B": 2, "n": 3}


@pytest.mark.parametrize(
    "yhat, message",
    [
        (torch.zeros(3), "yhat: shape (3,) is not (B) with B = 2"),
        (torch.zeros(2, 1), "yhat: shape (2, 1) is not (B)"),
        ([1.0, 2.0], "yhat: list is not a tensor of shape (B)"),
    ],
)
def test_shapes_that_do_not_fit_are_told_in_one_line(yhat, message):
    with pytest.raises(InputError) as error:
        check_shapes(y=(torch.zeros(2, 3), "B n"), yhat=(yhat, "B"))
    assert str(error.value) == message


def test_values():
    check_finite(x=torch.ones(3), w=None)
    check_not_negative(w=torch.zeros(3))
    with pytest.raises(InputError, match="^x: 2 of 3 values are NaN or infinite$"):
        check_finite(x=torch.tensor([1.0, float("nan"), float("inf")]))
    with pytest.raises(InputError, match="^w: smallest value -1 is not"):
        check_not_negative(w=torch.tensor([1.0, -1.0]))
    with pytest.raises(InputError, match="^w: "):
        check_not_negative(w=torch.tensor([1.0, float("nan")]))


def test_of_a_long_list_the_nearest_three_are_told():
    accepted = [f"name {i}" for i in range(1000)]
    assert one_of("name", "name 7", accepted) == "name 7"
    with pytest.raises(InputError) as error:
        one_of("name", "nam 77", accepted)
    line, near = str(error.value).split("; the nearest are ")
    assert line == "name: 'nam 77' is not one of 1000 names"
    assert near.split(", ")[0] == "name 77" and len(near.split(", ")) == 3
