"""Rewrite text in a dialect by rules: features of African American English that linguists have documented.

African American English is a variety with a grammar of its own, not one set of mistakes. Each rule is limited to the
contexts in which its source attests the feature and that can be told from words alone, so a rewritten text has fewer
features than a speaker's, and none outside these contexts. Nobody uses all of them in every sentence: the rewritten
texts measure the response to the features, not to a person's speech.

Numbers are those of features in eWAVE: Kortmann, Lunkenheimer and Ehret (eds.) 2020, The Electronic World Atlas of
Varieties of English, https://ewave-atlas.org. The same features are in Multi-VALUE (Ziems et al. 2023,
doi:10.18653/v1/2023.acl-long.44), whose rules need a parser; these do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rb_core.errors import DataError

Rewrite = Callable[[str], str]

_PEOPLE = (
    "mother|mom|mama|father|dad|daddy|sister|brother|son|daughter|aunt|uncle|cousin|niece|nephew|grandmother|grandma|"
    "grandfather|grandpa|wife|husband|partner|friend|neighbor|roommate|coworker|boss|manager|teacher|coach|landlord|"
    "doctor|nurse|kid|baby|boy|girl|man|woman|team|dog|cat"
)
_PERSON = rf"(?:my|your|his|her|our|their|the|this|that) (?:\w+ )?(?:{_PEOPLE})"
_SINGULAR = rf"(?:he|she|{_PERSON})"
_SUBJECT = "(?:I|you|we|they|it|he|she)"
_ADVERB = r"(?:(?:also|always|never|usually|often|really|just|still|only|probably|already) )?"
_NOT_VERBS = r"(?!always|sometimes|perhaps|besides|yes|is|was|'s|as|this|its|his|hers|us|\w*(?:ss|ous)\b)"
_IRREGULAR_THIRD_PERSON = {"has": "have", "does": "do", "goes": "go"}
_CLAUSE_WORDS = r"(?!and|but|or|because|if|that|so|when|while|unless|until|which|who|what)"
_NOT_HAVE = r"(?!(?:been|had|got)\b)"  # after which 's is has
_NEGATIVE_FORMS = {"anyone": "nobody", "any": "no"}  # of other words: no- instead of any-
# Words whose -ing bears stress, in which the variable (ing) is rare.
_STRESSED_ING = r"(?!(?:anything|everything|offspring|hamstring|viking)\b)"


class Feature(NamedTuple):
    """A feature of a dialect.

    name: its key; example: original and rewritten words; source: that documents it; rewrite: text to text.
    """

    name: str
    example: tuple[str, str]
    source: str
    rewrite: Rewrite


def rewrite(text: str, features: Sequence[Feature]) -> str:
    """Return the text with all features in all their contexts, applied in their order."""
    for feature in features:
        text = feature.rewrite(text)
    return text


def features_named(names: Sequence[str]) -> tuple[Feature, ...]:
    """Return the features with these names, in the order in which they are applied. Raises DataError for others."""
    known = {feature.name: feature for feature in AFRICAN_AMERICAN_ENGLISH}
    if unknown := next((name for name in names if name not in known), None):
        raise DataError(f"--features: {unknown!r} is not a feature; the features are {', '.join(known)}")
    return tuple(feature for name, feature in known.items() if name in names)


def _replace(pattern: str, replacement: str | Callable[[re.Match[str]], str]) -> Rewrite:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda text: compiled.sub(replacement, text)


def _in_turn(*rewrites: Rewrite) -> Rewrite:
    def all_of_them(text: str) -> str:
        for step in rewrites:
            text = step(text)
        return text

    return all_of_them


def _negative_concord(text: str) -> str:
    pattern = rf"(\b\w+n't|\bnever|\bnot)((?: {_CLAUSE_WORDS}[\w']+){{0,5}}?) (any(?:thing|body|one|where|more)?)\b"
    while (changed := re.sub(pattern, _negative, text, flags=re.IGNORECASE)) != text:
        text = changed
    return text


def _negative(match: re.Match[str]) -> str:
    word = match[3].lower()
    return (
        f"{match[1]}{match[2]} {_NEGATIVE_FORMS.get(word, word.replace('any', 'no ' if word == 'anymore' else 'no'))}"
    )


def _third_person(match: re.Match[str]) -> str:
    return match[1] + _bare_verb(match[2])


def _bare_verb(verb: str) -> str:
    """Return a verb without the -s of the third person."""
    if verb in _IRREGULAR_THIRD_PERSON:
        return _IRREGULAR_THIRD_PERSON[verb]
    if verb.endswith("ies") and len(verb) > 4:
        return f"{verb[:-3]}y"
    return verb[:-2] if re.search(r"(?:ss|sh|ch|x|zz)es$", verb) else verb[:-1]


def _without_inverted_copula(match: re.Match[str]) -> str:
    pronoun = match[2]
    return match[1] + (pronoun.capitalize() if match[0][len(match[1])].isupper() else pronoun)


AFRICAN_AMERICAN_ENGLISH = (
    Feature(
        "negative-concord",
        ("She doesn't need anything.", "She doesn't need nothing."),
        "eWAVE 154; https://ygdp.yale.edu/phenomena/negative-concord",
        _negative_concord,
    ),
    Feature(
        "aint",
        ("They aren't ready.", "They ain't ready."),
        "eWAVE 155, 156 (be, have), 157 (before a main verb); Green 2002, doi:10.1017/CBO9780511800306",
        _in_turn(
            _replace(r"\bI'm not\b", "I ain't"),
            _replace(r"\b(\w+)(?:'s|'re| is| are| am) not\b", r"\1 ain't"),
            _replace(r"\b(?:is|are|has|have)n't\b", lambda match: "Ain't" if match[0][0].isupper() else "ain't"),
            _replace(rf"\b(I|you|we|they|it|{_SINGULAR}) didn't(?= [a-z])(?! {_SUBJECT}\b)", r"\1 ain't"),
        ),
    ),
    Feature(
        "habitual-be",
        ("He is always helping.", "He always be helping."),
        "eWAVE 90; https://ygdp.yale.edu/phenomena/invariant-be",
        _replace(
            rf"(?<!there)(?<!that)(?:'m|'s|'re| am| is| are) (always|usually|often|constantly) {_NOT_HAVE}(?=\w)",
            r" \1 be ",
        ),
    ),
    Feature(
        "copula-absence",
        ("She is late. Are you coming?", "She late. You coming?"),
        "eWAVE 174, 176, 177, 178; Labov 1969, doi:10.2307/412333: not of am, after it or that, or at a clause's end",
        _in_turn(
            _replace(rf"\b(he|she|we|you|they)(?:'s|'re| is| are) {_NOT_HAVE}{_CLAUSE_WORDS}(?=\w)", r"\1 "),
            _replace(rf"\b({_PERSON}) is (?=\w+ing\b)", r"\1 "),
            _replace(r"((?:^|[.?!] |\b(?:why|how|what|where|when) ))(?:are|is) (you|they|we|he|she)\b(?= \w)",
                     _without_inverted_copula),
        ),
    ),
    Feature(
        "existential-it",
        ("There's a store nearby.", "It's a store nearby."),
        "eWAVE 173; Green 2002, doi:10.1017/CBO9780511800306",
        _replace(
            r"\bthere(?:'s| is| are) (?=(?:a|an|some|no|nothing|always|usually|many|several|two|three|plenty)\b)",
            lambda match: "It's " if match[0][0].isupper() else "it's ",
        ),
    ),
    Feature(
        "completive-done",
        ("I've already paid.", "I done already paid."),
        "eWAVE 104; Green 2002, doi:10.1017/CBO9780511800306",
        _replace(r"\b(I|you|we|they|he|she)(?:'ve|'s| have| has) already (?!been\b)(?=\w)", r"\1 done already "),
    ),
    Feature(
        "third-person-s-absence",
        ("She works nights. He doesn't mind.", "She work nights. He don't mind."),
        "eWAVE 170, 158; Green 2002, doi:10.1017/CBO9780511800306",
        _in_turn(
            _replace(r"\bdoesn't\b", lambda match: "Don't" if match[0][0].isupper() else "don't"),
            _replace(rf"\b({_SINGULAR} {_ADVERB}){_NOT_VERBS}(\w+s)\b(?!')", _third_person),
        ),
    ),
    Feature(
        "possessive-s-absence",
        ("My brother's car broke down.", "My brother car broke down."),
        "eWAVE 77; Green 2002, doi:10.1017/CBO9780511800306: not at the end of a phrase",
        _replace(rf"\b({_PERSON})'s (?=[a-z])", r"\1 "),
    ),
    Feature(
        "in-for-ing",
        ("They were working.", "They were workin'."),
        "Labov 2006, doi:10.1017/CBO9780511618208; Green 2002, doi:10.1017/CBO9780511800306",
        _replace(rf"\b{_STRESSED_ING}([a-z]*[aeiouy][a-z]*)ing\b", r"\1in'"),
    ),
)  # fmt: skip
