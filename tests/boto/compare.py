"""Drives the lab and moto with the same calls through boto3, and compares the answers.

Where moto is right, they are equal. Where it is wrong or silent, `differences.py` says what AWS answers and who says
so, and the lab must answer that. It fails on a difference that nothing explains, and on an explanation that explains
nothing any more.
"""

import sys
from collections import Counter

import differences
import more_steps
import steps
from worlds import lab, moto

STEPS = [
    *steps.SET_UP,
    *steps.RULES,
    *steps.LOGIN,
    *steps.DEFAULTS,
    *steps.ORDER,
    *more_steps.TARGETS,
    *more_steps.ATTRIBUTES,
    *more_steps.TAGS,
    *more_steps.MANY,
    *more_steps.NETWORK,
    *more_steps.TOKENS,
    *more_steps.END,
]


def flat(value, path=""):
    """Every leaf of an answer by its path."""
    if isinstance(value, dict):
        parts = [(f"{path}.{key}" if path else key, inner) for key, inner in value.items()]
    elif isinstance(value, list):
        parts = [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]
    else:
        return {path: value}
    return {at: leaf for part, inner in parts for at, leaf in flat(inner, part).items()}


def is_refusal(answer):
    return isinstance(answer, dict) and "refused" in answer


def compare(step, ours, theirs):
    """The differences that nothing explains, and what explains the others."""
    known = differences.of_answer(step.name)
    if known is not None:
        if ours == known.aws != theirs:
            return [], [known]
        return [(f"the answer (AWS: {known.aws})", ours, theirs)], []
    if is_refusal(ours) != is_refusal(theirs):
        return [("the answer", ours, theirs)], []
    ours, theirs = flat(ours), flat(theirs)
    unexplained, explaining = [], []
    for path in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(path, differences.ABSENT), theirs.get(path, differences.ABSENT)
        if one == other:
            continue
        known = differences.of_path(step.method, path)
        if known is not None and one == known.expected(path, ours):
            explaining.append(known)
        else:
            unexplained.append((path, one, other))
    return unexplained, explaining


def main(binary):
    used, trouble = set(), []
    answers, equal, explained = Counter(), Counter(), Counter()
    with lab(binary) as ours, moto() as theirs:
        for step in STEPS:
            unexplained, explaining = compare(step, ours.call(step), theirs.call(step))
            answers[step.method] += 1
            trouble += [(step.name, *difference) for difference in unexplained]
            used.update(explaining)
            if not unexplained:
                (explained if explaining else equal)[step.method] += 1
    for method in sorted(answers):
        known = f", {explained[method]} as AWS and not as moto" if explained[method] else ""
        print(f"{method:36} {answers[method]:4} answers: {equal[method]} equal{known}")
    for name, path, one, other in trouble:
        print(f"UNEXPLAINED {name}: {path}\n  lab   {one}\n  moto  {other}")
    idle = [known for known in differences.ALL if known not in used]
    for known in idle:
        print(f"EXPLAINS NOTHING any more: {known}")
    print(f"boto: {equal.total()} answers equal, {explained.total()} exceptions, {len(trouble)} unexplained")
    return 1 if trouble or idle else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
