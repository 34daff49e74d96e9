"""The metrics of a CVSS 4.0 vector in, its score out.

https://www.first.org/cvss/v4.0/specification-document section 8: a vector belongs to one of 270 classes ("MacroVectors") that
experts have scored; within a class, the score falls with the distance from the class's worst vectors, in the direction of the
next milder classes.

Version 4 has one formula for whatever metrics a vector states, and those that publish threat metrics (E:P, E:U) rate by them: of
25 such vectors beside a word in OSV's Bitnami data, the whole vector agrees with all, the base metrics with eight.
So every metric that is stated counts; one that is not stated, or X, counts as the worst.

The scores of the classes are the data of FIRST's reference calculator (https://github.com/FIRSTdotorg/cvss-v4-calculator),
published under the BSD 2-Clause licence (cvss4.LICENSE.txt): Copyright FIRST, Red Hat, and contributors.
"""

from __future__ import annotations

from pratique.model.errors import ParseError

# Scores in tenths. A line is a class of (EQ1, EQ2, EQ3 with EQ6): 3 x 2 x 5 of them; in it EQ4 x EQ5, 3 x 3.
_TENTHS = """
    100  98  95 100  93  91  93  89  81
     99  95  92  96  87  81  90  80  68
     98  95  90  93  89  81  88  78  69
     95  92  84  92  81  65  80  70  48
     92  82  72  79  69  50  69  55  27
     99  95  92  95  90  84  92  82  72
     97  92  85  91  83  71  81  71  53
     95  92  85  92  80  70  84  71  50
     93  85  73  82  72  59  70  52  30
     86  75  52  71  52  29  63  29  17
     98  94  91  94  86  77  87  74  63
     95  87  81  89  74  64  75  63  49
     94  88  76  86  74  59  72  57  52
     89  77  67  76  58  50  57  52  25
     83  70  54  65  58  26  53  21  13
     95  88  76  90  75  61  77  68  52
     90  76  70  77  62  53  66  59  30
     89  76  62  74  57  47  61  57  24
     78  67  58  59  57  23  52  29  16
     71  59  30  58  26  15  23  13   6
     93  86  75  86  74  56  70  52  40
     87  72  58  74  61  34  54  40  22
     85  74  62  72  55  46  53  34  19
     75  55  51  57  41  19  36  19   8
     64  51  20  47  21  11  24   9   4
     88  73  60  73  59  41  54  45  20
     75  53  50  55  40  20  43  22  11
     75  58  40  61  48  20  46  17   8
     55  45  21  51  18   9  18   7   2
     53  24  14  24  12   5  10   3   1
"""

_LEVELS = {
    "AV": "NALP", "PR": "NLH", "UI": "NPA", "AC": "LH", "AT": "NP",
    "VC": "HLN", "VI": "HLN", "VA": "HLN", "CR": "HML", "IR": "HML", "AR": "HML",
    "SC": "SHLN", "SI": "SHLN", "SA": "SHLN", "E": "APU",
}  # fmt: skip
_BASE = ("AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA")
# Safety is no value of the base metrics; the modified ones of subsequent systems have it.
_MODIFIED = {f"M{name}": _LEVELS[name] if name in ("SI", "SA") else _LEVELS[name].lstrip("S") for name in _BASE}
_STATED = {name: levels.lstrip("S") for name, levels in _LEVELS.items()}
# Supplemental metrics say something to people and never change a score.
_SUPPLEMENTAL = {"S": ("N", "P"), "AU": ("N", "Y"), "R": ("A", "U", "I"), "V": ("D", "C"), "RE": ("L", "M", "H")}
_URGENCY = ("Clear", "Green", "Amber", "Red")

# The metrics of each direction, and the worst vectors of each of its classes (tables 24 to 30), a letter a metric; then the
# depth of the class: steps from its worst to its mildest vector, and one.
_EXPLOITABILITY = ("AV", "PR", "UI")
_COMPLEXITY = ("AC", "AT")
_VULNERABLE = ("VC", "VI", "VA", "CR", "IR", "AR")
_SUBSEQUENT = ("SC", "SI", "SA")
_EQ1 = ((("NNN",), 1), (("ANN", "NLN", "NNP"), 4), (("PNN", "ALP"), 5))
_EQ2 = ((("LN",), 1), (("HN", "LP"), 2))
_EQ36 = (
    (("HHHHHH",), 7),
    (("HHLMMH", "HHHMMM"), 6),
    (("LHHHHH", "HLHHHH"), 8),
    (("LHLHMH", "LHHHMM", "HLHMHM", "HLLMHH", "LLHHHM"), 8),
    (("LLLHHH",), 10),
)
_EQ4 = ((("HSS",), 6), (("HHH",), 5), (("LLL",), 4))
# Milder neighbours of a class of EQ3 with EQ6, in the order of `_EQ36`: 00 has two, the worse of which counts.
_MILDER_36: tuple[tuple[int, ...], ...] = ((1, 2), (3,), (3,), (4,), ())

