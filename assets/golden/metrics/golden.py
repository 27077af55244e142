#!/usr/bin/env python3
"""Makes pairs.jsonl, scores.json and stems.json beside this file: BLEU, chrF and chrF++ by sacrebleu, ROUGE by rouge-score,
and stems by nltk's Porter stemmer.

    python golden.py ITALIAN.jsonl ENGLISH.jsonl

The corpora hold one JSON object per line, with a `source` and a `target` text. The references are Italian targets, English
targets, and English sources with one sentence per line. The hypotheses are seeded perturbations of the references.
Mismatched pairs follow, and edge cases written by hand. ../README.md has the versions.
"""

import json
import random
import sys
from math import fsum
from pathlib import Path

from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize
from sacrebleu.metrics import BLEU, CHRF

HERE = Path(__file__).resolve().parent
SEED = 1

# The number of pairs of each kind.
ITALIAN, ENGLISH, LINES, MISMATCHED = 900, 750, 200, 100
# The number of characters that a text is shortened to. English sources are shortened to twice this number.
LONGEST = 160

ROUGE = ["rouge1", "rouge2", "rougeL", "rougeLsum"]

# Edge cases for BLEU and chrF: (hypothesis, reference).
CORNERS = [
    ("", ""),
    ("", "una parola"),
    ("una parola", ""),
    (" ", "uno"),
    ("\t\n", " \u3000 "),
    ("a", "a"),
    ("a", "b"),
    ("parola", "parola"),
    ("parola", "altro"),
    ("due parole", "due parole"),
    ("tre parole qui", "tre parole qui"),
    ("quattro parole sono qui", "quattro parole sono qui"),
    ("x y z", "uno due tre quattro cinque"),
    ("il il il il il il il", "il gatto è sul tappeto"),
    ("sul gatto è il tappeto", "il gatto è sul tappeto"),
    ("Il Gatto È Sul Tappeto", "il gatto è sul tappeto"),
    ("1,000.50 euro", "1,000.50 euro"),
    ("1,000.50 euro", "1.000,50 euro"),
    ("versione 2.4.1-3, del 1999-12-31.", "versione 2.4.1-3 del 1999-12-31"),
    ("pagine 10-20", "pagine 10 - 20"),
    (".5 e 5.", "0.5 e 5"),
    (",a,1,b,,2..3...", ", a , 1 , b , , 2 . . 3 . . ."),
    ("..", ".,"),
    ("a.b,c", "a . b , c"),
    ("3.a 3,a a.3 a,3", "3. a 3, a a .3 a ,3"),
    ("-1 -a 1-a a-1 1--2", "- 1 - a 1 - a a - 1 1 - - 2"),
    ("٣.٤ ١,٢ ٣-٤", "٣.٤ ١,٢ ٣-٤"),
    ("٣.٤ ١,٢ ٣-٤", "٣ . ٤ ١ , ٢ ٣ - ٤"),
    ("１,２ ３-４ ５．６", "１ , ２ ３ - ４ ５ ． ６"),
    ("&quot;ciao&quot; &amp; &lt;b&gt;", "\"ciao\" & <b>"),
    ("&amp;lt; &amp;quot; &amp;amp;", "&lt; &quot; &"),
    ("&apos; &nbsp; &#39;", "' \u00a0 '"),
    ("<skipped> testo <skipped>", "testo"),
    ("a<skipped>b", "ab"),
    ("parola-\nspezzata qui", "parolaspezzata qui"),
    ("riga uno\nriga due", "riga uno riga due"),
    ("riga uno\r\nriga due", "riga uno riga due"),
    ("finisce con -\n", "finisce con -"),
    ("tab\tqui\te\tlì", "tab qui e lì"),
    ("  spazi   molti  ", "spazi molti"),
    ("spazio\u00a0unificatore\u2003largo\u3000cinese", "spazio unificatore largo cinese"),
    ("zero\u200bwidth\u200djoiner\ufeffbom", "zerowidthjoinerbom"),
    ("separatori\x1cdi\x1dfile\x1ee\x1funità", "separatori di file e unità"),
    ("next\x85line\x0bvert\x0cfeed", "next line vert feed"),
    ("riga\u2028separata\u2029paragrafo", "riga separata paragrafo"),
    ("mongol\u180espazio", "mongol spazio"),
    ("nul\x00byte\x7fdel", "nul byte del"),
    ("«Ciao», disse “lei” – e ‘lui’…", "\"Ciao\", disse \"lei\" - e 'lui'..."),
    ("l'amico dell'amica", "l 'amico dell' amica"),
    ("can't won't", "can 't won 't"),
    ("e-mail: nome@host.it / http://x.y/z?a=1&b=2#c", "e-mail: nome@host.it/http://x.y/z?a=1&b=2"),
    ("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    ("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "! \" # $ % & ' ( ) * + , - . / : ; < = > ? @ [ \\ ] ^ _ ` { | } ~"),
    ("a!b\"c#d$e%f&g'h(i)j*k+l,m-n.o/p:q", "a ! b \" c # d $ e % f & g 'h ( i ) j * k + l , m-n . o / p : q"),
    ("a;b<c=d>e?f@g[h\\i]j^k_l`m{n|o}p~q", "a ; b < c = d > e ? f @ g [ h \\ i ] j ^ k _ l ` m { n | o } p ~ q"),
    ("(ciao)", "ciao"),
    ("(ciao) \"sì\" ...", "( ciao ) \" sì \" . . ."),
    ("fine.", "fine ."),
    ("fine.)", "fine. )"),
    ("¿qué? ¡sí!", "¿ qué ? ¡ sí !"),
    ("😀", "😀"),
    ("😀😃", "😀 😃"),
    ("bello 👍🏽 davvero 👨‍👩‍👧‍👦", "bello 👍 davvero 👨‍👩‍👧"),
    ("🇮🇹 Italia", "🇮🇹 Italia"),
    ("我喜欢自由软件。", "我喜歡自由軟件。"),
    ("我 喜欢 自由 软件 。", "我喜欢自由软件。"),
    ("日本語の文章です、はい。", "日本語の文です。はい"),
    ("한국어 문장입니다.", "한국어 문장 입니다."),
    ("Ελληνικά και русский текст", "Ελληνικά και русский текст"),
    ("النص العربي هنا، نعم.", "النص العربي هنا نعم"),
    ("หนึ่งสองสาม", "หนึ่ง สอง สาม"),
    ("perche\u0301 cosi\u0300", "perché così"),
    ("ﬁne ﬂusso ½ ²", "fine flusso 1/2 2"),
    ("ß ẞ ı İ", "ss SS i I"),
    ("a" * 200, "a" * 100),
    ("ab " * 50, "ba " * 50),
    ("uno due tre quattro cinque sei sette otto nove dieci", "uno"),
    ("uno", "uno due tre quattro cinque sei sette otto nove dieci"),
    ("uno due tre x quattro cinque sei", "uno due tre y quattro cinque sei"),
    ("a b c d e f", "a b c d e f g h i j"),
    ("a b", "a b c d"),
    ("abcdefg", "abcdefh"),
    ("abcde", "abcdefghij"),
    ("ab", "ab"),
    ("ab cd", "abcd"),
    (". , ! ?", ". , ! ?"),
    ("'", "'"),
    ("''", "'"),
    ("prova .", "prova ."),
]

