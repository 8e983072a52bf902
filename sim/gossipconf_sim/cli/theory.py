"""What theory says of a run of a round model, to stand beside what was measured.

Times until all know, on N nodes where a round multiplies those who know by 1 + a while
they are few, and divides those who do not by exp(d) once they are few: log_{1+a} N +
ln N / d, up to an additive constant (Doerr and Kostrygin, *Randomized Rumor Spreading
Revisited*, 2017, for these protocols, lost messages and several calls). With fanout k
and of each message the share q = 1 - loss arriving, a call as well as its answer:

- push: a = kq, d = kq (Pittel 1987, with k = q = 1: log2 N + ln N);
- pull: a = kq², d = -k ln(1 - q²); nothing lost, those who do not know fall from u to
  u^(k+1), which takes log_{k+1} ln N rounds;
- push-pull: both together (Karp et al. 2000: log3 N + O(ln ln N)).

Rumours that lose interest leave a share s of nodes unaware. With traffic m, of which
all copies go to uniform nodes, s = exp(-mq) (Demers et al. 1987, with q = 1).

Knows the figures of a run and no numpy; where nothing is known in closed form, says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..rounds import RoundsResult

EULER_GAMMA: Final = 0.577_215_664_901_532_9

HARMONIC_TERMS: Final = 100
"""Up to here harmonic numbers are summed; beyond, their expansion is exact to 10 digits."""

FIXED_POINT_STEPS: Final = 10_000
"""The residue of a coin converges by a factor each step that comes near 1 only where rumours hardly spread."""

WAYS: Final = {"push": (True, False), "pull": (False, True), "push-pull": (True, True)}
"""Name to (pushes, pulls), of the models that go on until all nodes know."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A figure by theory: its value, and the formula that gives it with this run's numbers in it."""

    value: float
    formula: str


def expectations(result: RoundsResult) -> dict[str, Expectation]:
    """By the name of a figure (`rounds` is their mean) what theory says of it; only of some, for any model."""
    match result.algorithm:
        case "push" | "pull" | "push-pull":
            rounds = spreading_rounds(result.algorithm, result.nodes, result.fanout, result.loss)
            return {"rounds": rounds, "t_last": rounds, **_spreading_traffic(result)}
        case "median-counter":
            return _median_counter(result)
        case "asynchronous-push-pull":
            time = asynchronous_time(result.nodes, result.loss)
            return {"rounds": time, "t_last": time}
        case "push-feedback-counter":
            arriving = result.traffic * (1 - result.loss)
            return {"residue": Expectation(exp(-arriving), f"exp(-{arriving:.3g}): the copies that arrive, by node")}
        case "push-blind-coin":
            return blind_coin(result.patience or 1, result.loss)
        case _:
            return {}


def least_rounds(nodes: int, fanout: int) -> int:
    """The rounds that nobody can beat if a node sends at most `fanout` copies a round: ⌈log_{fanout+1} nodes⌉."""
    rounds, reached = 0, 1
    while reached < nodes:
        rounds, reached = rounds + 1, reached * (fanout + 1)
    return rounds


def spreading_rounds(algorithm: str, nodes: int, fanout: int, loss: float) -> Expectation:
    """Rounds until all know, by one of WAYS; less an additive constant, which grows with the loss."""
    pushes, pulls = WAYS[algorithm]
    arrives = 1 - loss
    answered = arrives**2
    base = 1 + fanout * (arrives * pushes + answered * pulls)
    growth = log(nodes) / log(base)
    iterated = max(0.0, log(log(nodes)) / log(fanout + 1))
    if pulls and answered == 1:
        return Expectation(growth + iterated, f"log{base:.3g} N + log{fanout + 1} ln N + O(1)")
    decay = fanout * (arrives * pushes - (log(1 - answered) if pulls else 0.0))
    end = log(nodes) / decay
    if pulls and iterated > end:  # a loss so small that the few who are left hardly meet it
        return Expectation(growth + iterated, f"log{base:.3g} N + log{fanout + 1} ln N + O(1)")
    shown = f" / {decay:.3g}" if decay != 1 else ""
    return Expectation(growth + end, f"log{base:.3g} N + ln N{shown} + O(1)")


def asynchronous_time(nodes: int, loss: float) -> Expectation:
    """The exact mean time of asynchronous push-pull, in mean ticks of a node (Boyd et al. 2006)."""
    arrives = 1 - loss
    rate = (arrives + arrives**2) / 2
    shown = f" / {rate:.3g}" if loss else ""
    value = (nodes - 1) / nodes * _harmonic(nodes - 1) / rate
    return Expectation(value, f"(1 - 1/N) H(N-1){shown}, exactly; H(n) = 1 + 1/2 + … + 1/n")


def blind_coin(patience: int, loss: float) -> dict[str, Expectation]:
    """Residue and traffic of push-blind-coin, for many nodes.

    Every node that learns sends `patience` copies on average. A rumour that takes hold
    leaves the s of s = exp(-kq(1 - s)); with lost messages it may end before it does, as
    the branching process of geometric offspring with mean kq.
    """
    arriving = patience * (1 - loss)
    if arriving <= 1:
        return {"residue": Expectation(1.0, "no node's copies reach more than one other: it dies out")}
    lasting = exp(-arriving)
    for _ in range(FIXED_POINT_STEPS):
        lasting = exp(-arriving * (1 - lasting))
    survives = (arriving - 1) / ((patience - 1) * (1 - loss))
    residue = 1 - survives * (1 - lasting)
    formula = f"s = exp(-{arriving:.3g} (1 - s))"
    if loss:
        formula += f" of the {survives:.0%} of rumours that take hold, 1 of the others"
    return {
        "residue": Expectation(residue, formula),
        "traffic": Expectation(patience * (1 - residue), f"{patience} (1 - residue)"),
    }


def _spreading_traffic(result: RoundsResult) -> dict[str, Expectation]:
    nodes, fanout, arrives = result.nodes, result.fanout, 1 - result.loss
    shown = f" / {arrives:.3g}" if result.loss else ""
    if result.algorithm == "push" and fanout <= log(nodes):  # beyond, the last round alone sends more than this
        return {"traffic": Expectation(log(nodes) / arrives, f"ln N{shown} + O(1): coupon collector")}
    if result.algorithm == "pull" and fanout == 1:
        return {"traffic": Expectation((1 - 1 / nodes) / arrives, f"(1 - 1/N){shown}, exactly: one copy to each")}
    return {}


def _median_counter(result: RoundsResult) -> dict[str, Expectation]:
    """It spreads as push-pull does; then a node in B or C has 2k calls a round, for about ctr_max rounds in each."""
    patience = result.patience or 0
    return {
        "t_last": spreading_rounds("push-pull", result.nodes, result.fanout, result.loss),
        "traffic": Expectation(
            4.0 * result.fanout * patience, f"{2 * result.fanout} copies a round for {2 * patience} rounds"
        ),
        "residue": Expectation(0.0, "0 with high probability"),
    }


def _harmonic(number: int) -> float:
    if number <= HARMONIC_TERMS:
        return sum(1 / term for term in range(1, number + 1))
    return log(number) + EULER_GAMMA + 1 / (2 * number) - 1 / (12 * number**2)