_EPSILON = 1e-6  # a value that binary fractions put just below a half is meant to be the half


def base_score(metrics: dict[str, str]) -> float:
    """Return the score, 0.0 to 10.0, of a vector's metrics (without "CVSS"): of all that are stated, see above.

    Raises KeyError naming a base metric that is missing, and ParseError for unknown metrics and values.
    """
    levels = _effective(metrics)
    if all(_LEVELS[name][levels[name]] == "N" for name in ("VC", "VI", "VA", "SC", "SI", "SA")):
        return 0.0
    eq1, eq2, eq36, eq4, eq5 = place = _classes(levels)
    score = _tenths(place)
    directions = (
        (_distance(levels, _EXPLOITABILITY, *_EQ1[eq1]), [(eq1 + 1, eq2, eq36, eq4, eq5)]),
        (_distance(levels, _COMPLEXITY, *_EQ2[eq2]), [(eq1, eq2 + 1, eq36, eq4, eq5)]),
        (_distance(levels, _VULNERABLE, *_EQ36[eq36]), [(eq1, eq2, milder, eq4, eq5) for milder in _MILDER_36[eq36]]),
        (_distance(levels, _SUBSEQUENT, *_EQ4[eq4]), [(eq1, eq2, eq36, eq4 + 1, eq5)]),
        (0.0, [(eq1, eq2, eq36, eq4, eq5 + 1)]),
    )
    falls = []
    for proportion, neighbours in directions:
        there = [_tenths(neighbour) for neighbour in neighbours if _exists(neighbour)]
        if there:
            falls.append((score - max(there)) * proportion)
    value = score - (sum(falls) / len(falls) if falls else 0.0)
    return int(min(max(value, 0.0), 100.0) + 0.5 + _EPSILON) / 10


def _effective(metrics: dict[str, str]) -> dict[str, int]:
    """Return how mild each metric is, 0 the worst: the modified one where stated, the worst where nothing is."""
    _check(metrics)
    levels = {}
    for name, letters in _LEVELS.items():
        value = metrics[name] if name in _BASE else metrics.get(name, "X")
        modified = metrics.get(f"M{name}", "X")
        value = value if modified == "X" else modified
        levels[name] = 0 if value == "X" else letters.index(value)
    return levels


def _check(metrics: dict[str, str]) -> None:
    for name, value in metrics.items():
        known: tuple[str, ...] | str
        known = _URGENCY if name == "U" else tuple(_STATED.get(name) or _MODIFIED.get(name) or _SUPPLEMENTAL.get(name, ()))
        if value not in known and not (value == "X" and known and name not in _BASE):
            raise ParseError(f"{name}:{value} is no metric of CVSS 4.0")


Place = tuple[int, int, int, int, int]  # EQ1, EQ2, EQ3 with EQ6 (0 to 4: 00, 01, 10, 11, 21), EQ4, EQ5


def _classes(levels: dict[str, int]) -> Place:
    """Say to which class the vector belongs: tables 24 to 30 of the specification."""
    worst = {name for name, level in levels.items() if level == 0}
    open_ways = worst & {"AV", "PR", "UI"}
    eq1 = 0 if len(open_ways) == 3 else 1 if open_ways and levels["AV"] < 3 else 2
    eq2 = 0 if {"AC", "AT"} <= worst else 1
    demanded = any({impact, need} <= worst for impact, need in (("VC", "CR"), ("VI", "IR"), ("VA", "AR")))
    if {"VC", "VI"} <= worst:
        eq36 = 0 if demanded else 1
    elif worst & {"VC", "VI", "VA"}:
        eq36 = 2 if demanded else 3
    else:
        eq36 = 4
    safety = worst & {"SI", "SA"}
    eq4 = 0 if safety else 1 if any(levels[name] == 1 for name in _SUBSEQUENT) else 2
    return eq1, eq2, eq36, eq4, levels["E"]


def _exists(place: Place) -> bool:
    return all(number < size for number, size in zip(place, (3, 2, 5, 3, 3), strict=True))


_ROWS: list[list[int]] = []


def _tenths(place: Place) -> int:
    if not _ROWS:
        _ROWS.extend([int(number) for number in line.split()] for line in _TENTHS.strip().splitlines())
    eq1, eq2, eq36, eq4, eq5 = place
    return _ROWS[(eq1 * 2 + eq2) * 5 + eq36][eq4 * 3 + eq5]


def _distance(levels: dict[str, int], names: tuple[str, ...], highest: tuple[str, ...], depth: int) -> float:
    """Return how far the vector is from the first of its class's worst vectors that is as bad in every metric: 0 to 1."""
    own = [levels[name] for name in names]
    for vector in highest:
        steps = [mine - _LEVELS[name].index(letter) for mine, name, letter in zip(own, names, vector, strict=True)]
        if min(steps) >= 0:
            return sum(steps) / depth
    return 0.0