# Edge cases for ROUGE: the rules of the Porter stemmer, the limits of words, and the limits of lines.
ROUGE_CORNERS = [
    ("caresses ponies ties caress cats flies dies", "caress pony tie caresses cat fly die"),
    ("feed agreed plastered bled motoring sing", "feeding agree plaster bleed motor singing"),
    ("conflated troubled sized hopping tanned falling", "conflate trouble size hop tan fall"),
    ("hissing fizzed failing filing hoping using", "hiss fizz fail file hope use"),
    ("died spied tied relied", "die spy tie rely"),
    ("happy sky enjoyed spy by say", "happier skies enjoy spies bye says"),
    ("relational conditional rational valency hesitancy", "relate condition ration valence hesitance"),
    ("digitizer conformably radically differently vilely", "digitize conformable radical different vile"),
    ("analogously vietnamization predication operator", "analogous vietnamize predicate operate"),
    ("feudalism decisiveness hopefulness callousness", "feudal decisive hopeful callous"),
    ("formality sensitivity sensibility", "formal sensitive sensible"),
    ("triplicate formative formalize electricity", "triplic form formal electric"),
    ("electrical hopeful goodness", "electric hope good"),
    ("revival allowance inference airliner gyroscopic", "revive allow infer airline gyroscope"),
    ("adjustable defensible irritant replacement", "adjust defense irritate replace"),
    ("adjustment dependent adoption homologous communism", "adjust depend adopt homologue commune"),
    ("activate angularity effective bowdlerize element", "active angular effect bowdler elements"),
    ("probate rate cease controlling rolled", "probation rating ceased control roll"),
    ("skies dying lying tying news", "sky die lie tie new"),
    ("innings outings cannings howe proceed exceed succeed", "inning outing canning how proceeds exceeded succeeding"),
    ("rationally usefully geology theology archaeology", "rational useful geologist theological archaeologist"),
    ("generalizations oscillators", "generalization oscillate"),
    ("nationalism talkativeness disagreement timetabled", "national talk disagree timetable"),
    ("bying bys sky", "by bye skies"),
    ("syzygy yyyy yyyyed toys trying", "syzygies yyy yyyying toy try"),
    ("as is was has his gas bus", "a i wa ha hi ga bu"),
    ("ease easing ace aced ohs owed", "eas eased aces acing oh owe"),
    ("sses sing ness tion ment ings ied ying eed", "ss s n t m ing i y ee"),
    ("x86es 4wds 2004s i18ns utf8ing", "x86e 4wd 2004 i18n utf8"),
    ("Running RUNNER Runs", "running runner runs"),
    ("perchés città cafés", "perch citt caf"),
    ("word", "word"),
    ("words", "word"),
    ("one two", "two one"),
    ("same words here", "here words same"),
    ("nothing in common", "totally different text"),
    ("a b a b a b", "b a b a b a"),
    ("police kill the gunman", "police killed the gunman"),
    ("the gunman kill police", "police killed the gunman"),
    ("snake_case_name x86_64 v2.0-rc1", "snake case name x86 64 v2 0 rc1"),
    ("don't stop, it's 3.14", "don t stop it s 3 14"),
    ("\u212aelvin \u0130stanbul ＡＢＣ", "kelvin i stanbul abc"),
    ("naïve café ﬁle", "na ve caf le"),
    ("one\ttwo\x0bthree\x0cfour", "one two three four"),
    ("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5"),
    ("the cat sat\non the mat", "on the mat\nthe cat sat"),
    ("the cat sat on the mat", "the cat sat\non the mat"),
    ("the cat sat\non the mat", "the cat sat on the mat"),
    ("the", "the cat\nthe dog"),
    ("the cat\nthe dog", "the"),
    ("the the the\nthe the", "the\nthe\nthe\nthe the"),
    ("a\nb\nc", "c\nb\na"),
    ("a b a\nb a b", "a b\nb a\na b a"),
    ("a b c d\nd c b a", "b a d c\nc d a b"),
    ("x a b\na x b\na b x", "a b y\ny a b\nb a"),
    ("one line\n\n\nand another\n", "\none line\nand another"),
    ("one line\r\nand another", "one line\nand another"),
    ("one line\u2028and\u2029another\x85one", "one line\nand\nanother\none"),
    ("one line\rand another", "and another\rone line"),
    ("...\n!!!", "...\n!!!"),
    ("\n", "\n\n"),
    ("\n", "word"),
    ("word\n", "\n"),
    ("😀\nword", "word\n😀"),
    ("自由软件\nfree software", "free software\n自由软件"),
    ("Runs fast.\nStops late.\nRuns again.", "It was running fast.\nIt stopped later.\nIt runs."),
]

