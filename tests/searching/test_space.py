"""The space of a search."""

import optuna
import pytest

from vae_lightning.errors import ConfigError
from vae_lightning.searching.space import Parameter, parse_space, searched


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("a.b=interval(0.1,2)", Parameter("a.b", (), 0.1, 2.0)),
        ("a.b=tag(log, interval(1e-4, 1e-2))", Parameter("a.b", (), 1e-4, 1e-2, log=True)),
        ("a=int(interval(2,64))", Parameter("a", (), 2, 64, step=1)),
        ("a=tag(log, int(interval(2,64)))", Parameter("a", (), 2, 64, step=1, log=True)),
        ("a=range(8,65,8)", Parameter("a", (), 8, 64, step=8)),
        ("model/prior=choice(vamp,mixture)", Parameter("model/prior", ("vamp", "mixture"))),
        ("a.hidden=[200],[400,400]", Parameter("a.hidden", ("[200]", "[400,400]"))),
        ("a=range(0,1,0.25)", Parameter("a", ("0.0", "0.25", "0.5", "0.75"))),
    ],
)
def test_a_parameter_is_written_as_on_the_command_line_of_hydra(
    text: str, parameter: Parameter
) -> None:
    assert parse_space([text]) == [parameter]
    assert searched([text, "seed=0", "b=[1,2]"]) == [text]


def test_values_are_those_of_the_space_and_short() -> None:
    texts = (
        "lr=tag(log, interval(1e-4, 1e-2))",
        "dim=range(8,65,8)",
        "wide=interval(1.00009,1.0001)",
    )
    space = parse_space([*texts, "prior=vamp,mixture"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = [[one.suggest(study.ask()) for one in space] for _ in range(50)]
    rates, dims, wide, priors = zip(*seen, strict=True)
    assert all(1e-4 <= float(rate) <= 1e-2 and len(rate) <= 9 for rate in rates)
    assert sum(float(rate) < 1e-3 for rate in rates) > 15  # log
    assert set(dims) == {str(dim) for dim in range(8, 65, 8)}
    assert all(1.00009 <= float(value) <= 1.0001 for value in wide)
    assert set(priors) == {"vamp", "mixture"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "the space of the search is empty"),
        (["lr=0.1"], "lr=0.1 is one value: give a range or choice"),
        (["lr=interval(2,1)"], r"lr=interval\(2,1\) is empty"),
        (["lr=tag(log,interval(0,1))"], "its ends have to be above 0"),
        (["lr=tag(log,choice(1,2))"], "only an interval can be on a logarithmic scale"),
        (["lr=range(3,3)"], "is a search over no values"),
        (["lr=interval(1"], r"lr=interval\(1 cannot be read"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_space(texts)
