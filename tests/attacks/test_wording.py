from __future__ import annotations

from attacks.wording import p_equals, percent, plural


def test_one_is_not_plural() -> None:
    assert [plural(n, "member") for n in (0, 1, 1200)] == ["0 members", "1 member", "1,200 members"]


def test_small_p_values_are_a_bound() -> None:
    assert [p_equals(p) for p in (1.0, 0.0234, 1e-4, 4.3e-5, 0.0)] == [
        "p = 1",
        "p = 0.023",
        "p = 0.0001",
        "p < 0.0001",
        "p < 0.0001",
    ]


def test_percent() -> None:
    assert percent(0.02619) == "2.62 %"