ENDINGS = ["s", "es", "ed", "ing", "ly", "er", "ers", "ness", "ment", "able", "ful", "fully", "ization", "ational", "ies"]


def perturbed(text: str, others: list[str], rng: random.Random) -> str:
    words = text.split(" ")
    for _ in range(rng.choice([0, 1, 1, 2, 3, 5])):
        at = rng.randrange(len(words)) if words else 0
        match rng.randrange(8):
            case 0:
                del words[at : at + rng.randint(1, 3)]
            case 1:
                words.insert(at, rng.choice(rng.choice(others).split(" ")))
            case 2 if words:
                words[at] = words[at].upper() if rng.random() < 0.5 else words[at].lower()
            case 3 if len(words) > 1:
                other = rng.randrange(len(words))
                words[at], words[other] = words[other], words[at]
            case 4 if words:
                words[at] = words[at].strip(".,;:()\"'")
            case 5 if words:
                words[at] += rng.choice([".", ",", "-2", "\u00a0", "\t", "&amp;", "!", "...", "'", "\"", "1,5"])
            case 6 if words and words[at]:
                cut = rng.randrange(len(words[at]))
                words[at] = words[at][:cut] + words[at][cut + 1 :]
            case 7 if words:
                words = words[: max(1, at)]
    return " ".join(words)


def inflected(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    for at, word in enumerate(words):
        if len(word) > 3 and word.isascii() and word.isalpha() and rng.random() < 0.3:
            words[at] = word.removesuffix(rng.choice(["", "s", "e", "ing", "ed"])) + rng.choice(ENDINGS)
    return " ".join(words)


def rearranged(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    match rng.randrange(4):
        case 0:
            rng.shuffle(lines)
        case 1:
            lines.append(rng.choice(lines))
        case 2:
            lines = [" ".join(lines[:2]), *lines[2:]]
    return "\n".join(lines)


def shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest].rsplit(" ", 1)[0]


def real_pairs(italian: list[str], english: list[str], long: list[str]) -> dict[str, list[tuple[str, str]]]:
    rng = random.Random(SEED)
    italian = rng.sample(italian, ITALIAN)
    english = rng.sample(english, ENGLISH)
    # A text of one line would test nothing that the other kinds do not test.
    lines = [shortened(text, 2 * LONGEST).replace(". ", ".\n") for text in long]
    lines = rng.sample([text for text in lines if "\n" in text], LINES)
    mixed = rng.sample(italian, MISMATCHED // 2) + rng.sample(english, MISMATCHED // 2)
    return dict(
        italian=[(perturbed(text, italian, rng), text) for text in italian],
        english=[(inflected(perturbed(text, english, rng), rng), text) for text in english],
        lines=[(rearranged(inflected(perturbed(text, lines, rng), rng), rng), text) for text in lines],
        mismatched=list(zip(mixed, mixed[1:] + mixed[:1])),
    )


def rouge(scorer: RougeScorer, hypothesis: str, reference: str) -> list[list[float]]:
    """Precision, recall and F1 of each metric in ROUGE."""
    scores = scorer.score(reference, hypothesis)
    return [list(scores[kind]) for kind in ROUGE]


def rounded(scores: list) -> list:
    """Scores rounded to 12 decimals, which is a thousand times finer than the tolerance of the tests."""
    return [rounded(score) if isinstance(score, list) else round(score, 12) for score in scores]


def mean(scores: list[list[list[float]]]) -> list[list[float]]:
    return [[fsum(numbers) / len(numbers) for numbers in zip(*kind)] for kind in zip(*scores)]


def compact(value: object) -> str:
    # ASCII only, so that separators and control characters are visible, and no reader splits a line at U+2028.
    return json.dumps(value, separators=(",", ":"))


def words_of(texts: list[str]) -> set[str]:
    return {word for text in texts for word in tokenize(text, None)}


def write_stems(words: set[str]) -> None:
    stemmer = PorterStemmer()
    rows = [f"{compact(word)}:{compact(stemmer.stem(word))}" for word in sorted(words)]
    (HERE / "stems.json").write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    print(len(rows), "stems")


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    italian, english = [
        [json.loads(line) for line in Path(corpus).read_text(encoding="utf-8").split("\n") if line]
        for corpus in sys.argv[1:]
    ]
    kinds = real_pairs(
        [shortened(example["target"], LONGEST) for example in italian],
        [example["target"] for example in english],
        [example["source"] for example in english],
    )
    kinds["corners"] = CORNERS + ROUGE_CORNERS
    pairs = [pair for kind in kinds.values() for pair in kind]

    bleu, sentence_bleu = BLEU(), BLEU(effective_order=True)
    chrf, chrf_plus = CHRF(), CHRF(word_order=2)
    plain, porter = RougeScorer(ROUGE), RougeScorer(ROUGE, use_stemmer=True)
    rouge_plain = [rouge(plain, *pair) for pair in pairs]
    rouge_porter = [rouge(porter, *pair) for pair in pairs]

    with open(HERE / "pairs.jsonl", "w", encoding="utf-8") as out:
        for at, (hypothesis, reference) in enumerate(pairs):
            row = dict(
                hypothesis=hypothesis,
                reference=reference,
                tokens=bleu.tokenizer(hypothesis.rstrip()).split(),
                bleu=sentence_bleu.sentence_score(hypothesis, [reference]).score,
                chrf=chrf.sentence_score(hypothesis, [reference]).score,
                chrf_plus_plus=chrf_plus.sentence_score(hypothesis, [reference]).score,
                rouge=rounded(rouge_plain[at]),
            )
            # In four of five pairs stemming changes nothing.
            if rouge_porter[at] != rouge_plain[at]:
                row["rouge_porter"] = rounded(rouge_porter[at])
            out.write(compact(row) + "\n")

    subsets = {}
    ends = 0
    for kind, of_kind in kinds.items():
        subsets[kind] = range(ends, ends + len(of_kind))
        ends += len(of_kind)
    subsets |= dict(
        all=range(ends),
        ten=range(10),
        short=[i for i, (_, reference) in enumerate(pairs) if len(reference.split()) < 4],
        empty_hypotheses=[i for i, (hypothesis, _) in enumerate(pairs) if not hypothesis.strip()],
        one_of_each=range(0, ends, 37),
        twice=[*range(20), *range(20)],
    )
    scores = dict(subsets=[])
    for name, rows in subsets.items():
        rows = list(rows)
        hypotheses = [pairs[i][0] for i in rows]
        references = [[pairs[i][1] for i in rows]]
        score = bleu.corpus_score(hypotheses, references)
        scores["subsets"].append(
            dict(
                name=name,
                rows=rows,
                bleu=score.score,
                bleu_counts=score.counts,
                bleu_totals=score.totals,
                bleu_precisions=score.precisions,
                bleu_brevity_penalty=score.bp,
                bleu_hypothesis_length=score.sys_len,
                bleu_reference_length=score.ref_len,
                chrf=chrf.corpus_score(hypotheses, references).score,
                chrf_plus_plus=chrf_plus.corpus_score(hypotheses, references).score,
                rouge=mean([rouge_plain[i] for i in rows]),
                rouge_porter=mean([rouge_porter[i] for i in rows]),
            )
        )
    scores["signatures"] = dict(
        bleu=str(bleu.get_signature()),
        sentence_bleu=str(sentence_bleu.get_signature()),
        chrf=str(chrf.get_signature()),
        chrf_plus_plus=str(chrf_plus.get_signature()),
    )
    (HERE / "scores.json").write_text(compact(scores) + "\n", encoding="utf-8")
    print(len(pairs), "pairs", scores["signatures"])
    for subset in scores["subsets"]:
        print(subset["name"], len(subset["rows"]), subset["bleu"], subset["chrf"], subset["rouge"], subset["rouge_porter"])

    words = words_of([example[side] for example in english for side in ["source", "target"]])
    words = {word for word in words if len(word) > 3 and not word.isdigit()}
    write_stems(words | words_of([text for pair in ROUGE_CORNERS for text in pair]))


if __name__ == "__main__":
    main()
